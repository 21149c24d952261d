//! Notices of one command on their way to its caller, at a pace that no server can raise.
//!
//! A server may say again and again how many wait before a command, and end connection after connection. Of what a
//! caller has not taken only the newest is kept, and it gets no two notices of one kind within a second.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    mem::{Discriminant, discriminant},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::connection::until;

/// The least time between two notices of one kind.
const PAUSE: Duration = Duration::from_secs(1);

/// An event on the way, for a person who waits. It has no bearing on the end.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// The host has no room, or another command holds the lock. Contains the number of commands before
    /// this one.
    Queued(u64),
    /// The host is busy, for this reason, and will be asked again.
    Busy(String),
    /// The connection was lost, for this reason, and is being made anew.
    Lost(String),
    /// The command was taken up again. Contains the time since the loss.
    Resumed(Duration),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queued(position) => {
                write!(f, "waiting for its turn or its lock, {position} before this command")
            }
            Self::Busy(why) => write!(f, "busy ({why}); trying again"),
            Self::Lost(why) => write!(f, "connection lost ({why}); connecting again"),
            Self::Resumed(after) => write!(f, "resumed after {:.1} s", after.as_secs_f32()),
        }
    }
}

/// The notices that are kept for a caller: the newest of each kind, in the order in which they came.
#[derive(Debug, Default)]
struct Board {
    kept: VecDeque<Notice>,
    /// The time at which a notice of each kind was taken last.
    taken: HashMap<Discriminant<Notice>, Instant>,
    /// True once nothing more comes.
    closed: bool,
}

/// A notice for the caller, or what it has to wait for.
#[derive(PartialEq, Debug)]
enum Next {
    Notice(Notice),
    /// Another notice, or this time.
    Later(Option<Instant>),
    /// Nothing more comes.
    End,
}

impl Board {
    fn put(&mut self, notice: Notice) {
        let kind = discriminant(&notice);
        self.kept.retain(|kept| discriminant(kept) != kind);
        self.kept.push_back(notice);
    }

    /// Takes the first notice, if its time has come. None goes before another, or a loss could be told after its
    /// end. What has to wait when the command ends is not told any more.
    fn take(&mut self, now: Instant) -> Next {
        let kind = self.kept.front().map(discriminant);
        let last = kind.and_then(|kind| self.taken.get(&kind));
        let due = last.map(|last| *last + PAUSE).filter(|due| *due > now);
        if let (Some(kind), None) = (kind, due)
            && let Some(notice) = self.kept.pop_front()
        {
            self.taken.insert(kind, now);
            return Next::Notice(notice);
        }
        if self.closed { Next::End } else { Next::Later(due) }
    }
}

#[derive(Debug, Default)]
struct Shared {
    board: Mutex<Board>,
    changed: Notify,
}

impl Shared {
    fn board<T>(&self, act: impl FnOnce(&mut Board) -> T) -> T {
        act(&mut self.board.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The half with which the link sends notices. When it is dropped, no more notices come.
#[derive(Debug)]
pub(super) struct NoticeWriter(Arc<Shared>);

/// The half from which the caller reads notices.
#[derive(Debug)]
pub(crate) struct NoticeReader(Arc<Shared>);

/// Returns the two halves of new notices.
pub(super) fn pair() -> (NoticeWriter, NoticeReader) {
    let shared = Arc::<Shared>::default();
    (NoticeWriter(Arc::clone(&shared)), NoticeReader(shared))
}

impl NoticeWriter {
    /// Keeps a notice for the caller, in place of the one that it makes out of date.
    pub(super) fn put(&self, notice: Notice) {
        self.0.board(|board| board.put(notice));
        self.0.changed.notify_one();
    }
}

impl Drop for NoticeWriter {
    fn drop(&mut self) {
        self.0.board(|board| board.closed = true);
        self.0.changed.notify_one();
    }
}

impl NoticeReader {
    /// Waits for the next notice; `None` when the command has ended.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub(crate) async fn next(&mut self) -> Option<Notice> {
        loop {
            let later = match self.0.board(|board| board.take(Instant::now())) {
                Next::Notice(notice) => return Some(notice),
                Next::End => return None,
                Next::Later(later) => later,
            };
            tokio::select! {
                () = self.0.changed.notified() => {}
                () = until(later) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> Notice {
        Notice::Lost("reset".to_owned())
    }

    const RESUMED: Notice = Notice::Resumed(Duration::ZERO);

    #[tokio::test(start_paused = true)]
    async fn of_a_flood_the_newest_is_told_each_second() {
        let (writer, mut reader) = pair();
        let start = Instant::now();
        let now = || u64::try_from(start.elapsed().as_millis()).unwrap();
        let flood = async {
            // Each notice says when it was sent.
            while now() < 10_000 {
                writer.put(Notice::Queued(now()));
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            drop(writer);
        };
        let told = async {
            let mut told = Vec::new();
            while let Some(Notice::Queued(sent)) = reader.next().await {
                assert!(now() - sent <= 10, "{sent} is not the newest at {}", now());
                told.push(now());
            }
            told
        };
        let ((), told) = tokio::join!(flood, told);
        assert!((10..=11).contains(&told.len()), "{told:?}");
        assert!(told.is_sorted_by(|one, next| next - one >= 1000), "{told:?}");
    }

    #[test]
    fn of_each_kind_the_newest_is_kept() {
        let mut board = Board::default();
        let of_round =
            |round| [Notice::Busy("full".to_owned()), Notice::Queued(round), RESUMED, lost()];
        for notice in (0..1000).flat_map(of_round) {
            board.put(notice);
            assert!(board.kept.len() <= 4);
        }
        let now = Instant::now();
        for notice in of_round(999) {
            assert_eq!(board.take(now), Next::Notice(notice));
        }
        assert_eq!(board.take(now), Next::Later(None));
    }

    #[test]
    fn the_last_word_on_a_connection_is_how_it_is() {
        let (mut board, now) = (Board::default(), Instant::now());
        for notice in [lost(), RESUMED] {
            board.put(notice.clone());
            assert_eq!(board.take(now), Next::Notice(notice), "the first of a kind comes at once");
        }
        // Another loss has to wait, and its end behind it.
        board.put(lost());
        board.put(RESUMED);
        assert_eq!(board.take(now), Next::Later(Some(now + PAUSE)));
        assert_eq!(board.take(now + PAUSE), Next::Notice(lost()));
        assert_eq!(board.take(now + PAUSE), Next::Notice(RESUMED));
        assert_eq!(board.take(now + PAUSE), Next::Later(None));
    }

    #[test]
    fn with_the_command_end_the_notices() {
        let (writer, reader) = pair();
        writer.put(Notice::Queued(2));
        let now = Instant::now();
        let take = || reader.0.board(|board| board.take(now));
        assert_eq!(take(), Next::Notice(Notice::Queued(2)));
        writer.put(Notice::Queued(1));
        assert_eq!(take(), Next::Later(Some(now + PAUSE)));
        drop(writer);
        assert_eq!(take(), Next::End);
    }
}
