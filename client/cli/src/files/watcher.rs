//! What the engine of one host tells: it goes to the display, and into the numbers.

use std::sync::Arc;

use rcmd_transfer::{EventOrigin, FileAction, FileEvent, FileNotes, Observer, Progress};
use tokio::sync::{mpsc, oneshot};

use super::asked::Asked;
use super::shown::{Shown, ShownFile};
use super::tally::HostTally;

/// The observer of one host. Where the display does not keep up, the engine waits for it.
pub(super) struct Watcher {
    pub(super) host: usize,
    pub(super) feed: mpsc::Sender<Shown>,
    pub(super) tally: Arc<HostTally>,
    pub(super) asked: Asked,
    /// What the path of something that the destination alone has begins with, in the paths of the source.
    pub(super) prefix: Option<Vec<u8>>,
    /// True if each file is shown, and not only what people must know.
    pub(super) shows_all: bool,
}

impl Watcher {
    /// Removes the live line, since a content is written to standard output next. Waits until it is gone.
    pub(super) fn make_room(&self) {
        let (done, gone) = oneshot::channel();
        if self.feed.blocking_send(Shown::Content(done)).is_ok() {
            // It is dropped, also where nobody shows anything any more.
            let _ = gone.blocking_recv();
        }
    }
}

impl Observer for Watcher {
    fn file(&mut self, event: &FileEvent<'_>) {
        let is_sent = matches!(event.action, FileAction::Created | FileAction::Replaced);
        let is_deleted = event.action == FileAction::Deleted;
        if !is_sent && !is_deleted {
            self.tally.note_unsent();
        }
        let is_odd = event.failure.is_some() && event.action != FileAction::Vanished
            || event.notes.contains(FileNotes::GREW)
            || event.notes.contains(FileNotes::SET_ID_DROPPED);
        if self.shows_all || is_odd {
            let mut file = Box::new(ShownFile::of(event));
            // The destination itself has no name in it.
            let is_below = event.origin == EventOrigin::Destination && !event.path.is_empty();
            if let Some(prefix) = self.prefix.as_ref().filter(|_| is_below) {
                file.path = [prefix, &b"/"[..], &file.path].concat();
            }
            // Where nobody shows anything any more, the end of it is known elsewhere.
            let _ = self.feed.blocking_send(Shown::File { host: Some(self.host), file });
        }
    }

    fn progress(&mut self, progress: &Progress) {
        self.tally.set(progress);
    }

    fn may_take(&mut self, name: &[u8]) -> bool {
        self.asked.has(name)
    }
}
