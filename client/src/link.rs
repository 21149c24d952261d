//! The link to one host: a task that owns the connection, all channels on it, and their healing.
//!
//! ```text
//!  Client, Command, Child      orders      ConnectionDriver         Connection
//!  ChildStdin, ChildOutput  ------------>  channels, healing  <-->  reader, writer task, silence
//!                           <------------
//!                        progress, notices,
//!                        feeds, room
//! ```
//!
//! What a caller holds gives orders and never waits for the task; what the task gives back is bounded
//! by credit: bytes in the `feeds` of output streams, permits for stdin in `room`.
//!
//! The life of a channel, as [`channel`] has it; *sent* is what decides whether it may start again:
//!
//! ```text
//!             start                  started, attached
//!  Detached ---------> Starting -------------------------------> Running --end,end,exit--> (report)
//!    ^  |               |  ^                                       ^ |
//!    |  | attach        |  | refused unknown_key,         attached | | the connection is lost
//!    |  +---------> Attaching by the instance it went to ----------+ |
//!    |                  |                                            |
//!    +------------------+--------------------------------------------+   past the grace: (report)
//! ```
//!
//! # Why nothing runs twice
//!
//! - A key starts at most one job on one server process, whatever is sent how often, in whatever
//!   order: a `start` that is known attaches, and one that comes late over an old connection has a
//!   lower generation and is refused. So only another server process can run a command twice.
//! - `unknown_key` therefore allows a new start only when it comes from the very process that had the
//!   first one ([`channel::state::StartSent::To`]), or when the key is the caller's own and thereby durable.
//! - A connection that breaks before its hello leaves open which process had the start
//!   ([`channel::state::StartSent::Unknown`]). It may have run there, so `unknown_key` then means `unknown`.
//! - A start that was never handed to a connection ([`channel::state::StartSent::Never`]) can be sent to any.
//! - A server that answers `not_started` has said that nothing ran: after `busy` the start is sent
//!   again, under a key of its own.
//! - After `started`, nothing is ever sent as a start again.

use std::sync::Arc;

use dial::{ByteStream, Connector};
use order::Handle;

pub(crate) mod backoff;
mod channel;
pub(crate) mod connection;
pub(crate) mod dial;
mod driver;
pub(crate) mod feed;
mod input;
pub(crate) mod notices;
pub(crate) mod order;
mod patience;
pub(crate) mod progress;
mod receiving;
pub(crate) mod start;
#[cfg(test)]
mod tests;

/// Starts the task on a stream that `connector` made.
pub(crate) fn open(
    host: String,
    connector: Box<dyn Connector>,
    stream: Box<dyn ByteStream>,
) -> Handle {
    let host: Arc<str> = host.into();
    let (handle, orders) = Handle::new(Arc::clone(&host));
    tokio::spawn(driver::ConnectionDriver::new(host, connector, orders).run(stream));
    handle
}
