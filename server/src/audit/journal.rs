//! A copy of each line for systemd's journal, by its native protocol
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).
//!
//! The file is the authoritative log. Lines wait for the journal in a bounded queue; lines for
//! which there is no room are dropped, counted and logged.

use std::{
    io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use tracing::warn;

use super::record::Event;

/// The maximum number of lines that wait for the journal.
const QUEUE: usize = 1024;
/// The minimum time between two log messages about dropped lines.
const TOLD: Duration = Duration::from_secs(60);
/// The maximum bytes of a line in a datagram; the kernel accepts some 200 KiB.
const MOST: usize = 128 * 1024;

/// The queue of lines for the journal.
#[derive(Debug)]
pub(super) struct Journal {
    queue: SyncSender<Vec<u8>>,
    lost: Arc<AtomicU64>,
}

impl Journal {
    /// Starts the thread that sends. The journal may be absent now, and may disappear and return.
    pub(super) fn start(socket: &Path) -> io::Result<Self> {
        let (queue, lines) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let (counter, socket) = (Arc::clone(&lost), socket.to_owned());
        std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || send_all(&lines, &socket, &counter))?;
        Ok(Self { queue, lost })
    }

    /// Queues a line of JSON.
    pub(super) fn send(&self, line: &[u8], event: &Event, seq: u64) {
        if self.queue.try_send(datagram(line, event, seq)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn datagram(line: &[u8], event: &Event, seq: u64) -> Vec<u8> {
    let alarming = matches!(event, Event::Denial { .. } | Event::Gap { .. } | Event::Cut { .. });
    let priority = if alarming { 4 } else { 6 };
    let mut fields =
        format!("SYSLOG_IDENTIFIER=rcmd-audit\nPRIORITY={priority}\nRCMD_SEQ={seq}\n").into_bytes();
    if let Some(job) = event.job() {
        fields.extend_from_slice(format!("RCMD_JOB={job}\n").as_bytes());
    }
    if line.len() > MOST {
        fields.extend_from_slice(b"RCMD_TRUNCATED=1\n");
    }
    // A line of the log contains no newline, so the simple form of a field is enough.
    fields.extend_from_slice(b"MESSAGE=");
    fields.extend_from_slice(line.get(..MOST).unwrap_or(line));
    fields.push(b'\n');
    fields
}

fn send_all(lines: &Receiver<Vec<u8>>, path: &PathBuf, lost: &AtomicU64) {
    let Ok(socket) = UnixDatagram::unbound() else {
        warn!("no socket for the journal; its copy of the audit is missing");
        return;
    };
    let (mut silent, mut told) = (false, None::<Instant>);
    for line in lines {
        let failed = socket.send_to(&line, path).err();
        match failed {
            Some(error) if !silent => {
                warn!(path = %path.display(), %error, "the journal does not take the audit's copy");
                silent = true;
            }
            Some(_) => {}
            None => silent = false,
        }
        if told.is_some_and(|at| at.elapsed() < TOLD) {
            continue;
        }
        let dropped = lost.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            told = Some(Instant::now());
            warn!(dropped, "lines of the audit were too many for the journal");
        }
    }
}
