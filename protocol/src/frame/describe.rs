//! Frames described once: what a field means, and the way in which it stands in the header, are in one place, and
//! the reader and the writer of the frame are made of that.
//!
//! The ways are in `protocol/src/frame/field.rs`.

/// Defines a struct and implements `Fields` for it: each field has the name that it has in the header, and
/// after `as` its way. `checked by f` names a method that judges what no single field shows.
///
/// Without `struct`, it implements `Fields` for a struct that is defined elsewhere, with the names that its
/// fields have in the header.
macro_rules! fields {
    (
        $(#[$doc:meta])*
        $vis:vis struct $name:ident { $(
            $(#[$field_doc:meta])*
            $field_vis:vis $field:ident: $type:ty as $way:ty,
        )* } $(checked by $check:ident)?
    ) => {
        $(#[$doc])*
        $vis struct $name { $($(#[$field_doc])* $field_vis $field: $type,)* }

        $crate::frame::describe::fields! {
            $name { $($field: $way = stringify!($field),)* } $(checked by $check)?
        }
    };
    ($name:ident { $($field:ident: $way:ty = $wire:expr,)* } $(checked by $check:ident)?) => {
        impl $crate::frame::field::Fields for $name {
            const NAMES: &'static [&'static str] = &[$($wire),*];

            fn read(
                header: &$crate::frame::header::Header<'_>,
            ) -> Result<Self, $crate::error::ProtocolError> {
                use $crate::frame::field::Way;
                let read = Self { $($field: <$way as Way<_>>::read(header, $wire)?,)* };
                $(read.$check(header)?;)?
                Ok(read)
            }

            fn write(&self, pen: &mut $crate::frame::pen::Pen<'_>) -> serde_json::Result<()> {
                use $crate::frame::field::Way;
                $(<$way as Way<_>>::write(&self.$field, $wire, pen)?;)*
                Ok(())
            }

            fn channel(&self) -> Option<u32> {
                use $crate::frame::field::Way;
                None $(.or(<$way as Way<_>>::channel(&self.$field)))*
            }

            fn payload(&self) -> Option<&bytes::Bytes> {
                use $crate::frame::field::Way;
                None $(.or(<$way as Way<_>>::payload(&self.$field)))*
            }

            fn payload_mut(&mut self) -> Option<&mut bytes::Bytes> {
                use $crate::frame::field::Way;
                None $(.or(<$way as Way<_>>::payload_mut(&mut self.$field)))*
            }
        }
    };
}
pub(crate) use fields;

/// Defines the enum of all frames and the enum of their types. A variant has the struct that `fields!`
/// defined, fields of its own, or nothing, and then the name of its type on the wire.
macro_rules! frames {
    ($(#[$doc:meta])* $vis:vis enum $name:ident, $kind:ident { $(
        $(#[$variant_doc:meta])*
        $variant:ident $(($inner:ident: $part:ty))? $({ $(
            $(#[$field_doc:meta])*
            $field:ident: $type:ty as $way:ty,
        )* })? = $text:literal,
    )* }) => {
        $crate::ids::names! {
            /// The type of a frame.
            $vis enum $kind { $($(#[$variant_doc])* $variant = $text,)* }
        }

        $(#[$doc])*
        $vis enum $name { $(
            $(#[$variant_doc])*
            $variant $(($part))? $({ $($(#[$field_doc])* $field: $type,)* })?,
        )* }

        impl $name {
            /// Returns the type of the frame.
            pub fn kind(&self) -> $kind {
                match self { $(Self::$variant { .. } => $kind::$variant,)* }
            }

            /// Returns the channel that the frame belongs to, if it belongs to one.
            pub fn channel(&self) -> Option<u32> {
                use $crate::frame::field::{Fields, Way};
                match self { $(
                    Self::$variant $(($inner))? $({ $($field),* })? => {
                        None
                        $(.or(<$part as Fields>::channel($inner)))?
                        $($(.or(<$way as Way<_>>::channel($field)))*)?
                    }
                )* }
            }

            /// Returns the payload, if frames of this type have one.
            pub(crate) fn payload_bytes(&self) -> Option<&bytes::Bytes> {
                use $crate::frame::field::{Fields, Way};
                match self { $(
                    Self::$variant $(($inner))? $({ $($field),* })? => {
                        None
                        $(.or(<$part as Fields>::payload($inner)))?
                        $($(.or(<$way as Way<_>>::payload($field)))*)?
                    }
                )* }
            }

            /// Returns the payload to be filled, if frames of this type have one.
            pub(crate) fn payload_mut(&mut self) -> Option<&mut bytes::Bytes> {
                use $crate::frame::field::{Fields, Way};
                match self { $(
                    Self::$variant $(($inner))? $({ $($field),* })? => {
                        None
                        $(.or(<$part as Fields>::payload_mut($inner)))?
                        $($(.or(<$way as Way<_>>::payload_mut($field)))*)?
                    }
                )* }
            }

            /// Reads the frame that a header describes; its payload is still to come.
            ///
            /// # Errors
            /// Fails when a field is missing and may not be, or has a form or a value that is not allowed.
            pub(crate) fn read(
                header: &$crate::frame::header::Header<'_>,
            ) -> Result<Self, $crate::error::ProtocolError> {
                use $crate::frame::field::{Fields, Way};
                Ok(match header.kind() { $(
                    $kind::$variant => Self::$variant
                        $((<$part as Fields>::read(header)?))?
                        $({ $($field: <$way as Way<_>>::read(header, stringify!($field))?,)* })?,
                )* })
            }

            /// Appends the fields to a header that was begun with the frame's type.
            ///
            /// # Errors
            /// Fails when a value can't be written as JSON.
            pub(crate) fn write_fields(
                &self,
                pen: &mut $crate::frame::pen::Pen<'_>,
            ) -> serde_json::Result<()> {
                use $crate::frame::field::{Fields, Way};
                match self { $(
                    Self::$variant $(($inner))? $({ $($field),* })? => {
                        $(<$part as Fields>::write($inner, pen)?;)?
                        $($(<$way as Way<_>>::write($field, stringify!($field), pen)?;)*)?
                    }
                )* }
                Ok(())
            }
        }
    };
}
pub(crate) use frames;
