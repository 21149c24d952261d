//! Signals to the client together with their escalation: one wait for both.

use std::pin::pin;

use rcmd_client::{Client, Signal, WireError};
use tokio::time::{Instant, sleep_until, timeout};

use crate::signals::{self, Action, Caught, LAST_OUTPUT, SignalEscalation, Signals};

/// An interruption of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// The action for a signal, or for the end of a delay after one.
    Act(Action),
    /// A suspension of this process, as by Ctrl-Z.
    Suspend,
}

/// The caught signals, with the state of their escalation.
pub(crate) struct Interrupts {
    signals: Signals,
    escalation: SignalEscalation,
}

impl Interrupts {
    /// Catches signals from now on.
    ///
    /// # Errors
    /// Kind `local_io` if a handler can't be installed.
    pub(crate) fn catch() -> Result<Self, WireError> {
        Ok(Self { signals: Signals::catch()?, escalation: SignalEscalation::default() })
    }

    /// Waits for the next interrupt.
    ///
    /// # Cancel safety
    /// No signal is lost if the future is dropped.
    pub(crate) async fn next(&mut self) -> Interrupt {
        loop {
            let timeout = self.escalation.timeout();
            tokio::select! {
                caught = self.signals.next() => return match caught {
                    Caught::Ending(signal) => {
                        Interrupt::Act(self.escalation.handle_signal(signal, Instant::now()))
                    }
                    Caught::Suspend => Interrupt::Suspend,
                },
                () = until(timeout) => {
                    if let Some(action) = self.escalation.handle_timeout(Instant::now()) {
                        return Interrupt::Act(action);
                    }
                }
            }
        }
    }

    /// Waits until the remaining output is printed. The commands have ended: a signal now concerns only this
    /// process, and gives the reader of the output one more moment. A `client` that is still connected is
    /// informed of a suspension.
    ///
    /// # Errors
    /// The signal that ended the wait; also an earlier one whose time is over.
    pub(crate) async fn unless_caught<T>(
        mut self,
        client: Option<&Client>,
        printing: impl Future<Output = T>,
    ) -> Result<T, Signal> {
        let mut printing = pin!(printing);
        let mut over = pin!(self.escalation.over());
        let signal = loop {
            tokio::select! {
                printed = &mut printing => return Ok(printed),
                signal = &mut over => break signal,
                caught = self.signals.next() => match caught {
                    Caught::Ending(signal) => break signal,
                    Caught::Suspend => signals::suspend(client).await,
                }
            }
        };
        timeout(LAST_OUTPUT, printing).await.map_err(|_| signal)
    }
}

/// Waits until a time, or for ever if there is none.
pub(crate) async fn until(timeout: Option<Instant>) {
    match timeout {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
