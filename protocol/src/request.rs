//! Requests: what clients ask to be run, parsed and checked once.

mod bounds;
mod transfer;

use bytes::{BufMut as _, Bytes, BytesMut};
use sha2::{Digest as _, Sha256};

use crate::{
    error::ProtocolError,
    ids::{RequestDigest, names},
    limits,
    outcome::{ErrorKind, WireError},
};
pub(crate) use bounds::within;
pub use transfer::{TransferRequest, TransferVerb};

names! {
    /// The way in which a request's arguments are read.
    pub enum Mode {
        /// A program and its arguments, passed on exactly.
        Exec = "exec",
        /// One line for the user's shell.
        Shell = "shell",
        /// A verb, options and paths of a transfer of files.
        Transfer = "transfer",
    }
}

/// A lock: a name that only one command on a host holds at a time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lock {
    /// The name: 1 to 128 printable characters of ASCII without blanks.
    pub name: String,
    /// The milliseconds for which to wait while another command holds the lock.
    pub wait_ms: u64,
}

/// A command as a client asks for it, within all limits. Its strings hold any bytes but NUL.
///
/// ```
/// use rcmd_protocol::request::Request;
///
/// let request = Request::exec(["sort", "-u"]).env("LC_ALL=C").stdin(true).build()?;
/// assert_eq!(request.args(), [&b"sort"[..], b"-u"]);
/// # Ok::<_, rcmd_protocol::outcome::WireError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    mode: Mode,
    args: Vec<Vec<u8>>,
    env: Vec<Vec<u8>>,
    cwd: Option<Vec<u8>>,
    user: Option<Vec<u8>>,
    stdin: bool,
    timeout_ms: u64,
    lock: Option<Lock>,
}

/// A builder of a request, which [`RequestBuilder::build`] checks.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub struct RequestBuilder {
    draft: Request,
}

/// The reason why a start holds no request that can be run.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RequestError {
    /// The peer broke the protocol.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The request is well-formed, but can't be met.
    #[error(transparent)]
    Refused(#[from] WireError),
}

impl Request {
    /// Begins a request for a program and its arguments; the first string is the program.
    pub fn exec<A: Into<Vec<u8>>>(args: impl IntoIterator<Item = A>) -> RequestBuilder {
        Self::builder(Mode::Exec, args)
    }

    /// Begins a request for a line for the user's shell.
    pub fn shell(line: impl Into<Vec<u8>>) -> RequestBuilder {
        Self::builder(Mode::Shell, [line])
    }

    /// Begins a request to transfer files; the paths are those on the server's host.
    pub fn transfer<P: Into<Vec<u8>>>(
        verb: TransferVerb,
        paths: impl IntoIterator<Item = P>,
    ) -> RequestBuilder {
        let paths = paths.into_iter().map(Into::into);
        Self::builder(Mode::Transfer, verb.arguments().into_iter().chain(paths))
    }

    /// Begins a request with these arguments. With [`Mode::Shell`] there must be exactly one, the line.
    pub fn builder<A: Into<Vec<u8>>>(
        mode: Mode,
        args: impl IntoIterator<Item = A>,
    ) -> RequestBuilder {
        let args = args.into_iter().map(Into::into).collect();
        let (env, cwd, user, lock) = (Vec::new(), None, None, None);
        let draft = Self { mode, args, env, cwd, user, stdin: false, timeout_ms: 0, lock };
        RequestBuilder { draft }
    }

    /// Begins another request with all the values of this one.
    pub fn to_builder(&self) -> RequestBuilder {
        RequestBuilder { draft: self.clone() }
    }

    /// Returns the way in which the arguments are read.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Returns the program and its arguments, or the one shell line: always at least one string.
    pub fn args(&self) -> &[Vec<u8>] {
        &self.args
    }

