//! Commands to be run on a host, built in the manner of `std::process::Command`.

use std::{
    ffi::OsStr, fmt, os::unix::ffi::OsStrExt as _, path::Path, sync::OnceLock, time::Duration,
};

use rcmd_certs::clock::LONGEST_SPAN;
use rcmd_protocol::{
    digest::Algorithm,
    frame::{Lock, Mode, StartBody},
    ids::{Key, RequestDigest},
    outcome::{ErrorKind, WireError},
    request::{Request, RequestBuilder},
};
use tokio::{io::AsyncReadExt as _, time::timeout};

use crate::{
    child::{self, Child},
    error::Error,
    link::{
        order::{Handle, Purpose},
        start::StartSource,
    },
    report::Report,
    stream::ChildStdout,
};

/// The source of the standard input of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Stdio {
    /// No source: standard input is empty.
    #[default]
    Null,
    /// The bytes that the caller writes to [`Child::stdin`].
    Piped,
}

/// A command that ended, with all that it wrote.
#[derive(Clone, PartialEq, Debug)]
pub struct Output {
    /// The way in which the command ended.
    pub report: Report,
    /// The bytes of standard output, as far as they arrived.
    pub stdout: Vec<u8>,
    /// The bytes of standard error, as far as they arrived.
    pub stderr: Vec<u8>,
}

/// A command to be run on the host of a [`Client`](crate::Client).
pub struct Command {
    link: Handle,
    request: RequestBuilder,
    /// The request as it is sent, until it changes. It is kept because [`Command::start_id`] may
    /// need its digest before it is sent.
    body: OnceLock<StartBody>,
    key: Option<Vec<u8>>,
    grace: Option<Duration>,
    timestamps: bool,
    busy_wait: Duration,
    credit: Option<u64>,
    /// The start to take up again; none for a command that is to be started.
    begun: Option<StartId>,
}

/// A name for a start under a key that its caller chose. By this name, the start can be taken up later,
/// also by another process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StartId {
    /// The key that names the start for this identity on the host.
    pub key: Key,
    /// The digest of the request. A host refuses a key that stands for another request.
    pub digest: RequestDigest,
}

/// The time for which a command is sent again while its host is busy, unless its caller sets another.
pub(crate) const BUSY_WAIT: Duration = Duration::from_secs(10);
/// The time for the answer to a dry run, beyond [`Command::busy_wait`].
const ANSWER: Duration = Duration::from_secs(30);

impl Command {
    pub(crate) fn new(link: Handle, mode: Mode, first: &OsStr) -> Self {
        Self::of(link, Request::builder(mode, [first.as_bytes()]))
    }

    /// Returns the command that this request is.
    pub(crate) fn of(link: Handle, request: RequestBuilder) -> Self {
        Self {
            link,
            request,
            body: OnceLock::new(),
            key: None,
            grace: None,
            timestamps: false,
            busy_wait: BUSY_WAIT,
            credit: None,
            begun: None,
        }
    }

    /// Returns what takes up a command that was begun before.
    pub(crate) fn attach(link: Handle, start: StartId) -> Self {
        // The host has the request; what stands here is never sent.
        Self { begun: Some(start), ..Self::new(link, Mode::Exec, OsStr::new("true")) }
    }

    fn change(&mut self) -> &mut RequestBuilder {
        self.body.take();
        &mut self.request
    }

    fn body(&self) -> Result<&StartBody, Error> {
        if let Some(body) = self.body.get() {
            return Ok(body);
        }
        let body = StartBody::new(&self.request.build().map_err(Error::Request)?);
        Ok(self.body.get_or_init(|| body))
    }

