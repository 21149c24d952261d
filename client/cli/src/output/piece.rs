//! The output and events of a command, piece by piece.

use rcmd_client::{Chunk, Report};
use rcmd_protocol::frame::Stream;

/// One piece to print.
#[derive(Debug)]
pub(crate) enum Piece {
    /// The start of the process.
    Started { job: String, started_at: u64 },
    /// A piece of the process's output.
    Data(Stream, Chunk),
    /// The end of a stream.
    End(Stream),
    /// A message of rcmd itself: one line. In events it has no line end.
    Note(String),
    /// The end of the command.
    Report(Box<Report>),
}

/// A converter of pieces to bytes, in their order.
pub(crate) trait Render: Send {
    /// Returns the bytes to write for a piece. Output that is printed unchanged is borrowed from the piece and never
    /// copied.
    fn render<'a>(&'a mut self, piece: &'a Piece) -> &'a [u8];
}
