//! The IDs of users and groups, each a type of its own, so that neither passes for the other.

use std::{fmt, num::ParseIntError, str::FromStr};

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $vis:vis struct $name:ident(u32);) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        // The launcher passes lists of them to the kernel as they are.
        #[repr(transparent)]
        $vis struct $name(u32);

        impl $name {
            /// The ID of root.
            pub const ROOT: Self = Self(0);

            /// Returns the ID with this number.
            pub const fn from_raw(id: u32) -> Self {
                Self(id)
            }

            /// Returns the number.
            pub const fn as_raw(self) -> u32 {
                self.0
            }

            /// Returns whether this is the ID of root.
            pub fn is_root(self) -> bool {
                self == Self::ROOT
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIntError;

            fn from_str(text: &str) -> Result<Self, ParseIntError> {
                text.parse().map(Self)
            }
        }

        impl From<nix::unistd::$name> for $name {
            fn from(id: nix::unistd::$name) -> Self {
                Self(id.as_raw())
            }
        }

        impl From<$name> for nix::unistd::$name {
            fn from(id: $name) -> Self {
                Self::from_raw(id.0)
            }
        }
    };
}

id! {
    /// The ID of a user.
    pub struct Uid(u32);
}

id! {
    /// The ID of a group.
    pub struct Gid(u32);
}
