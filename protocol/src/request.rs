//! What a client asks to be run, and how it travels: strings ended by NUL in a start's payload.

use bytes::{BufMut as _, Bytes, BytesMut};
use sha2::{Digest as _, Sha256};

use crate::{
    fault::Fault,
    frame::{Lock, Mode, Start},
    ids::RequestDigest,
    limits,
    outcome::{ErrorKind, Failure},
};

/// A command as it was asked for. Strings are any bytes but NUL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// How the arguments are to be read.
    pub mode: Mode,
    /// The program and its arguments, or the one shell line.
    pub args: Vec<Vec<u8>>,
    /// `NAME=VALUE`, each.
    pub env: Vec<Vec<u8>>,
    /// The working folder, if not the user's home.
    pub cwd: Option<Vec<u8>>,
    /// Whom it is to run as, if not the server's own user.
    pub user: Option<Vec<u8>>,
    /// Whether standard input will come.
    pub stdin: bool,
    /// Milliseconds after which the server ends the command; 0 for never.
    pub timeout_ms: u64,
    /// What it must hold alone while it runs.
    pub lock: Option<Lock>,
}

/// Why a start holds no request that can be run.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RequestError {
    /// The peer broke the protocol.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The request is well-formed and can't be met.
    #[error(transparent)]
    Refused(#[from] Failure),
}

impl Request {
    /// Checks everything that both sides check: limits, NUL, the shape of settings.
    ///
    /// # Errors
    /// A failure of kind `usage` or `too_big` that names the string.
    pub fn check(&self) -> Result<(), Failure> {
        let one_line = self.mode == Mode::Shell && self.args.len() != 1;
        if self.args.is_empty() || one_line || self.args.first().is_some_and(Vec::is_empty) {
            return Err(Failure::new(ErrorKind::Usage, "there is no command to run")
                .hint("Name a program and its arguments, or one line for the shell."));
        }
        if self.user.as_ref().is_some_and(Vec::is_empty) {
            return Err(Failure::new(ErrorKind::Usage, "the name of the user is empty")
                .hint("Name a user of that host, or leave --user away."));
        }
        within("arguments", self.args.len(), limits::ARGUMENTS)?;
        within("environment settings", self.env.len(), limits::SETTINGS)?;
        let strings = self.strings();
        for string in strings.clone() {
            within("bytes in one argument or setting", string.len() + 1, limits::STRING)?;
            if string.contains(&0) {
                return Err(Failure::new(ErrorKind::Usage, "an argument holds a NUL byte").hint(
                    "No program can be given a NUL in an argument; send it on standard input.",
                ));
            }
        }
        let all = strings.map(|string| string.len() + 1).sum();
        within("bytes in arguments and environment", all, limits::PAYLOAD)?;
        if let Some(lock) = &self.lock {
            check_lock(&lock.name)?;
        }
        match self
            .env
            .iter()
            .find(|setting| setting.iter().position(|&b| b == b'=').is_none_or(|at| at == 0))
        {
            None => Ok(()),
            Some(setting) => Err(Failure::new(
                ErrorKind::Usage,
                format!("{:?} is no environment setting", String::from_utf8_lossy(setting)),
            )
            .hint("Write NAME=VALUE.")),
        }
    }

    fn strings(&self) -> impl Iterator<Item = &Vec<u8>> + Clone {
        self.args.iter().chain(&self.env).chain(&self.cwd).chain(&self.user)
    }

    /// The payload of its start.
    pub fn encode(&self) -> Bytes {
        let mut payload = BytesMut::new();
        for string in self.strings() {
            payload.put_slice(string);
            payload.put_u8(0);
        }
        payload.freeze()
    }

    /// The digest that binds a key to this request: `payload` is what [`Request::encode`] gave.
    pub fn digest(&self, payload: &[u8]) -> RequestDigest {
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
        // Whoever waits longer for the same lock asks for the same.
        if let Some(lock) = &self.lock {
            hasher.update(format!("lock={}\n", lock.name));
        }
        RequestDigest::new(hasher.finalize().into())
    }

    /// Reads the request out of a start and checks it.
    ///
    /// # Errors
    /// [`RequestError::Fault`] when counts, payload and digest don't agree, [`RequestError::Refused`]
    /// when a limit is passed or the request makes no sense.
    pub fn from_start(start: &Start) -> Result<Self, RequestError> {
        within("arguments", start.argc, limits::ARGUMENTS as u64)?;
        within("environment settings", start.envc, limits::SETTINGS as u64)?;
        let invalid = |field| Fault::Invalid { frame: "start", field };
        let Some((0, body)) = start.payload.split_last().map(|(last, body)| (*last, body)) else {
            return Err(invalid("payload").into());
        };
        let mut strings = body.split(|&byte| byte == 0).map(<[u8]>::to_vec);
        let args: Vec<_> = strings.by_ref().take(start.argc as usize).collect();
        let env: Vec<_> = strings.by_ref().take(start.envc as usize).collect();
        let cwd = if start.cwd { strings.next() } else { None };
        let user = if start.user { strings.next() } else { None };
        let whole = args.len() as u64 == start.argc
            && env.len() as u64 == start.envc
            && cwd.is_some() == start.cwd
            && user.is_some() == start.user
            && strings.next().is_none();
        if !whole {
            return Err(invalid("payload").into());
        }
        let request = Self {
            mode: start.mode,
            args,
            env,
            cwd,
            user,
            stdin: start.stdin,
            timeout_ms: start.timeout_ms,
            lock: start.lock.clone(),
        };
        if request.digest(&start.payload) != start.digest {
            return Err(invalid("digest").into());
        }
        request.check()?;
        Ok(request)
    }
}

