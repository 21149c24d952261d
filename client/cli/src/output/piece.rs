//! What is printed of a command, piece by piece.

use rcmd_client::{Chunk, Report};
use rcmd_protocol::frame::Stream;

/// One thing to be printed.
#[derive(Debug)]
pub(crate) enum Piece {
    /// The process runs.
    Started { job: String, started_at: u64 },
    /// It wrote this.
    Data(Stream, Chunk),
    /// It will write nothing more there.
    End(Stream),
    /// A message of rcmd's own, of one line without its end.
    Note(String),
    /// It ended so.
    Report(Box<Report>),
}

/// Makes bytes of pieces, in their order.
pub(crate) trait Render: Send {
    /// The bytes to be written for this piece, of the piece itself where it can be: output that is
    /// printed as it is is never copied.
    fn render<'a>(&'a mut self, piece: &'a Piece) -> &'a [u8];
}
