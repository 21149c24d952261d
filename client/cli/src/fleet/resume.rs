//! The steps that are left to do of a run, by its record alone.

use rcmd_client::hosts::HostSet;
use rcmd_client::{ErrorKind, Outcome, Report, WireError};

use super::records::{Recorded, RunId, Sent, Stage, TargetState};
use crate::status;

/// The time for which a host knows a key, in milliseconds: 7 days.
const KEY_LIFE: u64 = 7 * 24 * 60 * 60 * 1000;

/// The step to be taken for a target.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Keep this end: there is nothing to do.
    Keep(Box<Report>),
    /// Take the command up again by the key of its start, without starting anything.
    Attach {
        sent: Sent,
        /// The attempt under which the command is run again if its end stays unknown; none if it is not run again.
        again: Option<u32>,
    },
    /// Run the command, under the key of this attempt.
    Run { attempt: u32 },
}

/// The steps that are left to do of a run.
#[derive(Clone, Debug)]
pub(crate) struct Resume {
    id: RunId,
    /// The step for each target, in the order of the plan.
    pub(crate) steps: Vec<Step>,
    /// Targets of which nothing will ever be known.
    unknown: HostSet,
}

/// The message and the exit status of a resume that has nothing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NothingLeft {
    pub(crate) text: String,
    pub(crate) status: u8,
}

impl Resume {
    /// Decides what is left to do, `now` being milliseconds since 1970. What stays unknown is run again
    /// only when the person says `again`: it may have run.
    ///
    /// # Errors
    /// Kind `usage` when the run had standard input, which is not kept.
    pub(crate) fn decide(recorded: &Recorded, again: bool, now: u64) -> Result<Self, WireError> {
        let id = recorded.id;
        if recorded.plan.input {
            let message = format!("the run {id} sent standard input (-i), which is not kept");
            return Err(WireError::new(ErrorKind::Usage, message).hint(
                "Run the command again with -i; `rcmd-client runs show` names the hosts that are left.",
            ));
        }
        let mut unknown = HostSet::default();
        let targets = recorded.plan.targets.iter().zip(&recorded.states);
        let steps = targets.map(|(target, state)| {
            let step = step(&target.name, state, again, now);
            if matches!(&step, Step::Keep(report) if report.outcome == Outcome::Unknown) {
                unknown.insert(target.name.clone());
            }
            step
        });
        let steps = steps.collect();
        Ok(Self { id, steps, unknown })
    }

    /// Returns what to say and to end with, if nothing is left to do.
    pub(crate) fn nothing_left(&self) -> Option<NothingLeft> {
        if self.steps.iter().any(|step| !matches!(step, Step::Keep(_))) {
            return None;
        }
        let (id, count) = (self.id, self.unknown.len());
        Some(match count {
            0 => NothingLeft {
                text: format!("nothing is left to do of the run {id}: every host exited with 0"),
                status: 0,
            },
            _ => NothingLeft {
                text: format!(
                    "nothing is left to do of the run {id}, but of {count} nobody knows whether it ran: {}; \
                     --again runs it there a second time",
                    self.unknown.fold()
                ),
                status: status::UNKNOWN,
            },
        })
    }
}

fn step(host: &str, state: &TargetState, again: bool, now: u64) -> Step {
    let next = state.attempt.saturating_add(1);
    match (Stage::of(state, false), &state.end) {
        (Stage::Exited, Some(report)) => Step::Keep(report.clone()),
        (Stage::Unknown, end) => match state.sent {
            Some(sent) if now.saturating_sub(sent.at) < KEY_LIFE => {
                Step::Attach { sent, again: again.then_some(next) }
            }
            _ if again => Step::Run { attempt: next },
            _ => Step::Keep(end.clone().unwrap_or_else(|| Box::new(forgotten(host)))),
        },
        _ => Step::Run { attempt: next },
    }
}