fn check_lock(name: &str) -> Result<(), Failure> {
    if (1..=limits::LOCK).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Ok(());
    }
    let hint = "Use 1 to 128 printable characters of ASCII without blanks, such as deploy/web.";
    Err(Failure::new(ErrorKind::Usage, format!("{name:?} can't be the name of a lock")).hint(hint))
}

fn within<N: PartialOrd + std::fmt::Display>(
    what: &str,
    number: N,
    limit: N,
) -> Result<(), Failure> {
    if number <= limit {
        return Ok(());
    }
    Err(Failure::new(ErrorKind::TooBig, format!("{number} {what} are past the limit of {limit}"))
        .hint("Send large input on standard input, or in a file."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Key;

    fn request() -> Request {
        Request {
            mode: Mode::Exec,
            args: vec![b"printf".to_vec(), b"".to_vec(), b"\xff\n $'\"".to_vec()],
            env: vec![b"A=".to_vec(), b"B=x=y".to_vec()],
            cwd: Some(b"/tmp".to_vec()),
            user: Some(b"app".to_vec()),
            stdin: true,
            timeout_ms: 1500,
            lock: None,
        }
    }

    fn start(request: &Request) -> Start {
        let payload = request.encode();
        Start {
            ch: 1,
            key: Key::from_text(b"k"),
            generation: 1,
            digest: request.digest(&payload),
            mode: request.mode,
            argc: request.args.len() as u64,
            envc: request.env.len() as u64,
            cwd: request.cwd.is_some(),
            user: request.user.is_some(),
            stdin: request.stdin,
            timeout_ms: request.timeout_ms,
            lock: request.lock.clone(),
            grace_ms: None,
            digests: Vec::new(),
            keep: false,
            timestamps: false,
            payload,
        }
    }

    #[test]
    fn a_request_reads_back_byte_for_byte() {
        let request = request();
        assert_eq!(Request::from_start(&start(&request)).unwrap(), request);
    }

    #[test]
    fn counts_that_do_not_fit_the_payload_are_faults() {
        let good = start(&request());
        let bad = [
            Start { argc: 2, ..good.clone() },
            Start { argc: 4, ..good.clone() },
            Start { envc: 1, ..good.clone() },
            Start { cwd: false, ..good.clone() },
            Start { user: false, ..good.clone() },
            Start { payload: Bytes::new(), ..good.clone() },
            Start { payload: good.payload.slice(..good.payload.len() - 1), ..good },
        ];
        for start in bad {
            assert!(matches!(Request::from_start(&start), Err(RequestError::Fault(_))));
        }
    }

    #[test]
    fn a_setting_never_passes_for_an_argument_under_the_same_digest() {
        let as_argument = Request {
            args: vec![b"env".to_vec(), b"A=1".to_vec()],
            env: vec![],
            cwd: None,
            user: None,
            ..request()
        };
        let as_setting = Request {
            args: vec![b"env".to_vec()],
            env: vec![b"A=1".to_vec()],
            ..as_argument.clone()
        };
        let payload = as_argument.encode();
        assert_eq!(payload, as_setting.encode());
        assert_ne!(as_argument.digest(&payload), as_setting.digest(&payload));
    }

    #[test]
    fn a_lock_is_part_of_the_request_and_the_wait_for_it_is_not() {
        let with = |lock: Option<(&str, u64)>| {
            let lock = lock.map(|(name, wait_ms)| Lock { name: name.to_owned(), wait_ms });
            let request = Request { lock, ..request() };
            request.digest(&request.encode())
        };
        assert_ne!(with(None), with(Some(("a", 0))));
        assert_ne!(with(Some(("a", 0))), with(Some(("b", 0))));
        assert_eq!(with(Some(("a", 0))), with(Some(("a", 5000))));
    }

    #[test]
    fn a_lock_s_name_is_short_and_printable() {
        let check = |name: &str| {
            let lock = Lock { name: name.to_owned(), wait_ms: 0 };
            Request { lock: Some(lock), ..request() }.check().map_err(|failure| failure.kind)
        };
        for name in ["a", "deploy/web:1", "../..", &"x".repeat(limits::LOCK)] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        for name in ["", "a b", "a\n", "\u{1b}[", "\u{e9}", &"x".repeat(limits::LOCK + 1)] {
            assert_eq!(check(name), Err(ErrorKind::Usage), "{name:?}");
        }
    }

    #[test]
    fn limits_are_refused_by_their_name() {
        let refused = |request: &Request| match Request::from_start(&start(request)) {
            Err(RequestError::Refused(failure)) => failure.kind,
            other => panic!("{other:?}"),
        };
        let args = |args: Vec<Vec<u8>>| Request { args, ..request() };
        assert_eq!(refused(&args(vec![b"x".to_vec(); limits::ARGUMENTS + 1])), ErrorKind::TooBig);
        assert_eq!(refused(&args(vec![vec![b'x'; limits::STRING]])), ErrorKind::TooBig);
        assert_eq!(refused(&args(vec![vec![b'x'; 100_000]; 11])), ErrorKind::TooBig);
        assert_eq!(refused(&args(vec![b"".to_vec()])), ErrorKind::Usage);
        assert_eq!(refused(&Request { env: vec![b"=x".to_vec()], ..request() }), ErrorKind::Usage);
        let largest = args(vec![vec![b'x'; limits::STRING - 1]]);
        assert!(Request::from_start(&start(&largest)).is_ok());
    }
}