    /// Returns the transfer that is asked for, if the request is for one.
    pub fn as_transfer(&self) -> Option<TransferRequest<'_>> {
        if self.mode != Mode::Transfer {
            return None;
        }
        // A request is checked when it is built, so that its arguments can be read.
        TransferRequest::parse(&self.args).ok()
    }

    /// Returns the settings of the environment, `NAME=VALUE` each.
    pub fn env(&self) -> &[Vec<u8>] {
        &self.env
    }

    /// Returns the working folder, if it is not the user's home.
    pub fn cwd(&self) -> Option<&[u8]> {
        self.cwd.as_deref()
    }

    /// Returns the user to run as, if it is not the server's own.
    pub fn user(&self) -> Option<&[u8]> {
        self.user.as_deref()
    }

    /// Returns whether standard input will be sent; otherwise it is empty.
    pub fn stdin(&self) -> bool {
        self.stdin
    }

    /// Returns the milliseconds after which the server ends the command; 0 for never.
    pub fn timeout_ms(&self) -> u64 {
        self.timeout_ms
    }

    /// Returns the lock that the command must hold while it runs.
    pub fn lock(&self) -> Option<&Lock> {
        self.lock.as_ref()
    }

    /// Returns the digest that binds a key to this request.
    pub fn digest(&self) -> RequestDigest {
        self.digest_over(&self.encode())
    }

    /// Returns the payload of this request's start: each string followed by a NUL.
    pub(crate) fn encode(&self) -> Bytes {
        let mut payload = BytesMut::new();
        for string in self.strings() {
            payload.put_slice(string);
            payload.put_u8(0);
        }
        payload.freeze()
    }

    /// Returns the request's digest, given its payload.
    pub(crate) fn digest_over(&self, payload: &[u8]) -> RequestDigest {
        let mut hasher = Sha256::new();
        hasher.update(payload);
        hasher.update(format!(
            "argc={}\nenvc={}\nmode={}\nuser={}\ncwd={}\ntimeout={}\ntty=0\nstdin={}\n",
            self.args.len(),
            self.env.len(),
            self.mode,
            u8::from(self.user.is_some()),
            u8::from(self.cwd.is_some()),
            self.timeout_ms,
            u8::from(self.stdin),
        ));
        // The wait is not a part: a request that waits longer for the same lock is the same request.
        if let Some(lock) = &self.lock {
            hasher.update(format!("lock={}\n", lock.name));
        }
        RequestDigest::new(hasher.finalize().into())
    }

    /// Checks what both sides check: limits, NUL, the form of settings.
    fn check(&self) -> Result<(), WireError> {
        let one_line = self.mode == Mode::Shell && self.args.len() != 1;
        if self.args.is_empty() || one_line || self.args.first().is_some_and(Vec::is_empty) {
            return Err(WireError::new(ErrorKind::Usage, "there is no command to run")
                .hint("Name a program and its arguments, or one line for the shell."));
        }
        if self.user.as_ref().is_some_and(Vec::is_empty) {
            return Err(WireError::new(ErrorKind::Usage, "the name of the user is empty")
                .hint("Name a user of that host, or leave --user away."));
        }
        within("arguments", self.args.len(), limits::ARGUMENTS)?;
        within("environment settings", self.env.len(), limits::SETTINGS)?;
        let strings = self.strings();
        for string in strings.clone() {
            within("bytes in one argument or setting", string.len() + 1, limits::STRING)?;
            if string.contains(&0) {
                return Err(WireError::new(ErrorKind::Usage, "an argument holds a NUL byte").hint(
                    "No program can be given a NUL in an argument; send it on standard input.",
                ));
            }
        }
        let all = strings.map(|string| string.len() + 1).sum();
        within("bytes in arguments and environment", all, limits::PAYLOAD)?;
        if let Some(lock) = &self.lock {
            check_lock(&lock.name)?;
        }
        if self.mode == Mode::Transfer {
            self.check_transfer()?;
        }
        match self
            .env
            .iter()
            .find(|setting| setting.iter().position(|&b| b == b'=').is_none_or(|at| at == 0))
        {
            None => Ok(()),
            Some(setting) => Err(WireError::new(
                ErrorKind::Usage,
                format!("{:?} is no environment setting", String::from_utf8_lossy(setting)),
            )
            .hint("Write NAME=VALUE.")),
        }
    }

    fn check_transfer(&self) -> Result<(), WireError> {
        if !self.env.is_empty() || self.cwd.is_some() {
            let message = "a transfer has no environment and no working folder";
            return Err(WireError::new(ErrorKind::Usage, message)
                .hint("Name its paths from the home, or from the root."));
        }
        TransferRequest::parse(&self.args).map(drop)
    }

    fn strings(&self) -> impl Iterator<Item = &Vec<u8>> + Clone {
        self.args.iter().chain(&self.env).chain(&self.cwd).chain(&self.user)
    }
}

