//! Transfers of files: the process that carries one out as the account, and what it says to the
//! server.
//!
//! | module | holds |
//! | --- | --- |
//! | `order` | what the process is told first |
//! | `message` | what goes over its socket after that |
//! | `helper` | the process itself |
//! | `asker` | its observer: asks for each folder, and counts |
//! | `input` | its standard input, which signals end |
//! | `list` | listing instead of transferring |
//!
//! The process executes the server's own program anew, and so has nothing of the server's memory. It
//! gets open folders and a socket, confines itself to them before it reads a byte, and moves files
//! over its standard input and output by `rcmd-transfer`. What it says of itself is the word of a
//! process of the account, and is treated so.

mod asker;
mod helper;
mod input;
mod list;
pub(crate) mod message;
pub(crate) mod order;

pub(crate) use self::helper::ARGUMENT;
pub use self::helper::serve as serve_as_helper;
