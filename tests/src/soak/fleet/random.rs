//! Runs over sets that stop, fail, are interrupted, killed and taken up again at random moments: the account
//! adds up, nothing runs twice, and nothing ran that is listed as never started. Each start is counted on
//! its host.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::soak::Judged;
use crate::{ClientCommand, Finished, Random};

mod judge;
mod plan;
mod scene;

use judge::{Book, judge};
use plan::{Fate, Plan, chance};
use scene::Scene;

/// Runs at once, each with servers of its own.
const AT_ONCE: usize = 4;
/// Resumes that may be needed until each host has ended well: one takes up what ran, one runs again what that
/// shows to have failed, and one is for what came between.
const RESUMES: usize = 4;

/// The figures of all runs.
#[derive(Debug, Default)]
pub struct Figures {
    /// The number of runs.
    pub runs: u64,
    /// Targets of all runs.
    pub targets: usize,
    /// Starts that were counted on the hosts.
    pub starts: usize,
    /// The number of first clients that each fate befell, by the name of the fate.
    pub fates: BTreeMap<String, u64>,
    /// The number of targets in each state behind the first clients, by the record.
    pub ends: BTreeMap<String, u64>,
    /// Clients that took up a run.
    pub resumes: u64,
    /// The number of these clients that were interrupted or killed.
    pub broken_resumes: u64,
    /// Runs in which every host has ended well at last.
    pub whole: u64,
    /// Runs at whose end nobody knows of some hosts.
    pub unknown: u64,
    /// Descriptions of what does not hold, each with the seed of its run.
    pub wrong: Vec<String>,
    /// The time from the first run to the last.
    pub elapsed: Duration,
}

impl Figures {
    fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.targets += other.targets;
        self.starts += other.starts;
        self.resumes += other.resumes;
        self.broken_resumes += other.broken_resumes;
        self.whole += other.whole;
        self.unknown += other.unknown;
        self.wrong.extend(other.wrong);
        for (ours, theirs) in [(&mut self.fates, other.fates), (&mut self.ends, other.ends)] {
            theirs.into_iter().for_each(|(name, count)| *ours.entry(name).or_default() += count);
        }
    }
}

impl Judged for Figures {
    fn are_good(&self) -> bool {
        self.wrong.is_empty()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, targets, starts, fates, ends, resumes, broken_resumes, .. } = self;
        writeln!(f, "{runs} runs, {targets} targets, {starts} starts, in {:.0?}", self.elapsed)?;
        writeln!(f, "  clients: {fates:?}")?;
        writeln!(f, "  ends behind them: {ends:?}")?;
        writeln!(f, "  {resumes} resumes, {broken_resumes} of them broken off again")?;
        writeln!(f, "  {} runs whole at last, {} with unknown hosts", self.whole, self.unknown)?;
        self.wrong.iter().try_for_each(|wrong| writeln!(f, "WRONG: {wrong}"))
    }
}

/// Carries out a number of runs. The first uses `seed`, and each further one the next number.
#[must_use]
pub fn run(runs: u64, seed: u64) -> Figures {
    let began = Instant::now();
    let (next, figures) = (AtomicU64::new(0), Mutex::new(Figures::default()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= runs {
                        return;
                    }
                    let one = one(seed.wrapping_add(number));
                    figures.lock().unwrap_or_else(PoisonError::into_inner).add(one);
                }
            });
        }
    });
    let mut figures = figures.into_inner().unwrap_or_else(PoisonError::into_inner);
    figures.elapsed = began.elapsed();
    figures
}

/// Carries out the run of a seed.
fn one(seed: u64) -> Figures {
    let course = catch_unwind(AssertUnwindSafe(|| Course::new(seed).carry_out()));
    course.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let wrong = format!("seed {seed}: {}", text.unwrap_or_default());
        Figures { runs: 1, wrong: vec![wrong], ..Figures::default() }
    })
}

