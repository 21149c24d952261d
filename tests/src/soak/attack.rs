//! Attackers in every role at once against one server, while honest neighbours measure.
//!
//! The attackers have a processor of their own; the server and its neighbours have another. Where times count, the
//! attackers use theirs only while nobody else wants it, so that what slows a neighbour down is what the server does
//! for them.

pub mod attackers;
mod bounds;
mod ground;
mod neighbours;
mod roles;

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use self::attackers::{Attackers, Blows};
use self::bounds::{Bound, Watch};
use self::ground::Ground;
use self::neighbours::{Neighbours, Phase, Timed};
use crate::audit::assert_whole;
use crate::processors::{Pinned, Two, When};
use crate::wait::keep_pace;

/// The largest ratio that a neighbour's median may have to its quiet value.
const SLOWDOWN: f64 = 3.0;
/// The part of the attack's time for which neighbours are measured alone, before it and after it.
const QUIET_PART: u32 = 6;

/// The result of an attack.
#[derive(Debug)]
pub struct Report {
    lasted: Duration,
    blows: Blows,
    neighbours: Vec<Timed>,
    bounds: Vec<Bound>,
}

impl Report {
    /// Returns whether each role had its part. On a machine that is busy with other things attackers may never get to
    /// run.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.blows.0.values().all(|count| *count > 0)
    }

    /// Returns whether no neighbour failed, and the server kept to its bounds: all but how long the neighbours took.
    #[must_use]
    pub fn is_withstood(&self) -> bool {
        let served = self.neighbours.iter().all(|timed| timed.failures.is_empty());
        served && self.bounds.iter().all(Bound::is_kept)
    }

    /// Returns whether the attack was withstood, and no neighbour was slowed down too much.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.is_withstood() && self.neighbours.iter().all(|timed| timed.slowdown() < SLOWDOWN)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "attacked for {:.0?} in {} roles:", self.lasted, self.blows.0.len())?;
        for (role, count) in &self.blows.0 {
            writeln!(f, "  {role:<20} {count:>10}")?;
        }
        writeln!(
            f,
            "neighbours (median quiet, beside; at most {SLOWDOWN} times; slowest beside):"
        )?;
        self.neighbours.iter().try_for_each(|timed| writeln!(f, "  {timed}"))?;
        writeln!(f, "the server:")?;
        self.bounds.iter().try_for_each(|bound| writeln!(f, "  {bound}"))?;
        write!(f, "afterwards: the audit is whole; descriptors, threads, children as before")
    }
}

/// Attacks a server for so long. `program` is the soak program, which is run once more as the attackers; `when` they
/// may have their processor.
///
/// # Errors
///
/// The error names what is missing on this machine.
///
/// # Panics
///
/// When something is left of the attack, the audit is not whole, or nothing can be measured.
pub fn run(program: &Path, lasting: Duration, when: When) -> Result<Report, String> {
    let two = Two::find()?;
    let behind = two.on_loud(when)?;
    let pinned = Pinned::to(two.quiet).map_err(|error| error.to_string())?;
    let mut ground = Ground::lay();
    let before = ground.world.settled_snapshot();
    let neighbours = Neighbours::start(&ground);
    let watch = Watch::begin(&ground.world);
    neighbours.measure(Phase::Quiet);
    keep_pace(Instant::now(), lasting / QUIET_PART);
    neighbours.measure(Phase::Beside);
    let began = Instant::now();
    let attackers = Attackers::start(program, &behind, &ground);
    ground.harass_until(began + lasting);
    neighbours.measure(Phase::Between);
    let lasted = began.elapsed();
    let blows = attackers.end();
    ground.unmount();
    let bounds = watch.end(&ground.world, lasted);
    neighbours.rest_until_served();
    neighbours.measure(Phase::Quiet);
    keep_pace(Instant::now(), lasting / QUIET_PART);
    let neighbours = neighbours.end();
    ground.world.assert_settles_to(&before);
    assert_whole(&ground.world, None);
    ground.clear();
    drop(pinned);
    Ok(Report { lasted, blows, neighbours, bounds })
}