/// Returns the report of a start that its host has forgotten.
fn forgotten(host: &str) -> Report {
    let message = "its start was sent more than 7 days ago, and nobody has seen its end";
    let failure = WireError::new(ErrorKind::KeyExpired, message)
        .hint("Look there whether it ran; `--resume ID --again` runs it a second time.");
    Report::without_job(host, Outcome::Unknown, failure)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rcmd_client::inventory::Inventory;
    use rcmd_protocol::ids::Key;
    use rcmd_protocol::request::Request;

    use super::*;
    use crate::arguments::words::CommandSpec;
    use crate::fleet::records::Plan;

    const NOW: u64 = 1_764_279_676_123;

    fn report(outcome: Outcome, code: Option<u8>) -> Report {
        let failure = WireError::new(ErrorKind::Lost, "lost");
        Report { code, error: None, ..Report::without_job("a", outcome, failure) }
    }

    fn sent(attempt: u32, age: u64) -> Sent {
        let digest = Request::exec(["x"]).build().unwrap().digest();
        Sent { attempt, key: Key::from_text(b"k"), generation: 7, digest, at: NOW - age }
    }

    fn state(sent: Option<Sent>, end: Option<Report>) -> TargetState {
        let attempt = sent.map_or(0, |sent| sent.attempt);
        TargetState { attempt, sent, end: end.map(Box::new) }
    }

    fn resume(states: Vec<TargetState>, again: bool, input: bool) -> Result<Resume, WireError> {
        let set: HostSet = (1..=states.len()).map(|number| format!("a{number}").into()).collect();
        let plan = Plan {
            command: CommandSpec::Shell("x".into()),
            env: Vec::new(),
            cwd: None,
            templates: true,
            user: None,
            timeout: None,
            lock: None,
            key: None,
            input,
            targets: Arc::from(set.targets(&Inventory::default()).unwrap()),
        };
        let id = RunId::parse("19ac7436cdbdef01").unwrap();
        let recorded = Recorded { id, began: NOW, plan, states, resumed: Vec::new() };
        Resume::decide(&recorded, again, NOW)
    }

    fn step_of(state: TargetState, again: bool) -> Step {
        resume(vec![state], again, false).unwrap().steps.remove(0)
    }

    #[test]
    fn what_exited_with_0_is_done_and_its_result_is_kept() {
        let done = report(Outcome::Exited, Some(0));
        for again in [false, true] {
            let step = step_of(state(Some(sent(1, 5)), Some(done.clone())), again);
            assert_eq!(step, Step::Keep(Box::new(done.clone())));
        }
    }

    #[test]
    fn what_never_started_failed_or_timed_out_runs_under_the_next_attempt() {
        assert_eq!(step_of(state(None, None), false), Step::Run { attempt: 1 });
        for (outcome, code) in [
            (Outcome::NotStarted, None),
            (Outcome::Exited, Some(1)),
            (Outcome::Signaled, None),
            (Outcome::TimedOut, Some(0)),
        ] {
            let end = Some(report(outcome, code));
            assert_eq!(step_of(state(None, end.clone()), false), Step::Run { attempt: 1 });
            let step = step_of(state(Some(sent(3, 5)), end), false);
            assert_eq!(step, Step::Run { attempt: 4 }, "{outcome}");
        }
    }

    #[test]
    fn what_was_sent_and_has_no_known_end_is_attached_and_never_started() {
        for end in [None, Some(report(Outcome::Unknown, None)), Some(report(Outcome::Exited, None))]
        {
            let last = sent(2, KEY_LIFE - 1);
            let step = step_of(state(Some(last), end.clone()), false);
            assert_eq!(step, Step::Attach { sent: last, again: None }, "{end:?}");
            let step = step_of(state(Some(last), end.clone()), true);
            assert_eq!(step, Step::Attach { sent: last, again: Some(3) }, "{end:?}");
        }
    }

    #[test]
    fn a_start_that_its_host_has_forgotten_runs_only_by_again() {
        let old = state(Some(sent(2, KEY_LIFE)), None);
        assert_eq!(step_of(old.clone(), true), Step::Run { attempt: 3 });
        let Step::Keep(report_of) = step_of(old, false) else { panic!("it is asked for again") };
        assert_eq!(report_of.outcome, Outcome::Unknown);
        assert_eq!(report_of.error.unwrap().kind, ErrorKind::KeyExpired);
        // Of a start whose line could not be written no key is known.
        let end = report(Outcome::Unknown, None);
        let unwritten = TargetState { attempt: 1, ..state(None, Some(end.clone())) };
        assert_eq!(step_of(unwritten.clone(), false), Step::Keep(Box::new(end)));
        assert_eq!(step_of(unwritten, true), Step::Run { attempt: 2 });
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_start_old() {
        let ahead = Sent { at: NOW + 1, ..sent(1, 0) };
        let step = step_of(state(Some(ahead), None), false);
        assert!(matches!(step, Step::Attach { .. }), "{step:?}");
    }

    #[test]
    fn nothing_left_is_said_and_ends_by_what_is_known() {
        let done = || state(Some(sent(1, 5)), Some(report(Outcome::Exited, Some(0))));
        let idle = resume(vec![done(), done()], false, false).unwrap().nothing_left().unwrap();
        assert_eq!(idle.status, 0);
        assert!(idle.text.contains("every host exited with 0"), "{}", idle.text);
        let old = || state(Some(sent(1, KEY_LIFE)), None);
        let states = vec![old(), done(), old()];
        let idle = resume(states.clone(), false, false).unwrap().nothing_left().unwrap();
        assert_eq!(idle.status, 255);
        assert!(idle.text.contains("a[1,3]; --again"), "{}", idle.text);
        assert_eq!(resume(states, true, false).unwrap().nothing_left(), None);
        let never = vec![done(), state(None, None)];
        assert_eq!(resume(never, false, false).unwrap().nothing_left(), None);
    }

    #[test]
    fn a_run_with_standard_input_is_refused() {
        let refused = resume(vec![state(None, None)], true, true).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Usage);
        assert!(refused.message.contains("which is not kept") && refused.hint.is_some());
    }
}
