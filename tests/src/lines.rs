//! The lines that a program writes, kept as they come, to be waited for.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The most lines that are kept; a program that writes more loses its oldest here.
const KEPT: usize = 100_000;

#[derive(Debug, Clone, Default)]
pub(crate) struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<String>,
    /// The number of bytes that came, those of lost lines included.
    bytes: u64,
    /// The number of readers that have not met their end.
    open: usize,
}

impl Lines {
    /// Reads `from` to its end on a thread of its own. More than one source may be added.
    pub(crate) fn add(&self, from: impl Read + Send + 'static) {
        self.lock().open += 1;
        let shared = self.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(from);
            let mut line = Vec::new();
            while let Ok(1..) = reader.read_until(b'\n', &mut line) {
                let text = String::from_utf8_lossy(&line);
                shared.push(text.trim_end_matches('\n').to_owned());
                line.clear();
            }
            shared.lock().open -= 1;
            shared.0.changed.notify_all();
        });
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.lock().lines.iter().cloned().collect()
    }

    /// Returns the number of bytes that came until now.
    pub(crate) fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// Returns the last lines, for a message.
    pub(crate) fn tail(&self) -> String {
        let state = self.lock();
        let skipped = state.lines.len().saturating_sub(60);
        state.lines.iter().skip(skipped).map(|line| format!("  {line}\n")).collect()
    }

    /// Waits for the first `count` lines that contain `needle`. Returns `None` when they are not
    /// there by `limit` or all sources ended without them.
    pub(crate) fn wait_for(
        &self,
        needle: &str,
        count: usize,
        limit: Duration,
    ) -> Option<Vec<String>> {
        let until = Instant::now() + limit;
        let mut state = self.lock();
        loop {
            let found: Vec<String> = state
                .lines
                .iter()
                .filter(|line| line.contains(needle))
                .take(count)
                .cloned()
                .collect();
            if found.len() == count {
                return Some(found);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || state.open == 0 {
                return None;
            }
            state = match self.0.changed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Waits until all sources have ended, so that nothing more comes; no longer than `limit`.
    pub(crate) fn wait_for_end(&self, limit: Duration) {
        let ended = self.0.changed.wait_timeout_while(self.lock(), limit, |state| state.open > 0);
        drop(ended);
    }

    fn push(&self, line: String) {
        let mut state = self.lock();
        state.bytes += line.len() as u64 + 1;
        if state.lines.len() == KEPT {
            state.lines.pop_front();
        }
        state.lines.push_back(line);
        self.0.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
