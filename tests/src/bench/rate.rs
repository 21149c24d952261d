//! The speed of something that is done again and again, several times at once: how often a second,
//! and how long each time.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::measure::milliseconds;

/// Calls `once` `count` times, `at_once` at a time. Returns the rate a second, then the median and
/// the 99th percentile of the milliseconds that one call took.
///
/// # Errors
///
/// The first that came.
pub(crate) fn rate<F>(
    runtime: &Runtime,
    at_once: usize,
    count: usize,
    once: impl Fn() -> F + Clone + Send + 'static,
) -> Result<[f64; 3]>
where
    F: Future<Output = Result<()>> + Send,
{
    let left = Arc::new(AtomicUsize::new(count));
    runtime.block_on(async {
        let mut workers = JoinSet::new();
        let began = Instant::now();
        for _ in 0..at_once {
            let (left, once) = (Arc::clone(&left), once.clone());
            workers.spawn(async move {
                let mut took = Vec::new();
                let take = |left: usize| left.checked_sub(1);
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                    let began = Instant::now();
                    once().await?;
                    took.push(began.elapsed());
                }
                Ok::<_, anyhow::Error>(took)
            });
        }
        let mut took: Vec<Duration> = Vec::new();
        while let Some(done) = workers.join_next().await {
            took.extend(done??);
        }
        let rate = took.len() as f64 / began.elapsed().as_secs_f64();
        took.sort();
        Ok([rate, milliseconds(percentile(&took, 50)), milliseconds(percentile(&took, 99))])
    })
}

/// Returns a percentile of sorted times, or zero if there are none.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}
