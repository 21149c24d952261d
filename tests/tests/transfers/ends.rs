//! The client's end of a transfer: the engine, over the streams of a command of the library.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rcmd_client::{Client, Command, Config, Report, Stdio, TransferVerb};
use rcmd_tests::World;
use rcmd_transfer::{
    Destination, FileAction, FileEvent, Observer, Summary, Transfer, TransferError,
    TransferOptions, TransferSource,
};
use tokio::io::AsyncReadExt as _;
use tokio::runtime::Runtime;

/// How a transfer ended, for both ends.
pub(crate) struct Ended {
    /// What the engine at this end says.
    pub(crate) summary: Result<Summary, TransferError>,
    /// What became of each file here, but for those that were there as they are.
    pub(crate) lines: Vec<String>,
    /// How the job on the host ended.
    pub(crate) report: Report,
    /// What it wrote on standard error.
    pub(crate) stderr: String,
}

impl Ended {
    /// The summary of a transfer in which nothing failed.
    #[track_caller]
    pub(crate) fn complete(&self) -> Summary {
        let summary = self.agreed();
        assert!(summary.is_complete(), "{:?}", self.lines);
        assert_eq!(self.report.code, Some(0), "{:?} {}", self.report, self.stderr);
        summary
    }

    /// The summary on which both ends agree.
    #[track_caller]
    pub(crate) fn agreed(&self) -> Summary {
        match &self.summary {
            Ok(summary) => *summary,
            Err(error) => panic!("{error}: {:?} {:?} {}", self.report, self.lines, self.stderr),
        }
    }

    /// Why nothing was started.
    #[track_caller]
    pub(crate) fn refusal(&self) -> String {
        assert_eq!(self.report.outcome, rcmd_client::Outcome::NotStarted, "{:?}", self.report);
        assert!(self.summary.is_err());
        self.report.error.as_ref().unwrap().kind.to_string()
    }
}

/// A client that transfers.
pub(crate) struct Peer {
    client: Client,
    pub(crate) runtime: Runtime,
    user: Option<String>,
    lock: Option<String>,
    options: TransferOptions,
}

impl Peer {
    pub(crate) fn of(world: &World) -> Self {
        Self::through(world, &world.target())
    }

    /// A client that reaches the server in another way.
    pub(crate) fn through(world: &World, target: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let config = Config::from_dir(world.client_dir()).unwrap();
        let target = target.parse().unwrap();
        let client = runtime.block_on(Client::connect(&config, &target)).unwrap();
        Self { runtime, client, user: None, lock: None, options: tree_options() }
    }

    pub(crate) fn for_user(mut self, name: &str) -> Self {
        self.user = Some(name.to_owned());
        self
    }

    /// This client, with other options.
    pub(crate) fn with(mut self, options: TransferOptions) -> Self {
        self.options = options;
        self
    }

    /// Takes a lock for each transfer.
    pub(crate) fn under(mut self, lock: &str) -> Self {
        self.lock = Some(lock.to_owned());
        self
    }

    pub(crate) fn command(&self, verb: TransferVerb, paths: &[&Path]) -> Command {
        let mut command = self.client.transfer(verb, paths);
        self.user.iter().for_each(|user| _ = command.user(user));
        self.lock.iter().for_each(|lock| _ = command.lock(lock, Duration::ZERO));
        command.stdin(Stdio::Piped);
        command
    }

    /// Sends what stands at a path here to a path there.
    pub(crate) fn push(&self, from: &Path, to: &Path) -> Ended {
        self.begin_push(from, to).wait()
    }

    /// Begins to send what stands at a path here.
    pub(crate) fn begin_push(&self, from: &Path, to: &Path) -> Running<'_> {
        let (sources, options) = (vec![source(from)], self.options.clone());
        let is_delta = options.delta;
        let verb = TransferVerb::Receive { is_itself: false, has_several: false, is_delta };
        self.begin(self.command(verb, &[to]), move |reader, writer, events| {
            Transfer::with_options(options).send(reader, writer, sources, events)
        })
    }

    /// Receives what stands at paths there into a folder here.
    pub(crate) fn fetch(&self, from: &[&Path], into: &Path) -> Ended {
        let verb = TransferVerb::Send { is_literal: false };
        let destination = Destination::inside(File::open(into).unwrap().into()).unwrap();
        let options = self.options.clone();
        let end = move |reader: UnixStream, writer: UnixStream, events: &mut Events| {
            Transfer::with_options(options).receive(reader, writer, destination, events)
        };
        self.begin(self.command(verb, from), end).wait()
    }

    /// Begins to receive what stands at paths there into a folder here, which says nothing before it
    /// is told to.
    pub(crate) fn begin_fetch_when(
        &self,
        from: &[&Path],
        into: &Path,
        told: mpsc::Receiver<()>,
    ) -> Running<'_> {
        let verb = TransferVerb::Send { is_literal: false };
        let destination = Destination::inside(File::open(into).unwrap().into()).unwrap();
        let options = self.options.clone();
        self.begin(self.command(verb, from), move |reader, writer, events| {
            told.recv().unwrap();
            Transfer::with_options(options).receive(reader, writer, destination, events)
        })
    }

    /// Begins a command, with this function as the end here.
    pub(crate) fn begin(
        &self,
        mut command: Command,
        end: impl FnOnce(UnixStream, UnixStream, &mut Events) -> Result<Summary, TransferError>
        + Send
        + 'static,
    ) -> Running<'_> {
        let mut child = self.runtime.block_on(command.spawn()).unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        far.set_nonblocking(true).unwrap();
        let _entered = self.runtime.enter();
        let far = tokio::net::UnixStream::from_std(far).unwrap();
        let (mut from_engine, mut to_engine) = far.into_split();
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        // What goes wrong with the streams, both ends say.
        self.runtime.spawn(async move {
            let _ = tokio::io::copy(&mut from_engine, &mut stdin).await;
            stdin.finish().await;
        });
        self.runtime.spawn(async move {
            let _ = tokio::io::copy(&mut stdout, &mut to_engine).await;
        });
        let said = self.runtime.spawn(async move {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text).await;
            text
        });
        let engine = thread::spawn(move || {
            let mut events = Events::default();
            let reader = near.try_clone().unwrap();
            (end(reader, near, &mut events), events.lines)
        });
        Running { peer: self, child, said, engine }
    }
}

