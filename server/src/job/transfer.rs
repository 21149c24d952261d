//! What a job does for the process of a transfer: it gives the order, answers whether folders may be
//! entered and files read, by the rules of the moment, and keeps the account for the audit.

use std::{
    ffi::OsString,
    os::unix::ffi::OsStringExt as _,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc, Once,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rcmd_transfer::Confinement;
use tokio::{net::UnixStream, time::timeout};

use super::spec::JudgeFolder;
use crate::{
    admission::judging::JudgingShare,
    audit::TransferNote,
    policy::Access,
    transfer::message::{self, Told, Totals},
};

/// The time that a process which has ended has for what it said to be read.
const ENDING: Duration = Duration::from_secs(1);

/// The server's side of the conversation with the process of a transfer.
pub(super) struct Attending {
    talk: Option<Pin<Box<dyn Future<Output = Option<Totals>> + Send>>>,
    note: TransferNote,
    totals: Option<Totals>,
    denied: Arc<AtomicU64>,
}

impl Attending {
    /// Begins the conversation. Whether a folder may be entered is judged as each of `roots` was, and
    /// without any none may be. Whether a file may be read is judged as reading by the same account: a
    /// process that receives asks that before it tells the peer what is in a file that it writes over or
    /// replaces. It is judged when it is the turn of one of the identity's transfers.
    pub(super) fn new(
        socket: UnixStream,
        order: Arc<[u8]>,
        roots: Vec<Access>,
        judge: JudgeFolder,
        share: JudgingShare,
        note: TransferNote,
    ) -> Self {
        let denied = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&denied);
        let judge = move |path: Vec<u8>, read: Option<u64>| {
            let path = PathBuf::from(OsString::from_vec(path));
            let judged =
                |access: Option<Access>| access.is_some_and(|access| judge(&access).is_ok());
            let may = match read {
                Some(size) => judged(roots.first().and_then(|root| root.reading(path, size))),
                None => {
                    !roots.is_empty() && roots.iter().all(|root| judged(root.on(path.clone(), 0)))
                }
            };
            // A process that receives does all that it was asked to without being told.
            let counts = read.is_none() || matches!(roots.as_slice(), [Access::Read(_)]);
            counted.fetch_add(u64::from(!may && counts), Ordering::Relaxed);
            may
        };
        Self { talk: Some(Box::pin(talk(socket, order, judge, share))), note, totals: None, denied }
    }

    /// Goes on with the conversation; never returns once that is over.
    ///
    /// # Cancel safety
    /// Cancel safe: the conversation goes on with the next call.
    pub(super) async fn step(&mut self) {
        match &mut self.talk {
            Some(talk) => {
                self.totals = talk.await;
                self.talk = None;
            }
            None => std::future::pending().await,
        }
    }

    /// Ends the conversation with a process that has ended, and returns what is recorded of the
    /// transfer.
    pub(super) async fn end(mut self) -> TransferNote {
        if self.talk.is_some() {
            let _ = timeout(ENDING, self.step()).await;
        }
        self.note.ended(self.denied.load(Ordering::Relaxed), self.totals)
    }
}

/// Talks with a process until it ends, or says what it may not. Returns the last account that it
/// gave.
async fn talk(
    mut socket: UnixStream,
    order: Arc<[u8]>,
    judge: impl Fn(Vec<u8>, Option<u64>) -> bool,
    share: JudgingShare,
) -> Option<Totals> {
    message::write_order(&mut socket, &order).await.ok()?;
    drop(order);
    let mut totals = None;
    // What ends the conversation has the next folder denied: the process gets no answer.
    while let Ok(Some(told)) = message::read(&mut socket).await {
        let turn = share.turn().await;
        let may = match told {
            Told::Enter(path) => Some(judge(path, None)),
            Told::Read(path, size) => Some(judge(path, Some(size))),
            Told::Confined(confinement) => {
                note(confinement);
                None
            }
            Told::Totals(account) => {
                totals = Some(account);
                None
            }
        };
        drop(turn);
        if let Some(may) = may
            && message::answer(&mut socket, may).await.is_err()
        {
            break;
        }
    }
    totals
}

