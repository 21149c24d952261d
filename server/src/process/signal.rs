//! The protocol's signals as the kernel's, and the senders of signals to this process.
#![allow(unsafe_code)]

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use nix::libc::{SI_TKILL, SI_USER, siginfo_t};
use rcmd_protocol::signal::Signal;

/// Returns a signal, 1 to 64, as rustix's type, which names only the first 31.
pub(super) fn kernel_signal(signal: Signal) -> rustix::process::Signal {
    let number = signal.number();
    rustix::process::Signal::from_named_raw(number).unwrap_or_else(|| {
        // SAFETY: the number is that of a signal, and it is only sent to other processes: no handler
        // of this one is set for it, which is what the C library's own (32, 33) must be kept from.
        unsafe { rustix::process::Signal::from_raw_unchecked(number) }
    })
}

/// The sender of the last signal of one kind. `Display` has it in words.
#[derive(Clone, Debug)]
pub struct SignalSender(Arc<AtomicU64>);

impl SignalSender {
    /// The value while no signal has come, or if the kernel itself sent it.
    const NOBODY: u64 = u64::MAX;
    /// The value of a sender that is not known: what sigqueue(3) sends names whomever its sender likes.
    const UNKNOWN: u64 = u64::MAX - 1;

    /// Notes the sender of each signal of this number from now on. A stream of these signals must be made
    /// afterwards: then the sender is known when the stream has the signal.
    ///
    /// # Errors
    /// If no handler can be installed.
    pub fn watch(signal: i32) -> io::Result<Self> {
        let noted = Arc::new(AtomicU64::new(Self::NOBODY));
        let sender = Self(Arc::clone(&noted));
        let note = move |info: &siginfo_t| noted.store(sender_of(info), Ordering::Release);
        // SAFETY: `note` reads its argument and stores to an atomic, which a handler may do
        // (signal-safety(7)); it allocates nothing, takes no lock and can't panic.
        unsafe { signal_hook_registry::register_sigaction(signal, note) }?;
        Ok(sender)
    }
}

impl fmt::Display for SignalSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0.load(Ordering::Acquire);
        // The user is the lower half.
        let (pid, uid) = (value >> 32, value & u64::from(u32::MAX));
        match (value, pid) {
            (Self::NOBODY, _) => f.write_str("the kernel, as for Ctrl-C"),
            (Self::UNKNOWN, _) => f.write_str("an unknown process"),
            // The process is in another PID namespace (pid_namespaces(7)).
            (_, 0) => write!(f, "a process outside this container, of user {uid}"),
            _ => write!(f, "process {pid} of user {uid}"),
        }
    }
}

/// Returns the sender of a signal: the process ID above the user ID.
fn sender_of(info: &siginfo_t) -> u64 {
    match info.si_code {
        // The kernel fills both in, and lets nobody else send these (rt_sigqueueinfo(2)).
        SI_USER | SI_TKILL => {}
        code if code > 0 => return SignalSender::NOBODY,
        _ => return SignalSender::UNKNOWN,
    }
    // SAFETY: a signal with one of these codes was sent by a process, and has both (sigaction(2)).
    let (pid, uid) = unsafe { (info.si_pid(), info.si_uid()) };
    (u64::from(u32::try_from(pid).unwrap_or(0)) << 32) | u64::from(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_told_by_process_and_user() {
        let shown = |value| SignalSender(Arc::new(AtomicU64::new(value))).to_string();
        assert_eq!(shown((7 << 32) | 1000), "process 7 of user 1000");
        assert_eq!(shown(0), "a process outside this container, of user 0");
        assert_eq!(shown(SignalSender::NOBODY), "the kernel, as for Ctrl-C");
        assert_eq!(shown(SignalSender::UNKNOWN), "an unknown process");
    }

    #[test]
    fn the_sender_of_a_signal_is_noted() {
        use nix::{libc::SIGWINCH, sys::signal, unistd::getuid};
        let sender = SignalSender::watch(SIGWINCH).unwrap();
        // The signal is handled in this thread before the call returns (raise(3)).
        signal::raise(signal::Signal::SIGWINCH).unwrap();
        let own = format!("process {} of user {}", std::process::id(), getuid());
        assert_eq!(sender.to_string(), own);
    }
}
