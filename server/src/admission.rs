//! Which commands run now, and which wait for their turn.

mod bucket;
pub mod budget;
pub mod locks;
mod pace;
mod queue;
pub mod slots;
mod throttle;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rcmd_protocol::outcome::{ErrorKind, Failure};
use tokio::sync::oneshot;

use crate::{
    config::{limits::Limits, quota::Allowance},
    units::Rate,
};
use bucket::Bucket;
use queue::Fair;
pub use throttle::Late;

/// Hands out turns: so many commands run at once, so many wait, the others are told when to come
/// again. Turns go round between identities, so that nobody's queue holds up another's.
#[derive(Debug)]
pub struct Admission {
    running: usize,
    queued: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    turns: Fair<oneshot::Sender<Turn>>,
    /// The host's rate, and what of it is there.
    rate: Rate,
    starts: Bucket,
}

/// A running command's turn; given back when dropped.
#[derive(Debug)]
pub struct Turn {
    admission: Arc<Admission>,
    who: Arc<str>,
}

/// A place in the queue; given back when dropped.
#[derive(Debug)]
pub struct Place {
    admission: Arc<Admission>,
    who: String,
    number: u64,
    position: usize,
    wait: Duration,
    turn: oneshot::Receiver<Turn>,
}

impl Admission {
    /// An admission with these limits.
    pub fn new(limits: &Limits) -> Self {
        let turns = Fair::new(limits.running);
        let state = State { turns, rate: limits.starts, starts: Bucket::default() };
        Self { running: limits.running, queued: limits.queued, state: Mutex::new(state) }
    }

    /// Takes over what may change while commands run: the rate of starts.
    pub fn relimit(&self, limits: &Limits) {
        self.state(|state| state.rate = limits.starts);
    }

    fn state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a start from the rates, if there is one, and room for it: else nothing need be made for
    /// it.
    ///
    /// # Errors
    /// `busy`, with the time to come again.
    pub fn knock(&self, who: &str, allowance: &Allowance) -> Result<(), Failure> {
        let now = Instant::now();
        self.state(|state| {
            self.check_room(state, who, allowance, false)?;
            let rate = state.rate;
            let line = state.turns.line(who, allowance.running);
            let of_peer = line.starts.check(allowance.starts, now);
            let of_host = state.starts.check(rate, now);
            of_peer.map_err(|wait| too_fast("this identity", allowance.starts, wait))?;
            of_host.map_err(|wait| too_fast("the host", rate, wait))?;
            line.starts.take(allowance.starts, now);
            state.starts.take(rate, now);
            Ok(())
        })
    }

    /// How late a start of this identity that is turned away is to be told so.
    pub fn refuse(&self, who: &str, allowance: &Allowance) -> Late {
        let now = Instant::now();
        self.state(|state| state.turns.line(who, allowance.running).refusals.answer(now))
    }

    /// A turn, if one is free and nobody of this identity waits for it.
    pub fn try_turn(self: &Arc<Self>, who: &str, allowance: &Allowance) -> Option<Turn> {
        let has_turn = self.state(|state| state.turns.try_run(who, allowance.running));
        has_turn.then(|| Turn { admission: Arc::clone(self), who: who.into() })
    }

    /// A place in the queue.
    ///
    /// # Errors
    /// `busy` when the queue is full.
    pub fn queue(self: &Arc<Self>, who: &str, allowance: &Allowance) -> Result<Place, Failure> {
        let (ticket, turn) = oneshot::channel();
        let (number, position) = self.state(|state| {
            self.check_room(state, who, allowance, true)?;
            let number = state.turns.enter(who, allowance.running, ticket);
            Ok::<_, Failure>((number, state.turns.before(who)))
        })?;
        self.hand_out();
        let admission = Arc::clone(self);
        let wait = allowance.queue_wait.0;
        Ok(Place { admission, who: who.to_owned(), number, position, wait, turn })
    }

    /// Whether there is a turn or a place; a place alone for one who `waits` already.
    fn check_room(
        &self,
        state: &mut State,
        who: &str,
        allowance: &Allowance,
        waits: bool,
    ) -> Result<(), Failure> {
        let turns = &mut state.turns;
        let (running, waiting, pace) = (turns.running(), turns.waiting(), turns.pace);
        let line = turns.line(who, allowance.running);
        let must_wait = waits || running >= self.running || line.running() >= allowance.running;
        if must_wait && line.waiting() >= allowance.queued {
            return Err(full("of this identity ", line.running(), line.waiting())
                .retry_after_ms(ms(line.pace.come_again(line.waiting()))));
        }
        if must_wait && waiting >= self.queued {
            return Err(full("", running, waiting).retry_after_ms(ms(pace.come_again(waiting))));
        }
        Ok(())
    }

