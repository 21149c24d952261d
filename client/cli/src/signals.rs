//! Signals to the client, and the actions that follow from them.
#![expect(clippy::disallowed_methods, reason = "programs that serve nobody")]

use std::fs::File;
use std::future::{pending, poll_fn};
use std::io::{self, Read as _};
use std::task::Poll;
use std::time::Duration;

use rcmd_client::{Child, Client, ErrorKind, Signal, WireError};
use rustix::process::{getpid, kill_process};
use tokio::signal::unix::{self, SignalKind};
use tokio::time::{Instant, sleep, sleep_until};

pub(crate) mod interrupts;

/// The time from TERM or HUP to the kill.
pub(crate) const PATIENCE: Duration = Child::PATIENCE;
/// The time from the kill to giving up on the report of the end.
const LAST_WORD: Duration = Child::LAST_WORD;

/// The time for waiting output after the user has given up.
pub(crate) const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// The time to inform the server that this process is about to be stopped.
const FAREWELL: Duration = Duration::from_millis(20);

/// SIGTSTP and SIGTTIN, signal(7).
const STOPS: [i32; 2] = [20, 21];

/// A caught signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caught {
    /// A signal that ends programs, meant for the remote command.
    Ending(Signal),
    /// Ctrl-Z, or a read of the terminal just when another process came to the foreground.
    Suspend,
}

/// The caught signals. A signal that was ignored when the client started stays ignored, as under nohup(1).
pub(crate) struct Signals {
    sources: Vec<(Caught, unix::Signal)>,
}