/// Logs, once in the server's life, that the kernel confines the processes of transfers in part or
/// not at all. It is the word of one of them.
fn note(confinement: Confinement) {
    static NOTED: Once = Once::new();
    let how = match confinement {
        Confinement::Full => return,
        Confinement::Partial => "confines the processes of transfers in part: its Landlock is old",
        Confinement::NoNewPrivileges => "does not confine the processes of transfers: no Landlock",
    };
    NOTED.call_once(|| tracing::warn!("the kernel {how}"));
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, os::unix::net::UnixStream as StdUnixStream, thread};

    use tokio::{task::JoinSet, time::Instant};

    use super::*;
    use crate::{
        policy::{Denial, DenialKind, access::FileFacts},
        process::Uid,
    };

    fn attending(judge: JudgeFolder) -> (Attending, StdUnixStream) {
        attending_in(judge, JudgingShare::new())
    }

    fn attending_in(judge: JudgeFolder, share: JudgingShare) -> (Attending, StdUnixStream) {
        attending_as(&[Access::Write], judge, share)
    }

    fn attending_as(
        actions: &[fn(FileFacts) -> Access],
        judge: JudgeFolder,
        share: JudgingShare,
    ) -> (Attending, StdUnixStream) {
        let (ours, theirs) = StdUnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let (path, account) = ("/srv".into(), "app".into());
        let facts = FileFacts { path, account, uid: Uid::ROOT, size: 7, lock: None };
        let roots = actions.iter().map(|action| action(facts.clone())).collect();
        let socket = UnixStream::from_std(ours).unwrap();
        let note = TransferNote::default();
        (Attending::new(socket, (*b"order").into(), roots, judge, share, note), theirs)
    }

    fn denial() -> Denial {
        let (rules, text) = (Vec::new(), String::new());
        Denial { kind: DenialKind::NoRule, rules, reason: text.clone(), hint: text }
    }

    /// Asks as a process does whether folders may be entered, and returns the answers.
    fn ask(socket: &mut StdUnixStream, paths: &[&str]) -> Vec<bool> {
        let contents: Vec<_> = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
        ask_as(socket, 1, &contents)
    }

    /// Asks questions of a kind, and returns the answers.
    fn ask_as(socket: &mut StdUnixStream, kind: u8, contents: &[Vec<u8>]) -> Vec<bool> {
        use std::io::Read as _;
        let mut order = [0; 9];
        socket.read_exact(&mut order).unwrap();
        let answers = contents.iter().map(|content| {
            let length = u32::try_from(content.len()).unwrap().to_le_bytes();
            socket.write_all(&[&[kind][..], &length, content].concat()).unwrap();
            let mut answer = [9];
            socket.read_exact(&mut answer).unwrap();
            answer == [1]
        });
        answers.collect()
    }

    #[tokio::test]
    async fn each_folder_is_judged_by_its_path_with_the_action_and_account_of_the_root() {
        let judge = |access: &Access| {
            let file = access.file().unwrap();
            assert!(matches!(access, Access::Write(_)) && file.account == "app");
            assert_eq!(file.size, 0);
            if file.path.ends_with("no") { Err(denial()) } else { Ok(()) }
        };
        let (mut attending, mut theirs) = attending(Box::new(judge));
        let process = thread::spawn(move || ask(&mut theirs, &["/srv/a", "/srv/no", "/srv/b"]));
        attending.step().await;
        assert_eq!(process.join().unwrap(), [true, false, true]);
        assert_eq!(attending.end().await, TransferNote::default().ended(1, None));
    }

    #[tokio::test]
    async fn where_two_actions_are_asked_for_both_are_judged_for_each_folder() {
        let judge = |access: &Access| {
            let path = &access.file().unwrap().path;
            let is_denied = match access {
                Access::Read(_) => path.ends_with("unread"),
                _ => path.ends_with("unwritten"),
            };
            if is_denied { Err(denial()) } else { Ok(()) }
        };
        let actions: [fn(FileFacts) -> Access; 2] = [Access::Write, Access::Read];
        let (mut attending, mut theirs) =
            attending_as(&actions, Box::new(judge), JudgingShare::new());
        let paths = ["/srv/a", "/srv/unread", "/srv/unwritten"];
        let process = thread::spawn(move || ask(&mut theirs, &paths));
        attending.step().await;
        assert_eq!(process.join().unwrap(), [true, false, false]);
        assert_eq!(attending.end().await, TransferNote::default().ended(2, None));
    }

    #[tokio::test]
    async fn a_transfer_that_nothing_was_permitted_to_may_enter_nothing() {
        let (mut attending, mut theirs) =
            attending_as(&[], Box::new(|_: &Access| Ok(())), JudgingShare::new());
        let process = thread::spawn(move || ask(&mut theirs, &["/srv/a"]));
        attending.step().await;
        assert_eq!(process.join().unwrap(), [false]);
    }

    #[tokio::test]
    async fn a_file_that_is_read_is_judged_with_the_size_that_it_has_when_it_is_open() {
        let judge = |access: &Access| {
            assert!(matches!(access, Access::Read(_)), "what writes is no leave to read");
            let file = access.file().unwrap();
            assert_eq!(file.path, std::path::Path::new("/srv/f"));
            if file.size > 7 { Err(denial()) } else { Ok(()) }
        };
        let (mut attending, mut theirs) = attending(Box::new(judge));
        let question = |size: u64| [&size.to_le_bytes()[..], b"/srv/f"].concat();
        let process = thread::spawn(move || ask_as(&mut theirs, 3, &[question(7), question(8)]));
        attending.step().await;
        assert_eq!(process.join().unwrap(), [true, false]);
        // It writes, so that this was no folder or file that it was asked for.
        assert_eq!(attending.end().await, TransferNote::default().ended(0, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_asks_without_end_has_its_pace() {
        let before = Instant::now();
        attend_to(1, 4_000).await;
        assert!(before.elapsed() >= Duration::from_millis(290), "{:?}", before.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn the_transfers_of_an_identity_together_have_the_pace_of_one() {
        let before = Instant::now();
        attend_to(32, 125).await;
        assert!(before.elapsed() >= Duration::from_millis(290), "{:?}", before.elapsed());
    }

    /// Answers so many transfers of one identity, each of which asks so many questions in a row.
    async fn attend_to(transfers: usize, questions: usize) {
        let share = JudgingShare::new();
        let mut attended = JoinSet::new();
        for _ in 0..transfers {
            let (mut attending, mut theirs) =
                attending_in(Box::new(|_: &Access| Ok(())), share.clone());
            let process = thread::spawn(move || ask(&mut theirs, &vec!["/srv/a"; questions]).len());
            attended.spawn(async move {
                attending.step().await;
                process.join().unwrap()
            });
        }
        assert_eq!(attended.join_all().await, vec![questions; transfers]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_says_nothing_keeps_the_job_for_a_second_at_most() {
        let (attending, theirs) = attending(Box::new(|_: &Access| Ok(())));
        let before = Instant::now();
        // The clock of timers goes in steps of a millisecond.
        let ended = timeout(ENDING + Duration::from_millis(1), attending.end()).await;
        assert_eq!(ended.unwrap(), TransferNote::default());
        assert!(before.elapsed() >= ENDING);
        drop(theirs);
    }
}
