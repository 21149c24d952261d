//! The lines of a record: an object of one member each, whose name says which line it is.
//!
//! `run` is the first one, with the version; as many `target` as it says follow, in the order of the set. Then
//! come `sent`, `end` and `resumed`, as things happen.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcmd_client::hosts::HostTarget;
use rcmd_client::inventory::{HostEntry, Value};
use rcmd_client::{Report, Target};
use rcmd_protocol::ids::{Key, RequestDigest};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::id::RunId;
use super::{Plan, Sent};
use crate::arguments::words::CommandSpec;
use crate::fleet::templates::Templates;

/// The version of all lines.
pub(super) const VERSION: u64 = 1;

/// A line. `R` is the result of a target: borrowed where it is written, read back elsewhere.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line<R> {
    Run(Box<RunLine>),
    Target(Box<TargetLine>),
    Sent(SentLine),
    End(EndLine<R>),
    Resumed(ResumedLine),
}

/// The part of a first line that is read before its version is known.
#[derive(Debug, Deserialize)]
pub(super) struct AnyVersion {
    pub(super) run: Version,
}

#[derive(Debug, Deserialize)]
pub(super) struct Version {
    pub(super) version: u64,
}

/// The line that says what was asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunLine {
    version: u64,
    pub(super) id: String,
    #[serde(with = "moment")]
    pub(super) began: u64,
    /// The number of target lines that follow.
    pub(super) targets: usize,
    mode: Mode,
    /// The line, or the program and its arguments, as typed.
    words: Vec<Bytes>,
    env: Vec<(Bytes, Bytes)>,
    cwd: Option<Bytes>,
    templates: bool,
    user: Option<Bytes>,
    timeout_ms: Option<u64>,
    lock: Option<String>,
    lock_wait_ms: Option<u64>,
    key: Option<Bytes>,
    input: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Shell,
    Exec,
}

/// A host, with what templates and labels need of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TargetLine {
    host: String,
    address: String,
    port: u16,
    certificate: Option<String>,
    user: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    /// The variables that the command uses.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    vars: BTreeMap<String, String>,
}

/// A start is about to be sent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SentLine {
    pub(super) index: usize,
    attempt: u32,
    #[serde(with = "moment")]
    at: u64,
    key: String,
    generation: u64,
    digest: String,
}

/// A target has ended.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndLine<R> {
    pub(super) index: usize,
    /// The last start; 0 when none was sent.
    pub(super) attempt: u32,
    #[serde(with = "moment")]
    at: u64,
    pub(super) result: R,
}

/// The run is resumed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResumedLine {
    #[serde(with = "moment")]
    pub(super) at: u64,
}

/// Bytes as text where they are UTF-8, else as `{"base64": "…"}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) OsString);

impl<'a> Line<&'a Report> {
    pub(super) fn sent(index: usize, sent: &Sent) -> Self {
        Self::Sent(SentLine {
            index,
            attempt: sent.attempt,
            at: sent.at,
            key: sent.key.to_string(),
            generation: sent.generation,
            digest: sent.digest.to_string(),
        })
    }

    pub(super) fn end(index: usize, attempt: u32, at: u64, result: &'a Report) -> Self {
        Self::End(EndLine { index, attempt, at, result })
    }

    pub(super) fn resumed(at: u64) -> Self {
        Self::Resumed(ResumedLine { at })
    }

    /// Returns the line with its end.
    pub(super) fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// Returns the lines that a record begins with.
pub(super) fn plan(id: RunId, began: u64, plan: &Plan) -> impl Iterator<Item = Line<&Report>> {
    let templates = Templates::read(&plan.command, &plan.env, plan.cwd.as_deref(), plan.templates);
    let used: BTreeSet<String> = templates.variables().map(str::to_owned).collect();
    let first = std::iter::once(Line::Run(Box::new(RunLine::new(id, began, plan))));
    let targets = plan.targets.iter();
    first.chain(targets.map(move |host| Line::Target(Box::new(TargetLine::new(host, &used)))))
}

impl RunLine {
    fn new(id: RunId, began: u64, plan: &Plan) -> Self {
        let (mode, words) = match &plan.command {
            CommandSpec::Shell(line) => (Mode::Shell, vec![Bytes(line.clone())]),
            CommandSpec::Exec { program, arguments } => {
                let words = std::iter::once(program).chain(arguments);
                (Mode::Exec, words.cloned().map(Bytes).collect())
            }
        };
        let env = plan.env.iter().cloned().map(|(name, value)| (Bytes(name), Bytes(value)));
        Self {
            version: VERSION,
            id: id.to_string(),
            began,
            targets: plan.targets.len(),
            mode,
            words,
            env: env.collect(),
            cwd: plan.cwd.clone().map(Bytes),
            templates: plan.templates,
            user: plan.user.clone().map(Bytes),
            timeout_ms: plan.timeout.map(milliseconds),
            lock: plan.lock.as_ref().map(|(name, _)| name.clone()),
            lock_wait_ms: plan.lock.as_ref().map(|(_, wait)| milliseconds(*wait)),
            key: plan.key.clone().map(Bytes),
            input: plan.input,
        }
    }

