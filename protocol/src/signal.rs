//! Signals by name, as on Linux (signal(7)).

use std::fmt;

use serde::{Serialize, Serializer};

/// A signal of Linux, 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Signal(u8);

/// Names of signals 1 to 31 on x86 and ARM, in order.
const NAMES: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

impl Signal {
    /// SIGHUP: the terminal was closed.
    pub const HUP: Self = Self(1);
    /// SIGINT, as sent by Ctrl-C.
    pub const INT: Self = Self(2);
    /// SIGQUIT, as sent by Ctrl-\.
    pub const QUIT: Self = Self(3);
    /// SIGKILL, which can't be caught.
    pub const KILL: Self = Self(9);
    /// SIGPIPE: a write to a pipe that nobody reads.
    pub const PIPE: Self = Self(13);
    /// SIGTERM: a request to end.
    pub const TERM: Self = Self(15);

    /// Returns the signal with this number; `None` unless it is 1 to 64.
    pub fn from_number(number: i32) -> Option<Self> {
        u8::try_from(number).ok().filter(|number| (1..=64).contains(number)).map(Self)
    }

    /// Returns the number of the signal, 1 to 64.
    pub fn number(self) -> i32 {
        i32::from(self.0)
    }

    /// Returns the exit status that a shell shows for a process that this signal ended: 128 and the number.
    pub const fn exit_status(self) -> u8 {
        128 + self.0
    }

    /// Reads a name as it is displayed: `SIGTERM`, or `SIG40` for a signal without a name.
    pub fn parse(name: &str) -> Option<Self> {
        if let Some(at) = NAMES.iter().position(|&known| known == name) {
            return Self::from_number(i32::try_from(at).ok()? + 1);
        }
        (32..=64).map(Self).find(|signal| signal.to_string() == name)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0) - 1) {
            Some(name) => f.write_str(name),
            None => write!(f, "SIG{}", self.0),
        }
    }
}

impl Serialize for Signal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_reads_back_by_its_name() {
        for number in 1..=64 {
            let signal = Signal::from_number(number).unwrap();
            assert_eq!(Signal::parse(&signal.to_string()), Some(signal));
        }
        assert_eq!(Signal::TERM.to_string(), "SIGTERM");
        assert_eq!(Signal::from_number(31).unwrap().to_string(), "SIGSYS");
        assert_eq!(Signal::from_number(40).unwrap().to_string(), "SIG40");
        assert_eq!(Signal::PIPE.exit_status(), 141);
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        for name in
            ["", "TERM", "sigterm", "SIG0", "SIG9", "SIG65", "SIG-1", "SIG256", "SIG+40", "SIG040"]
        {
            assert_eq!(Signal::parse(name), None, "{name}");
        }
        for number in [-1, 0, 65, 256 + 9] {
            assert_eq!(Signal::from_number(number), None, "{number}");
        }
    }
}
