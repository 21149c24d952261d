//! Lines of one kind that come faster than anybody reads: they are counted instead of repeated.
//!
//! Strangers and denied peers cause lines as fast as they come. Each place in the code that logs may thus write a
//! number of lines at once, and then at a fixed pace. The rest become one line with their number every 10 s.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::{
    Event, Level, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{self, Context};

/// The number of lines of one kind that may come at once.
const AT_ONCE: u32 = 200;
/// The time between two lines of one kind after those.
const INTERVAL: Duration = Duration::from_secs(1);
/// The characters by which a line is recognized in the sum.
const KNOWN_BY: usize = 80;

/// The numbers of lines of each kind that were left out. There are as many kinds as places in the code that log.
#[derive(Debug, Default)]
pub(super) struct Sums(Mutex<HashMap<Identifier, Kind>>);

#[derive(Debug)]
struct Kind {
    /// The time from which the full number may come at once again.
    full_at: Instant,
    left_out: u64,
    line: String,
}

impl Sums {
    /// Returns whether a line may be written; if not, it is counted.
    fn takes(&self, event: &Event<'_>, now: Instant) -> bool {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = kinds.entry(event.metadata().callsite()).or_insert_with(|| Kind {
            full_at: now,
            left_out: 0,
            line: String::new(),
        });
        let full_at = kind.full_at.max(now);
        if full_at.duration_since(now) <= INTERVAL * (AT_ONCE - 1) {
            kind.full_at = full_at + INTERVAL;
            return true;
        }
        kind.left_out += 1;
        if kind.line.is_empty() {
            event.record(&mut Message(&mut kind.line));
        }
        false
    }

    /// Returns the lines that were left out since the last call, and how many times each.
    pub(super) fn take(&self) -> Vec<(String, u64)> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left_out = kinds.values_mut().filter(|kind| kind.left_out > 0);
        left_out.map(|kind| (kind.line.clone(), std::mem::take(&mut kind.left_out))).collect()
    }
}

/// A layer that leaves lines out. Levels that are only logged on demand are not touched.
#[derive(Debug)]
pub struct SumsLayer(Arc<Sums>);

impl SumsLayer {
    pub(super) fn of(sums: Arc<Sums>) -> Self {
        Self(sums)
    }
}

impl<S: Subscriber> layer::Layer<S> for SumsLayer {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        *event.metadata().level() > Level::INFO || self.0.takes(event, Instant::now())
    }
}

struct Message<'a>(&'a mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0.extend(format!("{value:?}").chars().take(KNOWN_BY));
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::{debug, info, subscriber::with_default, warn};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn many_lines_of_one_kind_are_counted_and_others_are_not() {
        let sums = Arc::new(Sums::default());
        let log = tracing_subscriber::fmt().with_writer(std::io::sink).finish();
        with_default(log.with(SumsLayer::of(Arc::clone(&sums))), || {
            for n in 0..AT_ONCE + 50 {
                info!(n, "refused");
                debug!(n, "on demand");
            }
            warn!("something else");
        });
        let taken = sums.take();
        let [(line, times)] = taken.as_slice() else { panic!("{taken:?}") };
        // On a slow machine some more lines were due.
        assert!(line == "refused" && (20..=50).contains(times), "{taken:?}");
        assert_eq!(sums.take(), []);
    }
}