    /// Gives free turns to those whose they are.
    fn hand_out(self: &Arc<Self>) {
        while let Some((who, ticket)) = self.state(|state| state.turns.next()) {
            // Who has left at this moment gives it back by dropping it, outside of the lock.
            let _ = ticket.send(Turn { admission: Arc::clone(self), who });
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.admission.state(|state| state.turns.release(&self.who, Instant::now()));
        self.admission.hand_out();
    }
}

impl Place {
    /// How many go before this one, as it looked when it came.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// `busy` when none came in time.
    ///
    /// # Cancel safety
    /// The place is kept, and a turn that came is given to the next call.
    pub async fn turn(&mut self) -> Result<Turn, Failure> {
        match tokio::time::timeout(self.wait, &mut self.turn).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => {
                let again = self
                    .admission
                    .state(|state| state.turns.pace.come_again(state.turns.waiting()));
                let wait = humantime::format_duration(self.wait);
                Err(busy(format!("no turn came within {wait}"))
                    .hint("Nothing ran; try again later, or raise queue_wait in server.toml.")
                    .retry_after_ms(ms(again)))
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.state(|state| state.turns.leave(&self.who, self.number));
    }
}

fn busy(message: String) -> Failure {
    Failure::new(ErrorKind::Busy, message)
}

fn full(whose: &str, running: usize, waiting: usize) -> Failure {
    busy(format!("{running} commands {whose}run and {waiting} wait already"))
        .hint("Nothing ran; try again later, or raise `running` and `queued` in server.toml.")
}

fn too_fast(who: &str, rate: Rate, wait: Duration) -> Failure {
    busy(format!("{who} may start {rate}, and they are used up"))
        .hint("Nothing ran; come again more slowly, or raise `starts` in server.toml.")
        .retry_after_ms(ms(wait))
}

/// Whole milliseconds, rounded up: who comes earlier comes in vain.
fn ms(wait: Duration) -> u64 {
    u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(text: &str) -> Limits {
        toml::from_str(text).unwrap()
    }

    fn admission(text: &str) -> (Arc<Admission>, Allowance) {
        let limits = limits(text);
        (Arc::new(Admission::new(&limits)), limits.allowance("a", &[]))
    }

    #[tokio::test]
    async fn the_queue_is_bounded_and_moves_on_when_a_turn_ends() {
        let (admission, of) = admission("running = 1\nqueued = 1");
        let turn = admission.try_turn("a", &of).unwrap();
        assert!(admission.try_turn("a", &of).is_none());
        assert!(admission.knock("a", &of).is_ok());
        let mut place = admission.queue("a", &of).unwrap();
        assert_eq!(place.position(), 0);
        assert!(admission.knock("a", &of).is_err());
        assert_eq!(admission.queue("a", &of).unwrap_err().kind, ErrorKind::Busy);
        drop(turn);
        let turn = place.turn().await.unwrap();
        drop((turn, place));
        assert!(admission.try_turn("a", &of).is_some());
        assert!(admission.queue("a", &of).is_ok());
    }

    #[tokio::test]
    async fn a_command_of_another_has_its_turn_before_hundreds_that_came_earlier() {
        let (admission, of) = admission("running = 1");
        let turn = admission.try_turn("a", &of).unwrap();
        let mut crowd: Vec<_> = (0..500).map(|_| admission.queue("a", &of).unwrap()).collect();
        let mut other = admission.queue("b", &of).unwrap();
        assert_eq!(other.position(), 1);
        drop(turn);
        let other = other.turn().await.unwrap();
        assert_eq!(crowd[0].turn.try_recv().err(), Some(oneshot::error::TryRecvError::Empty));
        drop(other);
        assert!(crowd[0].turn.try_recv().is_ok());
    }

    #[tokio::test]
    async fn a_turn_that_came_to_one_who_has_left_goes_to_the_next() {
        let (admission, of) = admission("running = 1");
        let turn = admission.try_turn("a", &of).unwrap();
        let leaves = admission.queue("a", &of).unwrap();
        let mut stays = admission.queue("a", &of).unwrap();
        drop(turn);
        drop(leaves);
        drop(stays.turn().await.unwrap());
        assert!(admission.try_turn("a", &of).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_told_to_come_again() {
        let (admission, of) = admission("running = 1");
        let _turn = admission.try_turn("a", &of).unwrap();
        let failure = admission.queue("a", &of).unwrap().turn().await.unwrap_err();
        assert_eq!(failure.retry_after_ms, Some(1000));
        assert_eq!(admission.state(|state| state.turns.waiting()), 0);
    }

    #[test]
    fn past_its_rate_an_identity_is_told_when_the_next_start_is_there() {
        let (admission, of) = admission("peer.starts = '2/m'\nstarts = '3/h'");
        assert!(admission.knock("a", &of).is_ok() && admission.knock("a", &of).is_ok());
        let failure = admission.knock("a", &of).unwrap_err();
        assert!(failure.message.contains("this identity may start 2 in 1m"), "{failure}");
        assert!((29_000..=30_000).contains(&failure.retry_after_ms.unwrap()), "{failure:?}");
        // What was refused took nothing from the host's rate.
        assert!(admission.knock("b", &of).is_ok());
        let failure = admission.knock("b", &of).unwrap_err();
        assert!(failure.message.contains("the host may start 3 in 1h"), "{failure}");
    }

    #[test]
    fn one_identity_s_full_queue_is_not_another_s() {
        let (admission, of) = admission("running = 4\nqueued = 4");
        let _turns: Vec<_> = (0..3).map(|_| admission.try_turn("a", &of).unwrap()).collect();
        let _places: Vec<_> = (0..3).map(|_| admission.queue("a", &of).unwrap()).collect();
        let failure = admission.queue("a", &of).unwrap_err();
        assert!(
            failure.message.contains("3 commands of this identity run and 3 wait"),
            "{failure}"
        );
        let _turn = admission.try_turn("b", &of).unwrap();
        assert!(admission.queue("b", &of).is_ok());
    }
}
