//! Asking whether a host would permit a request. Nothing runs, whatever the answer is.

use rcmd_protocol::{
    connection::Role,
    frame::{Frame, Mode, Start, Verdict},
    ids::Key,
    io::{Ended, split},
    limits::KEEPALIVE,
    outcome::{ErrorKind, Failure},
    request::Request,
};
use tokio::time::{Duration, timeout};

use crate::{
    config::Config,
    connect::{Host, own_hello},
    target::Target,
};

/// The capability of servers that answer.
const CAPABILITY: &str = "ask";
/// Time for the answer, and for an orderly close.
const ANSWER: Duration = Duration::from_secs(30);

/// What a host would do with a program and its arguments, or with a line for its shell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question(Request);

impl Question {
    /// A program with its arguments, the first being the program.
    pub fn exec(words: Vec<Vec<u8>>) -> Self {
        Self::new(Mode::Exec, words)
    }

    /// A line for the user's shell.
    pub fn shell(line: Vec<u8>) -> Self {
        Self::new(Mode::Shell, vec![line])
    }

    fn new(mode: Mode, args: Vec<Vec<u8>>) -> Self {
        Self(Request {
            mode,
            args,
            env: Vec::new(),
            cwd: None,
            user: None,
            stdin: false,
            timeout_ms: 0,
            lock: None,
        })
    }

    /// With these settings, `NAME=VALUE` each.
    #[must_use]
    pub fn env(mut self, settings: Vec<Vec<u8>>) -> Self {
        self.0.env = settings;
        self
    }

    /// As this user.
    #[must_use]
    pub fn user(mut self, name: Option<Vec<u8>>) -> Self {
        self.0.user = name;
        self
    }

    /// In this folder.
    #[must_use]
    pub fn current_dir(mut self, folder: Option<Vec<u8>>) -> Self {
        self.0.cwd = folder;
        self
    }
}

/// Asks a host. Gives what it would run, as whom, and by which rule, for people.
///
/// # Errors
/// What a start would have failed with; `protocol` when the host is too old to be asked.
pub async fn ask(config: &Config, target: &Target, question: Question) -> Result<String, Failure> {
    let Question(request) = question;
    request.check()?;
    let stream = Host::new(config, target).connect().await.map_err(|missed| missed.failure)?;
    let (mut reader, writer, sender) = split(stream, Role::Client, KEEPALIVE);
    sender.send(Frame::Hello(own_hello()));
    let key = Key::from_text(b"");
    let mut writing = std::pin::pin!(writer.run());
    let mut written = false;
    let conversation = async {
        loop {
            let frame = tokio::select! {
                frame = reader.next() => frame,
                _ = &mut writing, if !written => {
                    // A write that fails has its reason in what is yet to be read.
                    written = true;
                    continue;
                }
            };
            match frame.map_err(|ended| lost(target, ended))? {
                Frame::Hello(hello) if !hello.capabilities.iter().any(|one| one == CAPABILITY) => {
                    let message = format!("{target} is too old to be asked; nothing was sent");
                    return Err(Failure::new(ErrorKind::Protocol, message)
                        .hint("`rcmd-server policy explain` on the host, or a newer server."));
                }
                Frame::Hello(_) => {
                    let ch = reader.open_channel().unwrap_or(1);
                    sender.send(Frame::Ask(start(ch, key, &request)));
                }
                Frame::Verdict(Verdict { failure: Some(failure), .. }) => return Err(failure),
                Frame::Verdict(Verdict { note, .. }) => return Ok(note.unwrap_or_default()),
                _ => {}
            }
        }
    };
    let answer = timeout(ANSWER, conversation).await.unwrap_or_else(|_| {
        Err(Failure::new(ErrorKind::Unreachable, format!("{target} did not answer in time")))
    });
    sender.close();
    if !written {
        let _ = timeout(ANSWER, writing).await;
    }
    answer
}

fn start(ch: u32, key: Key, request: &Request) -> Start {
    let payload = request.encode();
    Start {
        ch,
        key,
        generation: 0,
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

fn lost(target: &Target, ended: Ended) -> Failure {
    match ended {
        Ended::Told(failure) => failure,
        Ended::Fault(fault) => fault.failure(),
        ended => Failure::new(ErrorKind::Unreachable, format!("{target} did not answer: {ended}"))
            .hint(format!("Try `rcmd-client doctor {target}`.")),
    }
}
