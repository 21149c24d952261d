//! The facts of a request, as Cedar's context.
//!
//! One parsed request is judged, audited and executed; nothing reads the text again.

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv6Addr},
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use cedar_policy::{Context, RestrictedExpression};
use rcmd_certs::clock;
use rcmd_protocol::{
    frame::Mode,
    request::{Request, TransferVerb},
};

use super::vocabulary::Action;
use crate::{
    process::{Program, Uid},
    trust::{Peer, Way},
};

/// The number of arguments that have a place in `args`; further ones are only in `argv` and `argc`.
pub const ARGS: usize = 32;

/// The facts of this host by which a request is judged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostFacts {
    /// The name of the account that the request will run as.
    pub account: OsString,
    /// The account's user ID.
    pub uid: Uid,
    /// The folder that the request will start in, without symbolic links.
    pub cwd: PathBuf,
    /// The program or, for a shell line, the shell.
    pub program: Program,
}

/// The time of a request, and where it comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestContext {
    /// The peer's address; `::` if there is none that can be trusted.
    pub source: IpAddr,
    /// The way by which the peer's connection comes.
    pub way: Way,
    /// The time of the request.
    pub time: SystemTime,
}

pub(super) type Pair = (String, RestrictedExpression);

pub(super) fn text(name: &str, value: impl Into<String>) -> Pair {
    (name.to_owned(), RestrictedExpression::new_string(value.into()))
}

pub(super) fn truth(name: &str, value: bool) -> Pair {
    (name.to_owned(), RestrictedExpression::new_bool(value))
}

/// Returns a number as a fact; one past those of Cedar's is its largest.
pub(super) fn number(name: &str, value: impl TryInto<i64>) -> Pair {
    let value = value.try_into().unwrap_or(i64::MAX);
    (name.to_owned(), RestrictedExpression::new_long(value))
}

fn set(name: &str, values: impl Iterator<Item = String>) -> Pair {
    let values = values.map(RestrictedExpression::new_string);
    (name.to_owned(), RestrictedExpression::new_set(values))
}

/// Returns an address as a fact, and `::` for none. One that stands for an IPv4 address is that.
pub(super) fn address(name: &str, value: Option<IpAddr>) -> Pair {
    let value = value.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)).to_canonical();
    (name.to_owned(), RestrictedExpression::new_ip(value.to_string()))
}

pub(super) fn utf8(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

impl RequestContext {
    /// Returns the context of a request of this peer.
    pub fn of(peer: &Peer, time: SystemTime) -> Self {
        Self { source: peer.origin().address().ip(), way: peer.origin().way(), time }
    }

    /// Returns the context rounded down to the second, the precision that rules see.
    fn rounded(self) -> Self {
        let whole = self.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        // Cedar reads times of four-digit years only.
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(whole.min(253_402_300_799));
        Self { source: self.source.to_canonical(), way: self.way, time }
    }

    fn pairs(self) -> [Pair; 3] {
        let since = self.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let time = clock::date(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        [
            address("source", Some(self.source)),
            text("way", self.way.as_str()),
            ("time".to_owned(), RestrictedExpression::new_datetime(time)),
        ]
    }
}

/// The latest context as Cedar's values. Making these takes as long as all the rest of a question,
/// and a busy peer asks many times a second.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Option<(RequestContext, [Pair; 3])>>);

impl Recent {
    pub(super) fn pairs(&self, context: RequestContext) -> [Pair; 3] {
        let context = context.rounded();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((known, pairs)) if *known == context => pairs.clone(),
            _ => last.insert((context, context.pairs())).1.clone(),
        }
    }
}

/// Returns the action that a request asks for.
pub fn action(request: &Request) -> Action {
    match request.mode() {
        Mode::Exec => Action::Run,
        Mode::Shell => Action::Shell,
        Mode::Transfer => match request.as_transfer().map(|transfer| transfer.verb) {
            Some(TransferVerb::Send { .. } | TransferVerb::List { .. }) => Action::Read,
            Some(TransferVerb::Receive { .. }) | None => Action::Write,
        },
    }
}

/// Returns Cedar's context for a request to run something; `digest` is the program's.
///
/// Text that is not UTF-8 is left out, or empty where the schema requires a string: no program,
/// folder or line is empty, so an empty one matches none. In both cases the fact `text` is false.
///
/// # Errors
/// Cedar's message, if it rejects a fact.
pub(super) fn of_request(
    request: &Request,
    facts: &HostFacts,
    digest: Option<&str>,
    context: RequestContext,
    recent: &Recent,
) -> Result<Context, String> {
    let mut is_text = true;
    let mut word = |bytes: &[u8]| {
        let word = utf8(bytes);
        is_text &= word.is_some();
        word.map(str::to_owned)
    };
    let words: Vec<_> = request.args().iter().map(|argument| word(argument)).collect();
    let names = request.env().iter().map(|setting| word(super::environment::split(setting).0));
    let env: Vec<_> = names.flatten().collect();
    let program = word(facts.program.path.as_os_str().as_bytes()).unwrap_or_default();
    let cwd = word(facts.cwd.as_os_str().as_bytes()).unwrap_or_default();
    let account = word(facts.account.as_bytes()).unwrap_or_default();
    let first = words.first().cloned().flatten().unwrap_or_default();
    let mut pairs = vec![
        text("program", program),
        text("account", account),
        number("uid", facts.uid.as_raw()),
        text("cwd", cwd),
        set("env", env.into_iter()),
        truth("tty", false),
        truth("text", is_text),
    ];
    pairs.extend(request.lock().map(|lock| text("lock", lock.name.as_str())));
    pairs.extend(recent.pairs(context));
    match request.mode() {
        Mode::Transfer => return Err("a transfer is judged by what it reads or writes".to_owned()),
        Mode::Shell => pairs.push(text("line", first)),
        Mode::Exec => {
            let known =
                || words.iter().enumerate().filter_map(|(n, word)| Some((n, word.as_ref()?)));
            let args = known().take_while(|(n, _)| *n < ARGS);
            let args = args.map(|(n, word)| text(&n.to_string(), word));
            let args = RestrictedExpression::new_record(args).map_err(|error| error.to_string())?;
            pairs.push(text("name", first));
            pairs.push(number("argc", words.len()));
            // An argument that is not UTF-8 keeps its place: without it, the set would equal that
            // of fewer words.
            let argv = words.iter().enumerate().map(|(n, word)| match word {
                Some(word) => format!("{n}={word}"),
                None => n.to_string(),
            });
            pairs.push(set("argv", argv));
            pairs.push(("args".to_owned(), args));
            pairs.extend(digest.map(|digest| text("digest", digest)));
        }
    }
    Context::from_pairs(pairs).map_err(|error| error.to_string())
}