    /// Returns what was asked for, of these targets.
    ///
    /// # Errors
    /// The part that is missing.
    pub(super) fn into_plan(self, targets: Arc<[HostTarget]>) -> Result<Plan, String> {
        let mut words = self.words.into_iter().map(|word| word.0);
        let first = words.next().ok_or("there are no words")?;
        let arguments: Vec<OsString> = words.collect();
        let command = match self.mode {
            Mode::Shell if !arguments.is_empty() => return Err("a line has one word".to_owned()),
            Mode::Shell => CommandSpec::Shell(first),
            Mode::Exec => CommandSpec::Exec { program: first, arguments },
        };
        let wait = Duration::from_millis(self.lock_wait_ms.unwrap_or_default());
        let bytes = |bytes: Option<Bytes>| bytes.map(|bytes| bytes.0);
        Ok(Plan {
            command,
            env: self.env.into_iter().map(|(name, value)| (name.0, value.0)).collect(),
            cwd: bytes(self.cwd),
            templates: self.templates,
            user: bytes(self.user),
            timeout: self.timeout_ms.map(Duration::from_millis),
            lock: self.lock.map(|name| (name, wait)),
            key: bytes(self.key),
            input: self.input,
            targets,
        })
    }
}

impl TargetLine {
    fn new(host: &HostTarget, used: &BTreeSet<String>) -> Self {
        let vars = host.vars().into_iter().flatten().filter_map(|(name, value)| match value {
            Value::Text(text) if used.contains(name) => Some((name.clone(), text.clone())),
            _ => None,
        });
        let labels = host.labels().map(|(name, text)| (name.to_owned(), text.to_owned()));
        Self {
            host: host.name.to_string(),
            address: host.target.host.clone(),
            port: host.target.port,
            certificate: host.target.certificate.clone(),
            user: host.user().map(str::to_owned),
            labels: labels.collect(),
            vars: vars.collect(),
        }
    }

    /// Returns the host, at its place in the set.
    pub(super) fn into_target(self, index: usize) -> HostTarget {
        let name: Arc<str> = self.host.into();
        let vars = self.vars.into_iter().map(|(name, text)| (name, Value::Text(text)));
        let entry = HostEntry {
            name: Arc::clone(&name),
            address: Some(self.address.clone()),
            port: Some(self.port),
            certificate: self.certificate.clone(),
            user: self.user,
            labels: self.labels,
            vars: vars.collect(),
        };
        let target = Target {
            host: self.address,
            port: self.port,
            certificate: self.certificate,
            name: Some(name.to_string()),
        };
        HostTarget::new(name, index, target, Some(Arc::new(entry)))
    }
}

impl SentLine {
    /// Returns the start.
    ///
    /// # Errors
    /// The part that is no key, no digest or no attempt.
    pub(super) fn to_sent(&self) -> Result<Sent, &'static str> {
        Ok(Sent {
            attempt: Some(self.attempt).filter(|attempt| *attempt > 0).ok_or("attempt is 0")?,
            key: Key::from_hex(&self.key).ok_or("key is no key")?,
            generation: self.generation,
            digest: RequestDigest::from_hex(&self.digest).ok_or("digest is no digest")?,
            at: self.at,
        })
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Base64 {
    base64: String,
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            Some(text) => serializer.serialize_str(text),
            None => Base64 { base64: STANDARD.encode(self.0.as_bytes()) }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "text or an object with base64")]
        enum Either {
            Text(String),
            Base64(Base64),
        }
        match Either::deserialize(deserializer)? {
            Either::Text(text) => Ok(Self(text.into())),
            Either::Base64(Base64 { base64 }) => {
                let bytes = STANDARD.decode(base64).map_err(|_| D::Error::custom("no base64"))?;
                Ok(Self(OsString::from_vec(bytes)))
            }
        }
    }
}

/// Milliseconds since 1970 as RFC 3339.
mod moment {
    use jiff::Timestamp;
    use serde::de::Error as _;
    use serde::ser::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::output::stamp::rfc3339;

    pub(super) fn serialize<S: Serializer>(ms: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        let text = rfc3339(*ms).ok_or_else(|| S::Error::custom("a time past the year 9999"))?;
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(of: D) -> Result<u64, D::Error> {
        let text = String::deserialize(of)?;
        let time = text.parse::<Timestamp>().ok();
        let ms = time.and_then(|time| u64::try_from(time.as_millisecond()).ok());
        ms.ok_or_else(|| D::Error::custom("this is no time of RFC 3339 since 1970"))
    }
}
