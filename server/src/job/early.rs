//! What comes for a process before there is one, and why there may be none.

use std::mem;

use rcmd_protocol::outcome::WireError;

use super::{
    action::{Action, Control},
    supervisor::InputWriter,
};
use crate::admission::budget::Share;

/// Why there is no process to supervise.
pub(super) struct NotLaunched {
    pub(super) failure: WireError,
    /// When it may have started all the same, in milliseconds since 1970.
    pub(super) started_at: Option<u64>,
}

impl From<WireError> for NotLaunched {
    fn from(failure: WireError) -> Self {
        Self { failure, started_at: None }
    }
}

/// What came for a process before there is one.
pub(super) struct Early {
    pub(super) input: InputWriter,
    pub(super) actions: Vec<Action>,
}

impl Early {
    /// With a share of the budget for the input.
    pub(super) fn new(share: Share) -> Self {
        Self { input: InputWriter::new(share), actions: Vec::new() }
    }

    /// Keeps an action until there is a process. Of equal ones the last counts, as the kernel joins
    /// signals that wait (signal(7)), so that a flood of them fills no memory; input is bounded by its
    /// credit.
    pub(super) fn put_off(&mut self, action: Action) {
        match action {
            Action::Process(Control::InputData(bytes)) => self.input.push(bytes),
            Action::Process(Control::InputEnd) => self.input.end(),
            action => {
                self.actions.retain(|kept| *kept != action);
                self.actions.push(action);
            }
        }
    }

    /// Takes the actions that were kept.
    pub(super) fn take_actions(&mut self) -> Vec<Action> {
        mem::take(&mut self.actions)
    }
}