    /// Adds an argument: any bytes but NUL, passed as they are.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.change().arg(arg.as_ref().as_bytes());
        self
    }

    /// Adds several arguments.
    pub fn args(&mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        for arg in args {
            self.arg(arg);
        }
        self
    }

    /// Adds a setting to the environment that the host gives the command.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        let setting = [name.as_ref().as_bytes(), b"=", value.as_ref().as_bytes()].concat();
        self.change().env(setting);
        self
    }

    /// Sets the working folder on the host, instead of the user's home.
    pub fn current_dir(&mut self, dir: impl AsRef<Path>) -> &mut Self {
        self.change().cwd(dir.as_ref().as_os_str().as_bytes());
        self
    }

    /// Names the user it runs as on the host, instead of the server's own user.
    pub fn user(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.change().user(name.as_ref().as_bytes());
        self
    }

    /// Lets the host end the command this long after its start, to the millisecond. A host that has
    /// not done so 30 s later is told to kill it, and 5 s after that the outcome is unknown.
    pub fn timeout(&mut self, limit: Duration) -> &mut Self {
        // A limit below 1 ms is not the same as none, which 0 stands for.
        self.change().timeout_ms(milliseconds(limit).max(1));
        self
    }

    /// Lets the command run only while it alone holds the lock of this name on the host, over all
    /// identities; it waits for so long for its turn, in the order of arrival. The lock is given
    /// back however the command ends. A name is 1 to 128 printable characters of ASCII without
    /// blanks.
    ///
    /// When it is held for longer than that, the command did not start: kind `busy`.
    pub fn lock(&mut self, name: impl Into<String>, wait: Duration) -> &mut Self {
        self.change().lock(Lock { name: name.into(), wait_ms: milliseconds(wait) });
        self
    }

    /// Names this start: from this identity on this host, the same text with the same request never
    /// starts it twice, for 7 days. A text that is empty is refused when the command is sent: it is
    /// a variable that nobody set, and would make all such starts one.
    pub fn key(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.key = Some(text.as_ref().to_owned());
        self
    }

    /// Sets where standard input comes from.
    pub fn stdin(&mut self, from: Stdio) -> &mut Self {
        self.change().stdin(from == Stdio::Piped);
        self
    }

    /// Lets the host note when it read each piece of output, see
    /// [`Chunk::time`](crate::Chunk::time).
    pub fn timestamps(&mut self, wanted: bool) -> &mut Self {
        self.timestamps = wanted;
        self
    }

    /// Limits how long the command may outlive a broken connection, if less than the host's own
    /// limit.
    pub fn grace(&mut self, limit: Duration) -> &mut Self {
        self.grace = Some(limit);
        self
    }

    /// Limits how long to try again, when the host says so, while it is busy: 10 s without this
    /// call, zero for not at all, ten years at most. Nothing has run by then, so that nothing can run twice.
    pub fn busy_wait(&mut self, limit: Duration) -> &mut Self {
        self.busy_wait = limit.min(LONGEST_SPAN);
        self
    }

    /// Limits how many bytes the host may be ahead of the reader of each output stream; 1 MiB without
    /// this call, which is also the most.
    pub fn credit(&mut self, bytes: u64) -> &mut Self {
        self.credit = Some(bytes);
        self
    }

    /// Returns what [`Client::attach`](crate::Client::attach) takes the command up by, once it has been
    /// sent.
    ///
    /// # Errors
    /// The failures of [`Command::spawn`]; kind `usage` without a key, which alone outlives this
    /// process.
    pub fn start_id(&self) -> Result<StartId, Error> {
        if let Some(begun) = self.begun {
            return Ok(begun);
        }
        let Some(key) = self.key.as_deref().filter(|key| !key.is_empty()) else {
            let no_key = WireError::new(ErrorKind::Usage, "a start without a key has no name");
            return Err(Error::Request(no_key));
        };
        Ok(StartId { key: Key::from_text(key), digest: self.body()?.digest() })
    }

    /// Sends the command off, without waiting for its start.
    ///
    /// # Errors
    /// Kind `usage` or `too_big` when the request can't be sent, `resources` when the kernel gives
    /// no randomness. Nothing has been sent then.
    pub async fn spawn(&mut self) -> Result<Child, Error> {
        let start = self.start()?;
        let purpose = if self.begun.is_some() { Purpose::Attach } else { Purpose::Run };
        Ok(child::start(&self.link, start, purpose, self.busy_wait))
    }

    /// Asks the host whether it would permit the command, and runs nothing. Returns what the host
    /// would run, as whom, and by which rule, for people. The host judges all that
    /// [`Command::spawn`] would send, its lock too, and promises nothing: a start is judged anew.
    ///
    /// # Errors
    /// What the start would have failed with; kind `protocol` when the host is too old to be asked,
    /// `unreachable` when it does not answer in time.
    ///
    /// # Cancel safety
    /// Nothing is left of it when it is dropped.
    pub async fn dry_run(&mut self) -> Result<String, Error> {
        let start = self.start()?;
        let mut child = child::start(&self.link, start, Purpose::DryRun, self.busy_wait);
        let limit = ANSWER.saturating_add(self.busy_wait);
        let answer = timeout(limit, child.permitted()).await.unwrap_or_else(|_| {
            let host = self.link.host();
            let message = format!("{host} did not answer in time");
            let hint = format!("Try `rcmd-client doctor {host}`; nothing was asked to run.");
            Err(WireError::new(ErrorKind::Unreachable, message).hint(hint))
        });
        answer.map_err(Error::Answer)
    }

    /// Builds the start that this command is.
    fn start(&self) -> Result<StartSource, Error> {
        let body = self.body()?.clone();
        let key = match self.key.as_deref() {
            Some([]) => {
                let empty = WireError::new(ErrorKind::Usage, "the key of the start is empty")
                    .hint("Name the start by a key of its own, or leave the key out.");
                return Err(Error::Request(empty));
            }
            Some(key) => Key::from_text(key),
            None => Key::random().map_err(Error::Randomness)?,
        };
        let body = body
            .with_grace_ms(self.grace.map(milliseconds))
            .with_digests(Algorithm::ALL.map(|algorithm| algorithm.as_str().to_owned()).into())
            .with_keep(self.key.is_some() || self.begun.is_some())
            .with_timestamps(self.timestamps)
            .with_credit(self.credit);
        Ok(match self.begun {
            Some(StartId { key, digest }) => StartSource::sent_before(key, digest, body),
            None => StartSource::new(key, body),
        })
    }

    /// Runs the command to its end and returns all that it wrote, held in memory.
    ///
    /// # Errors
    /// The failures of [`Command::spawn`].
    pub async fn output(&mut self) -> Result<Output, Error> {
        let mut child = self.stdin(Stdio::Null).spawn().await?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (stdout, stderr, report) =
            tokio::join!(collected(stdout), collected(stderr), child.wait());
        Ok(Output { report, stdout, stderr })
    }

    /// Runs the command to its end and throws away what it writes.
    ///
    /// # Errors
    /// The failures of [`Command::spawn`].
    pub async fn status(&mut self) -> Result<Report, Error> {
        let mut child = self.stdin(Stdio::Null).spawn().await?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let ((), (), report) = tokio::join!(discarded(stdout), discarded(stderr), child.wait());
        Ok(report)
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command").field("request", &self.request).finish_non_exhaustive()
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).min(rcmd_protocol::limits::INTEGER)
}

async fn collected(stream: Option<ChildStdout>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        // It never fails: a stream that was cut short just ends, and the report says so.
        let _ = stream.read_to_end(&mut bytes).await;
    }
    bytes
}

async fn discarded(stream: Option<ChildStdout>) {
    if let Some(mut stream) = stream {
        while stream.chunk().await.is_some() {}
    }
}
