//! The first message of each end.

use crate::{
    fields::{Body, Fields, Malformed},
    options::TransferOptions,
};

/// What a hello begins with.
const MAGIC: [u8; 4] = *b"rcft";

/// The version of this protocol.
const VERSION: u16 = 1;

/// Which end of a transfer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Sender,
    Receiver,
}

/// The first message of each end. One of the two has the options.
#[derive(Debug, PartialEq)]
pub(crate) struct Hello {
    pub(crate) role: Role,
    pub(crate) options: Option<TransferOptions>,
}

impl Hello {
    pub(crate) const KIND: u8 = 1;

    pub(crate) fn encode(&self, body: &mut Body) {
        body.begin(Self::KIND);
        body.raw(&MAGIC);
        body.u16(VERSION);
        body.u8(match self.role {
            Role::Sender => 1,
            Role::Receiver => 2,
        });
        body.flag(self.options.is_some());
        if let Some(options) = &self.options {
            options.encode(body);
        }
    }

    pub(crate) fn decode(kind: u8, fields: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::new(fields);
        if kind != Self::KIND || fields.u32()?.to_be_bytes() != MAGIC {
            return Err(Malformed("it does not begin with the hello of a transfer"));
        }
        if fields.u16()? != VERSION {
            return Err(Malformed("it speaks another version, which only another release has"));
        }
        let role = match fields.u8()? {
            1 => Role::Sender,
            2 => Role::Receiver,
            _ => return Err(Malformed("it is neither sender nor receiver")),
        };
        let options = match fields.flag()? {
            true => Some(TransferOptions::decode(&mut fields)?),
            false => None,
        };
        fields.end()?;
        Ok(Self { role, options })
    }
}
