//! Lines that wait for standard error, and the thread that writes them.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, Instant},
};

use tracing::warn;
use tracing_subscriber::fmt::MakeWriter;

use super::sums::Sums;

/// The most lines that wait.
const LINES: usize = 1024;
/// The most bytes in a line; the rest is left out.
const LINE: usize = 16 * 1024;
/// The time between two looks at the sums.
const TOLD: Duration = Duration::from_secs(10);
/// The time to write the lines that wait when the program ends.
const LAST: Duration = Duration::from_secs(1);

/// A queue that takes lines without waiting. Lines for which there is no room are dropped and counted.
#[derive(Clone, Debug)]
pub struct Queue {
    items: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Item {
    Line(Vec<u8>),
    /// An order to answer when all lines before it are written.
    Flush(SyncSender<()>),
}

/// A guard that waits on its end, when dropped, until the lines before are written.
#[derive(Debug)]
pub struct LogGuard(Queue);

impl Queue {
    /// Starts the thread that writes to `out`.
    ///
    /// # Errors
    /// Fails when it can't be started.
    pub(super) fn start(
        out: impl Write + Send + 'static,
        sums: Arc<Sums>,
    ) -> io::Result<(Self, LogGuard)> {
        let (items, waiting) = sync_channel(LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let queue = Self { items, dropped: Arc::clone(&dropped) };
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(out, &waiting, &dropped, &sums))?;
        Ok((queue.clone(), LogGuard(queue)))
    }
}

fn write_all(mut out: impl Write, waiting: &Receiver<Item>, dropped: &AtomicU64, sums: &Sums) {
    let mut told = Instant::now();
    loop {
        match waiting.recv_timeout(TOLD) {
            // There is no place to report a failed write.
            Ok(Item::Line(line)) => _ = out.write_all(&line),
            Ok(Item::Flush(done)) => _ = done.try_send(()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            warn!(lost, "lines of the log were dropped, since its reader was too slow");
        }
        if told.elapsed() >= TOLD {
            told = Instant::now();
            for (line, times) in sums.take() {
                warn!(line, times, "more lines of the log are summed up");
            }
        }
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let (done, is_done) = sync_channel(1);
        let deadline = Instant::now() + LAST;
        let mut flush = Item::Flush(done);
        while let Err(TrySendError::Full(again)) = self.0.items.try_send(flush) {
            if Instant::now() >= deadline {
                return;
            }
            flush = again;
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let _ = is_done.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// Each write is one whole line, as the formatter makes it.
impl Write for &Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut kept = line.get(..LINE).unwrap_or(line).to_vec();
        if kept.len() < line.len() {
            kept.extend_from_slice("…\n".as_bytes());
        }
        if self.items.try_send(Item::Line(kept)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader},
        os::unix::net::UnixStream,
    };

    use super::*;

    #[test]
    fn a_reader_that_stands_still_holds_up_nobody_and_is_told_what_it_missed() {
        let (out, reader) = UnixStream::pair().unwrap();
        let (queue, _guard) = Queue::start(out, Arc::default()).unwrap();
        let line = [&[b'a'; 1000][..], b"\n"].concat();
        let began = Instant::now();
        for _ in 0..100_000 {
            (&queue).write_all(&line).unwrap();
        }
        assert!(began.elapsed() < Duration::from_secs(30));
        assert!(queue.dropped.load(Ordering::Relaxed) > 0);
        let mut lines = BufReader::new(reader).lines();
        assert!(lines.by_ref().take(1024).all(|line| line.unwrap().len() == 1000));
    }

    #[test]
    fn what_waits_is_written_before_the_end_and_a_long_line_is_cut() {
        let (out, reader) = UnixStream::pair().unwrap();
        let (queue, guard) = Queue::start(out, Arc::default()).unwrap();
        (&queue).write_all(b"first\n").unwrap();
        (&queue).write_all(&[&[b'a'; 2 * LINE][..], b"\n"].concat()).unwrap();
        drop(guard);
        let mut lines = BufReader::new(reader).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "first");
        assert_eq!(lines.next().unwrap().unwrap().chars().count(), LINE + 1);
    }
}