/// A run on its way, from its first client to its last.
struct Course {
    seed: u64,
    random: Random,
    scene: Scene,
    book: Book,
    figures: Figures,
}

impl Course {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::random(&mut random);
        let book = Book::new(plan.hosts.len());
        let figures = Figures { runs: 1, targets: plan.hosts.len(), ..Figures::default() };
        let scene = Scene::new(plan, &mut random);
        Self { seed, random, scene, book, figures }
    }

    fn carry_out(mut self) -> Figures {
        let fate = self.scene.plan.fate.clone();
        *self.figures.fates.entry(fate.name()).or_default() += 1;
        self.stage(self.scene.first(), &fate);
        for state in self.book.states() {
            *self.figures.ends.entry(state.to_owned()).or_default() += 1;
        }
        if self.scene.record().is_some() {
            let mut fate = fate;
            while fate.is_deadly() && self.is_well() {
                fate = match chance(&mut self.random, 40) {
                    true => Fate::killed(&mut self.random),
                    false => Fate::default(),
                };
                self.resume(&fate);
            }
            if chance(&mut self.random, 50) {
                self.finish();
            }
        }
        self.figures.starts = self.scene.starts().values().map(Vec::len).sum();
        self.figures
    }

    fn is_well(&self) -> bool {
        self.figures.wrong.is_empty()
    }

    fn are_all(&self, state: &str) -> bool {
        self.book.states().all(|one| one == state)
    }

    fn resume(&mut self, fate: &Fate) {
        if self.are_all("exited") {
            self.resume_idly();
            return;
        }
        let fanout = *self.random.choose(&["1", "4", "64"]);
        let mut options = vec!["-f".to_owned(), fanout.to_owned()];
        if chance(&mut self.random, 30) {
            options.extend(["--batch".to_owned(), "30%".to_owned()]);
        }
        self.figures.resumes += 1;
        self.figures.broken_resumes += u64::from(fate.first().is_some());
        self.stage(self.scene.resume(&options), fate);
    }

    /// Takes up a run of which nothing is left: it is said, and nothing happens.
    fn resume_idly(&mut self) {
        let before = self.scene.starts();
        let done = self.scene.resume(&[]).run();
        let idle = done.stderr_text().contains("nothing is left to do");
        if done.status.code() != Some(0) || !idle || self.scene.starts() != before {
            self.wrong("something was done", &done);
        }
    }

    /// Mends whatever ails the hosts, and takes the run up until all have ended well; then once more.
    fn finish(&mut self) {
        self.scene.mend();
        for _ in 0..RESUMES {
            if self.are_all("exited") || !self.is_well() {
                break;
            }
            self.resume(&Fate::default());
        }
        if self.are_all("exited") {
            self.figures.whole += 1;
            self.resume_idly();
        } else if self.book.states().any(|state| state == "unknown") {
            self.figures.unknown += 1;
        } else if self.scene.plan.is_mendable() && self.is_well() {
            self.figures.wrong.push(format!("seed {}: not all ended well", self.seed));
        }
    }

    /// Runs a client to its end and judges all that is known then.
    fn stage(&mut self, client: ClientCommand, fate: &Fate) {
        let form = self.scene.form(&mut self.random);
        let before = self.scene.starts();
        let (done, rests) = self.scene.carry_out(client, fate, &form);
        let mut wrong: Vec<_> = rests.err().into_iter().collect();
        let starts = self.scene.starts();
        self.book.take(self.scene.record().as_deref(), &starts, &mut wrong);
        let spoke = judge(&done, fate, &form, &self.book, &mut wrong);
        if !spoke && !fate.is_deadly() && starts != before {
            wrong.push("a client that caught no signal yet started something".to_owned());
        }
        if !wrong.is_empty() {
            self.wrong(&format!("{fate:?}, {form:?}: {}", wrong.join("\n  ")), &done);
        }
    }

    fn wrong(&mut self, what: &str, done: &Finished) {
        self.figures.wrong.push(format!("seed {}: {what}\n{}", self.seed, done.story()));
    }
}
