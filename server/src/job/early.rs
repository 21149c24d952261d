//! What comes for a process before there is one, and why there may be none.

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

    /// Takes out the first action that calls the start off, if there is one.
    pub(super) fn take_call_off(&mut self) -> Option<Action> {
        let at = self.actions.iter().position(Action::calls_off)?;
        Some(self.actions.remove(at))
    }

    /// Returns whether something that was kept calls the start off.
    pub(super) fn is_called_off(&self) -> bool {
        self.actions.iter().any(Action::calls_off)
    }

    /// Drops all that was kept, since there will be no process.
    pub(super) fn discard(&mut self) {
        self.input.discard();
        self.actions = Vec::new();
    }
}
