//! What both ends of a transfer say to each other. `docs/transfer.md` specifies it.

mod attributes;
mod hello;
mod stream;
mod to_receiver;
mod to_sender;

pub(crate) use hello::{Hello, Role};
pub(crate) use stream::{MessageReader, MessageWriter};
pub(crate) use to_receiver::ToReceiver;
pub(crate) use to_sender::ToSender;
