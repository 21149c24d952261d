//! Both ends of a transfer, on a pair of sockets.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::{ffi::OsStrExt as _, net::UnixStream},
    path::Path,
    sync::Arc,
    thread,
};

use rcmd_transfer::{
    Destination, FileAction, FileEvent, Observer, Progress, Summary, Transfer, TransferError,
    TransferOptions, TransferSource,
};

/// Keeps what it is told.
#[derive(Default)]
pub(crate) struct Events {
    pub(crate) lines: Vec<String>,
    pub(crate) crossed: u64,
    pub(crate) passed: u64,
}

impl Observer for Events {
    fn file(&mut self, event: &FileEvent<'_>) {
        let path = String::from_utf8_lossy(event.path);
        let why = event.failure.map_or(String::new(), |failure| format!(" {}", failure.kind));
        if event.action != FileAction::Unchanged || event.failure.is_some() {
            self.lines.push(format!("{:?} {path}{why}", event.action));
        }
    }

    fn progress(&mut self, progress: &Progress) {
        (self.crossed, self.passed) = (progress.crossed, progress.passed);
    }
}

/// How both ends ended, and what they were told.
pub(crate) struct Ended {
    pub(crate) sender: Result<Summary, TransferError>,
    pub(crate) receiver: Result<Summary, TransferError>,
    pub(crate) sent: Events,
    pub(crate) received: Events,
}

impl Ended {
    /// Returns the summary on which both ends agree.
    #[track_caller]
    pub(crate) fn summary(&self) -> Summary {
        let (sender, receiver) = (self.sender.as_ref().unwrap(), self.receiver.as_ref().unwrap());
        assert_eq!(sender, receiver);
        *sender
    }
}

/// Returns how many rounds a long test has: `RCMD_TRANSFER_ROUNDS`, or a short run's.
pub(crate) fn rounds(short: u64) -> u64 {
    let set = std::env::var("RCMD_TRANSFER_ROUNDS");
    set.map_or(short, |rounds| rounds.parse().expect("RCMD_TRANSFER_ROUNDS is a number"))
}

/// Returns options for a whole tree.
pub(crate) fn tree_options() -> TransferOptions {
    TransferOptions { recursive: true, preserve: true, ..TransferOptions::default() }
}

/// Returns an entry of a folder as a source.
pub(crate) fn source(path: &Path) -> TransferSource {
    let folder = File::open(path.parent().unwrap()).unwrap();
    TransferSource::entry(Arc::new(folder.into()), path.file_name().unwrap().as_bytes()).unwrap()
}

/// Returns the place that has this name.
pub(crate) fn named(path: &Path) -> Destination {
    let folder = File::open(path.parent().unwrap()).unwrap();
    Destination::named(folder.into(), path.file_name().unwrap().as_bytes()).unwrap()
}

pub(crate) fn inside(path: &Path) -> Destination {
    Destination::inside(File::open(path).unwrap().into()).unwrap()
}

/// Transfers with these options, which the sender chooses.
pub(crate) fn transfer(
    options: &TransferOptions,
    sources: Vec<TransferSource>,
    destination: Destination,
) -> Ended {
    let sender = Transfer::with_options(options.clone());
    run(sender, Transfer::with_peers_options(), sources, destination, |stream| stream)
}

/// Runs both ends. What the sender writes goes through what a function makes of its stream.
pub(crate) fn run<W: Write>(
    sender: Transfer,
    receiver: Transfer,
    sources: Vec<TransferSource>,
    destination: Destination,
    writer: impl FnOnce(UnixStream) -> W + Send,
) -> Ended {
    let (near, far) = UnixStream::pair().unwrap();
    thread::scope(|scope| {
        let sending = scope.spawn(move || {
            let mut events = Events::default();
            let reader = near.try_clone().unwrap();
            let to_close = near.try_clone().unwrap();
            let ended = sender.send(reader, writer(near), sources, &mut events);
            // The thread that reads answers has the stream still.
            let _ = to_close.shutdown(std::net::Shutdown::Both);
            (ended, events)
        });
        let mut received = Events::default();
        let reader = far.try_clone().unwrap();
        let receiver = receiver.receive(reader, far, destination, &mut received);
        let (sender, sent) = sending.join().unwrap();
        Ended { sender, receiver, sent, received }
    })
}

/// Lets no more than so many bytes pass.
pub(crate) struct Cut<W> {
    pub(crate) inner: W,
    pub(crate) left: usize,
}

impl<W: Write> Write for Cut<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.left);
        if count == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let written = self.inner.write(bytes.get(..count).unwrap_or_default())?;
        self.left -= written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A receiver that says a hello, and something whenever it has heard a message of a kind. It ends when it has said all
/// and a content has come.
pub(crate) fn scripted_receiver(
    stream: UnixStream,
    hello: Vec<u8>,
    script: Vec<(u8, Vec<u8>)>,
) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut stream = stream;
        let mut heard = Vec::new();
        stream.write_all(&hello).unwrap();
        let mut hear_until = |stream: &mut UnixStream, kind| {
            let mut room = [0; 64 * 1_024];
            while !kinds(&heard).contains(&kind) {
                match stream.read(&mut room) {
                    Ok(count) if count > 0 => heard.extend_from_slice(&room[..count]),
                    _ => break,
                }
            }
        };
        for (kind, said) in script {
            hear_until(&mut stream, kind);
            // The sender may be gone before it has heard all.
            let _ = stream.write_all(&said);
        }
        hear_until(&mut stream, 12);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut heard);
        heard
    })
}

/// Returns the kinds of the messages that are there as a whole.
fn kinds(mut bytes: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(rest) = rest.get(length - 1..) else {
            break;
        };
        kinds.push(head[4]);
        bytes = rest;
    }
    kinds
}

/// A sender that says what it was told to, and then reads until the other end is done.
pub(crate) fn scripted(stream: UnixStream, script: Vec<u8>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut writing = stream.try_clone().unwrap();
        let writer = thread::spawn(move || {
            // The other end may be gone before it has heard all.
            let _ = writing.write_all(&script);
            let _ = writing.shutdown(std::net::Shutdown::Write);
        });
        let mut heard = Vec::new();
        let mut stream = stream;
        let _ = stream.read_to_end(&mut heard);
        writer.join().unwrap();
        heard
    })
}
