//! Our signals and what is to be done for them: on one host as for a single command, on a set in the stages of
//! a run over many hosts.

use std::pin::pin;

use rcmd_client::{Signal, WireError};
use tokio::time::{Instant, timeout};

use crate::fleet::escalation::{Escalation, LAST_ENDS, Step};
use crate::signals::interrupts::{Interrupt, Interrupts, until};
use crate::signals::{self, Action, Caught, LAST_OUTPUT, Signals};

/// A thing to be done about the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Begin nothing more, after this signal.
    Stop(Signal),
    /// Begin nothing more, and do this about what runs.
    Act(Action),
    /// Stop this process, as Ctrl-Z asks.
    Suspend,
}

/// The signals that are caught, and how far the user has gone.
pub(super) enum Interruption {
    One(Interrupts),
    Many {
        signals: Signals,
        escalation: Escalation,
        /// The time after which nobody waits for ends that a kill should have brought.
        last_moment: Option<Instant>,
    },
}

impl Interruption {
    /// Catches signals from now on.
    ///
    /// # Errors
    /// Kind `local_io` when a handler can't be installed.
    pub(super) fn catch(many: bool) -> Result<Self, WireError> {
        Ok(match many {
            false => Self::One(Interrupts::catch()?),
            true => {
                let (signals, escalation) = (Signals::catch()?, Escalation::default());
                Self::Many { signals, escalation, last_moment: None }
            }
        })
    }

    /// Waits for what is to be done next.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub(super) async fn next(&mut self) -> Wanted {
        match self {
            Self::One(interrupts) => match interrupts.next().await {
                Interrupt::Act(action) => Wanted::Act(action),
                Interrupt::Suspend => Wanted::Suspend,
            },
            Self::Many { signals, escalation, last_moment } => loop {
                let step = tokio::select! {
                    caught = signals.next() => match caught {
                        Caught::Ending(signal) => escalation.handle_signal(signal, Instant::now()),
                        Caught::Suspend => return Wanted::Suspend,
                    },
                    () = until(escalation.timeout()) => escalation.handle_timeout(Instant::now()),
                    () = until(*last_moment) => {
                        *last_moment = None;
                        return Wanted::Act(Action::GiveUp(first(escalation)));
                    }
                };
                if let Some(step) = step {
                    return wanted(step, escalation, last_moment);
                }
            },
        }
    }

    /// Notes that something ended or was printed: as long as that goes on, it is waited for after a kill
    /// too, since each line has its result.
    pub(super) fn note_progress(&mut self) {
        if let Self::Many { last_moment: Some(last_moment), .. } = self {
            *last_moment = Instant::now().checked_add(LAST_ENDS).unwrap_or(*last_moment);
        }
    }

    /// Ends the run as TERM does, since nobody reads its results. Returns what is to be done, if that is
    /// anything new.
    pub(super) fn end(&mut self) -> Option<Wanted> {
        match self {
            Self::One(_) => None,
            Self::Many { escalation, last_moment, .. } => {
                let step = escalation.handle_signal(Signal::TERM, Instant::now())?;
                Some(wanted(step, escalation, last_moment))
            }
        }
    }

    /// Returns whether a run over many hosts was killed, and nobody waits for a slow reader any more.
    pub(super) fn is_impatient(&self) -> bool {
        match self {
            Self::One(_) => false,
            Self::Many { escalation, .. } => escalation.is_impatient(),
        }
    }

    /// Waits until the rest is printed. Nothing runs any more: a signal that ends programs is for this
    /// process alone now, and leaves a reader a last moment.
    ///
    /// # Errors
    /// The signal that ended the wait; also one that came before, and whose time is over.
    pub(super) async fn unless_caught<T>(
        self,
        printing: impl Future<Output = T>,
    ) -> Result<T, Signal> {
        let (mut signals, escalation) = match self {
            Self::One(interrupts) => return interrupts.unless_caught(None, printing).await,
            Self::Many { signals, escalation, .. } => (signals, escalation),
        };
        let mut printing = pin!(printing);
        let killed = escalation.first().filter(|_| escalation.is_impatient());
        let signal = loop {
            if let Some(signal) = killed {
                break signal;
            }
            tokio::select! {
                printed = &mut printing => return Ok(printed),
                caught = signals.next() => match caught {
                    Caught::Ending(signal) => break signal,
                    Caught::Suspend => signals::stop().await,
                }
            }
        };
        timeout(LAST_OUTPUT, printing).await.map_err(|_| signal)
    }
}

/// Returns the signal that began the end.
fn first(escalation: &Escalation) -> Signal {
    // Without a signal nothing of this happens.
    escalation.first().unwrap_or(Signal::INT)
}

fn wanted(step: Step, escalation: &Escalation, last_moment: &mut Option<Instant>) -> Wanted {
    match step {
        Step::Stop => Wanted::Stop(first(escalation)),
        Step::Pass(signal) => Wanted::Act(Action::Pass(signal)),
        Step::Kill => {
            *last_moment = Instant::now().checked_add(LAST_ENDS);
            Wanted::Act(Action::Kill)
        }
    }
}