impl RequestBuilder {
    /// Replaces the mode and the arguments.
    pub fn command<A: Into<Vec<u8>>>(
        &mut self,
        mode: Mode,
        args: impl IntoIterator<Item = A>,
    ) -> &mut Self {
        self.draft.mode = mode;
        self.draft.args = args.into_iter().map(Into::into).collect();
        self
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl Into<Vec<u8>>) -> &mut Self {
        self.draft.args.push(arg.into());
        self
    }

    /// Adds a setting of the environment, `NAME=VALUE`.
    pub fn env(&mut self, setting: impl Into<Vec<u8>>) -> &mut Self {
        self.draft.env.push(setting.into());
        self
    }

    /// Adds several settings of the environment.
    pub fn envs(&mut self, settings: impl IntoIterator<Item = Vec<u8>>) -> &mut Self {
        self.draft.env.extend(settings);
        self
    }

    /// Sets the working folder, which is the user's home otherwise.
    pub fn cwd(&mut self, folder: impl Into<Vec<u8>>) -> &mut Self {
        self.draft.cwd = Some(folder.into());
        self
    }

    /// Sets the user to run as, which is the server's own otherwise.
    pub fn user(&mut self, name: impl Into<Vec<u8>>) -> &mut Self {
        self.draft.user = Some(name.into());
        self
    }

    /// Sets whether standard input will be sent; otherwise it is empty.
    pub fn stdin(&mut self, comes: bool) -> &mut Self {
        self.draft.stdin = comes;
        self
    }

    /// Sets the milliseconds after which the server ends the command; 0 for never.
    pub fn timeout_ms(&mut self, timeout_ms: u64) -> &mut Self {
        self.draft.timeout_ms = timeout_ms;
        self
    }

    /// Sets the lock that the command must hold while it runs.
    pub fn lock(&mut self, lock: Lock) -> &mut Self {
        self.draft.lock = Some(lock);
        self
    }

    /// Checks the request and returns it.
    ///
    /// # Errors
    /// Fails with kind `usage` or `too_big`; the message names what can't be sent.
    pub fn build(&self) -> Result<Request, WireError> {
        self.clone().into_request()
    }

    pub(crate) fn into_request(self) -> Result<Request, WireError> {
        self.draft.check()?;
        Ok(self.draft)
    }

    pub(crate) fn digest_over(&self, payload: &[u8]) -> RequestDigest {
        self.draft.digest_over(payload)
    }

    /// Returns a request that need not be valid, such as a hostile peer sends.
    #[cfg(test)]
    pub(crate) fn unchecked(&self) -> Request {
        self.draft.clone()
    }
}

fn check_lock(name: &str) -> Result<(), WireError> {
    if (1..=limits::LOCK).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Ok(());
    }
    let hint = "Use 1 to 128 printable characters of ASCII without blanks, such as deploy/web.";
    Err(WireError::new(ErrorKind::Usage, format!("{name:?} can't be the name of a lock"))
        .hint(hint))
}

#[cfg(test)]
mod tests;
