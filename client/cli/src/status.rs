//! Exit statuses that are the client's own. That of a command is its report's,
//! [`Report::exit_status`](rcmd_client::Report::exit_status); that of nothing begun its failure's.

use rcmd_client::Signal;

/// The reader of standard output has gone: as of a local program.
pub(super) const READER_GONE: u8 = Signal::PIPE.exit_status();
/// The time limit ended a command of several.
pub(super) const TIMED_OUT: u8 = 124;
/// Something was never started: a command of several, or what `doctor` was to find out.
pub(super) const NOT_STARTED: u8 = 125;
/// The whole truth is not known.
pub(super) const UNKNOWN: u8 = 255;
/// Something could not be written or read here.
pub(super) const LOCAL_IO: u8 = 255;