/// A transfer that has begun.
pub(crate) struct Running<'a> {
    peer: &'a Peer,
    pub(crate) child: rcmd_client::Child,
    said: tokio::task::JoinHandle<String>,
    engine: thread::JoinHandle<(Result<Summary, TransferError>, Vec<String>)>,
}

impl Running<'_> {
    /// Waits for the end of both ends.
    pub(crate) fn wait(mut self) -> Ended {
        let report = self.peer.runtime.block_on(self.child.wait());
        let stderr = self.peer.runtime.block_on(self.said).unwrap();
        let (summary, lines) = self.engine.join().unwrap();
        Ended { summary, lines, report, stderr }
    }
}

/// Keeps what it is told.
#[derive(Default)]
pub(crate) struct Events {
    lines: Vec<String>,
}

impl Observer for Events {
    fn file(&mut self, event: &FileEvent<'_>) {
        let path = String::from_utf8_lossy(event.path);
        let why = event.failure.map_or(String::new(), |failure| format!(" {}", failure.kind));
        if event.action != FileAction::Unchanged || event.failure.is_some() {
            self.lines.push(format!("{:?} {path}{why}", event.action));
        }
    }
}

/// Options for a whole tree.
pub(crate) fn tree_options() -> TransferOptions {
    TransferOptions { recursive: true, preserve: true, ..TransferOptions::default() }
}

fn source(path: &Path) -> TransferSource {
    let folder = File::open(path.parent().unwrap()).unwrap();
    TransferSource::entry(Arc::new(folder.into()), path.file_name().unwrap().as_bytes()).unwrap()
}

/// Makes a tree: a large file, small ones with odd names, links, an empty folder, one that may not be
/// written.
pub(crate) fn make_tree(folder: &Path) {
    fs::create_dir(folder).unwrap();
    let path = |name: &[u8]| folder.join(std::ffi::OsStr::from_bytes(name));
    fs::create_dir(path(b"sub")).unwrap();
    fs::create_dir(path(b"empty")).unwrap();
    let large: Vec<u8> = (0..3_000_000_u32).map(|number| (number / 7).to_le_bytes()[0]).collect();
    fs::write(path(b"large"), large).unwrap();
    for name in [&b"sub/a b"[..], b"sub/\xff", b"-rf", b"new\nline", b".hidden"] {
        fs::write(path(name), name).unwrap();
    }
    fs::set_permissions(path(b"-rf"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::hard_link(path(b"-rf"), path(b"hard")).unwrap();
    symlink("sub/a b", path(b"link")).unwrap();
    symlink("/nowhere", path(b"sub/dangling")).unwrap();
    fs::set_permissions(path(b"sub"), fs::Permissions::from_mode(0o555)).unwrap();
}

/// What a tree consists of, one line for each entry: its path, kind, mode, time and content.
pub(crate) fn described(folder: &Path) -> Vec<String> {
    let (mut lines, mut waiting) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(path) = waiting.pop() {
        let facts = fs::symlink_metadata(&path).unwrap();
        let content = if facts.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            "folder".to_owned()
        } else if facts.is_symlink() {
            format!("{:?}", fs::read_link(&path).unwrap())
        } else {
            format!("{} {}", facts.nlink(), blake3::hash(&fs::read(&path).unwrap()))
        };
        let (mode, time) = (facts.mode(), (facts.mtime(), facts.mtime_nsec()));
        let place = path.strip_prefix(folder).unwrap();
        lines.push(format!("{place:?} {mode:o} {time:?} {content}"));
    }
    lines.sort();
    lines
}
