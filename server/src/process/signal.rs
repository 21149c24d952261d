//! The protocol's signals as the kernel's.
#![allow(unsafe_code)]

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