impl Signals {
    /// Catches the signals from now on. Callers do so before they send anything, which the error states.
    ///
    /// # Errors
    /// Kind `local_io` if a handler can't be installed.
    pub(crate) fn catch() -> Result<Self, WireError> {
        let ignored = ignored();
        let ending = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT].into_iter();
        let all = ending.map(|signal| (Caught::Ending(signal), signal.number()));
        let sources = all
            .chain(STOPS.map(|number| (Caught::Suspend, number)))
            .filter(|(_, number)| ignored & (1 << (number - 1)) == 0)
            .map(|(caught, number)| Ok((caught, unix::signal(SignalKind::from_raw(number))?)))
            .collect::<io::Result<_>>();
        let sources = sources.map_err(|error| {
            WireError::new(ErrorKind::LocalIo, format!("cannot install signal handlers: {error}"))
                .hint("Nothing ran; try again.")
        })?;
        Ok(Self { sources })
    }

    /// Waits for the next signal.
    ///
    /// # Cancel safety
    /// No signal is lost if the future is dropped.
    pub(crate) async fn next(&mut self) -> Caught {
        poll_fn(|context| {
            let came = self.sources.iter_mut().find_map(|(caught, source)| {
                source.poll_recv(context).is_ready().then_some(*caught)
            });
            came.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// Stops this process, as Ctrl-Z does, after informing the hosts. Returns when the process continues.
pub(crate) async fn suspend<'a>(clients: impl IntoIterator<Item = &'a Client> + Clone) {
    clients.clone().into_iter().for_each(Client::suspend);
    stop().await;
    clients.into_iter().for_each(Client::resume);
}

/// Stops this process, after a moment in which frames can be sent. Returns when the process continues.
pub(crate) async fn stop() {
    sleep(FAREWELL).await;
    // A signal to this process does not fail; the call returns when the process continues.
    let _ = kill_process(getpid(), rustix::process::Signal::STOP);
}

/// Returns the mask of ignored signals, in which bit 0 is signal 1 (proc_pid_status(5)); 0 if it can't be read.
fn ignored() -> u64 {
    // The file has less than 2 KiB. One read, instead of eight for a whole file, saves time in each run.
    let mut status = [0; 8192];
    let read = File::open("/proc/self/status").and_then(|mut file| file.read(&mut status));
    let status = status.get(..read.unwrap_or(0)).unwrap_or_default();
    mask(&String::from_utf8_lossy(status)).unwrap_or(0)
}

fn mask(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// An action on the remote command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Pass a signal on.
    Pass(Signal),
    /// Kill all processes of the command.
    Kill,
    /// Give up waiting for the end, and end with the status of this signal.
    GiveUp(Signal),
}

/// The escalation of signals that end the command.
///
/// ```text
///           INT, QUIT                INT, QUIT
///   Calm ------------- Interrupted ------------+
///     |                    | TERM, HUP         v        2 s
///     +----- TERM, HUP ----+--- Patient ---> Killed ---------> given up
///                                5 s or INT, QUIT
/// ```
#[derive(Debug, Default)]
pub(crate) struct SignalEscalation {
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default)]
enum Stage {
    #[default]
    Calm,
    Interrupted,
    Patient {
        signal: Signal,
        until: Instant,
    },
    Killed {
        signal: Signal,
        until: Instant,
    },
}

impl SignalEscalation {
    /// Takes a signal. Returns the action.
    pub(crate) fn handle_signal(&mut self, signal: Signal, now: Instant) -> Action {
        let interrupts = signal == Signal::INT || signal == Signal::QUIT;
        match self.stage {
            Stage::Interrupted | Stage::Patient { .. } if interrupts => self.kill(signal, now),
            Stage::Calm if interrupts => {
                self.stage = Stage::Interrupted;
                Action::Pass(signal)
            }
            Stage::Calm | Stage::Interrupted => {
                self.stage = Stage::Patient { signal, until: now + PATIENCE };
                Action::Pass(signal)
            }
            Stage::Patient { .. } => Action::Pass(signal),
            Stage::Killed { .. } => Action::Kill,
        }
    }

    /// Returns when to call [`SignalEscalation::handle_timeout`].
    pub(crate) fn timeout(&self) -> Option<Instant> {
        match self.stage {
            Stage::Calm | Stage::Interrupted => None,
            Stage::Patient { until, .. } | Stage::Killed { until, .. } => Some(until),
        }
    }

    /// Handles the time of [`SignalEscalation::timeout`]. Returns the action, if any.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<Action> {
        match self.stage {
            Stage::Patient { signal, until } if until <= now => Some(self.kill(signal, now)),
            Stage::Killed { signal, until } if until <= now => Some(Action::GiveUp(signal)),
            _ => None,
        }
    }

    /// Waits until the time of a signal is over and returns the signal. Without a signal, waits for ever.
    pub(crate) async fn over(self) -> Signal {
        match self.stage {
            Stage::Calm | Stage::Interrupted => pending().await,
            Stage::Patient { signal, until } | Stage::Killed { signal, until } => {
                sleep_until(until).await;
                signal
            }
        }
    }

    fn kill(&mut self, signal: Signal, now: Instant) -> Action {
        self.stage = Stage::Killed { signal, until: now + LAST_WORD };
        Action::Kill
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_interrupt_kills_and_two_seconds_later_nobody_waits() {
        let (mut escalation, now) = (SignalEscalation::default(), Instant::now());
        assert_eq!(escalation.handle_signal(Signal::INT, now), Action::Pass(Signal::INT));
        assert_eq!(escalation.timeout(), None);
        assert_eq!(escalation.handle_signal(Signal::INT, now), Action::Kill);
        assert_eq!(escalation.timeout(), Some(now + LAST_WORD));
        assert_eq!(escalation.handle_timeout(now), None);
        let end = escalation.handle_timeout(now + LAST_WORD);
        assert_eq!(end, Some(Action::GiveUp(Signal::INT)));
    }

    #[test]
    fn patience_after_term_ends_after_five_seconds_and_a_second_term_does_not_renew_it() {
        for signal in [Signal::TERM, Signal::HUP] {
            let (mut escalation, now) = (SignalEscalation::default(), Instant::now());
            assert_eq!(escalation.handle_signal(signal, now), Action::Pass(signal));
            let later = now + Duration::from_secs(3);
            assert_eq!(escalation.handle_signal(signal, later), Action::Pass(signal));
            assert_eq!(escalation.timeout(), Some(now + PATIENCE));
            assert_eq!(escalation.handle_timeout(now + PATIENCE), Some(Action::Kill));
            let end = escalation.handle_timeout(now + PATIENCE + LAST_WORD);
            assert_eq!(end, Some(Action::GiveUp(signal)));
        }
    }

    #[test]
    fn an_interrupt_ends_patience_at_once() {
        let (mut escalation, now) = (SignalEscalation::default(), Instant::now());
        escalation.handle_signal(Signal::TERM, now);
        assert_eq!(escalation.handle_signal(Signal::INT, now), Action::Kill);
    }

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        assert_eq!(mask("SigBlk:\t0\nSigIgn:\t0000000000001001\n"), Some(0x1001));
        assert_eq!(mask(""), None);
    }
}
