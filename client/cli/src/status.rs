//! Exit statuses of the client itself. The status of a command comes from its report
//! ([`Report::exit_status`](rcmd_client::Report::exit_status)), that of a failure from its kind.

use rcmd_client::Signal;

/// The reader of standard output has gone. The status is that of a local program.
pub(super) const READER_GONE: u8 = Signal::PIPE.exit_status();
/// A time limit ended one of several commands.
pub(super) const TIMED_OUT: u8 = 124;
/// One of several commands did not start, or a step of `doctor` failed.
pub(super) const NOT_STARTED: u8 = 125;
/// The end of a command is unknown.
pub(super) const UNKNOWN: u8 = 255;
/// A failure of rcmd, for a caller of ssh.
pub(super) const SSH_FAILED: u8 = 255;
/// An error of output or input on this machine.
pub(super) const LOCAL_IO: u8 = 255;
