//! Actions that arrive before there is a process, and the reason why there may be none.

use rcmd_protocol::outcome::WireError;

use super::{
    action::{Action, Control},
    supervisor::InputWriter,
};
use crate::admission::budget::Share;

/// The failure of a start, after which there is no process to supervise.
pub(super) struct NotLaunched {
    pub(super) failure: WireError,
    /// The time, in milliseconds since 1970, at which it may have started all the same.
    pub(super) started_at: Option<u64>,
}

impl From<WireError> for NotLaunched {
    fn from(failure: WireError) -> Self {
        Self { failure, started_at: None }
    }
}

/// The input and the actions that arrived before there is a process.
pub(super) struct Early {
    pub(super) input: InputWriter,
    pub(super) actions: Vec<Action>,
}

impl Early {
    /// Makes an empty one, with a share of the budget for the input.
    pub(super) fn new(share: Share) -> Self {
        Self { input: InputWriter::new(share), actions: Vec::new() }
    }

    /// Keeps an action until there is a process. Of equal actions only the last is kept, as the
    /// kernel merges pending signals (signal(7)), so that a flood of them takes no memory. Input is
    /// bounded by its credit.
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

    /// Removes and returns the first action that calls the start off, if there is one.
    pub(super) fn take_call_off(&mut self) -> Option<Action> {
        let at = self.actions.iter().position(Action::calls_off)?;
        Some(self.actions.remove(at))
    }

    /// Returns whether an action that was kept calls the start off.
    pub(super) fn is_called_off(&self) -> bool {
        self.actions.iter().any(Action::calls_off)
    }

    /// Drops all that was kept, because there will be no process.
    pub(super) fn discard(&mut self) {
        self.input.discard();
        self.actions = Vec::new();
    }
}
