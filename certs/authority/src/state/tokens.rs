//! Tokens: how they are made, and turned into certificates.

use std::time::Duration;

use rcmd_certs::{
    clock::{BACKDATE, date, span},
    enroll::{
        ClockOff,
        message::{DEFAULT_PORT, RefusalReason},
        token::{MAX_TOKEN, Names, Secret, Token, is_address},
    },
    names::{self, BadPattern, HostName, Kind, MAX_NAMES},
    text::printable,
};
use serde::{Deserialize, Serialize};

use super::{
    authority_state::{AuthorityState, Grant, Granted, check_amount, later},
    error::StateError,
    journal::Event,
    records::{MEMBERS, MemberRecord, TAKEN, TOKENS, TokenRecord, USES, UseRecord, short},
    store::Transaction,
};
use crate::ca::ProvenKey;

/// The seconds for which a member that lost the answer gets the same one again, for the same key.
const REPEAT: i64 = 10 * 60;

/// The specification of a new token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewToken {
    /// The kind of member that it makes.
    pub kind: Kind,
    /// The names that it allows.
    pub names: Names,
    /// The groups that its users get.
    pub groups: Vec<String>,
    /// The number of uses.
    pub uses: u32,
    /// The time for which it may be used; that of the settings if `None`.
    pub life: Option<Duration>,
    /// The addresses of the authority. If empty: those of the settings, else those that `serve` listened on last.
    pub addresses: Vec<String>,
}

/// An application for a certificate by the holder of a token.
#[derive(Debug)]
pub struct Application {
    /// The token's secret.
    pub secret: Secret,
    /// The name to take, if the token leaves a choice.
    pub name: Option<String>,
    /// The key to certify.
    pub key: ProvenKey,
    /// The applicant's clock, in Unix time.
    pub time: i64,
}

impl AuthorityState {
    /// Makes a token.
    ///
    /// # Errors
    /// [`StateError`] when the specification makes no sense, or the token could not be stored.
    pub fn token(&self, new: NewToken, now: i64) -> Result<Token, StateError> {
        let new = canonical(new)?;
        check(&new)?;
        let addresses = self.addresses(new.addresses)?;
        let secret = Secret::random().map_err(|error| StateError::Invalid(error.to_string()))?;
        let record = TokenRecord {
            kind: new.kind,
            names: new.names.clone(),
            groups: new.groups,
            uses: new.uses,
            left: new.uses,
            made_at: now,
            expires_at: later(now, new.life.unwrap_or(self.settings().token_life)),
            revoked_at: None,
        };
        let authority = self.fingerprint();
        let (kind, names) = (new.kind, new.names);
        let token = Token { addresses, authority, kind, names, secret: secret.clone() };
        if token.to_string().len() > MAX_TOKEN {
            let text = "too many names for one token; --for 'web[01-50]' names many in one word";
            return Err(StateError::Invalid(text.into()));
        }
        self.store.change(|rows| -> Result<(), StateError> {
            self.journal.add(
                now,
                Event::Token {
                    id: secret.id(),
                    kind: record.kind,
                    names: record.names.to_string(),
                    groups: record.groups.clone(),
                    uses: record.uses,
                    expires_at: date(record.expires_at),
                },
            )?;
            Ok(rows.put(&TOKENS, &secret.id(), &record)?)
        })?;
        Ok(token)
    }

    /// Returns the addresses at which a token's holder reaches the authority.
    fn addresses(&self, given: Vec<String>) -> Result<Vec<String>, StateError> {
        if let Some(address) = given.iter().find(|address| !is_address(address)) {
            return Err(StateError::Invalid(format!(
                "`{}` is not HOST:PORT; write the port too, as in ca.example.org:{DEFAULT_PORT}",
                printable(address)
            )));
        }
        if !given.is_empty() {
            return Ok(given);
        }
        let settings = self.settings();
        if !settings.addresses.is_empty() {
            return Ok(settings.addresses.clone());
        }
        let last = self.last_addresses()?;
        if last.is_empty() {
            return Err(StateError::Invalid(format!(
                "the address of the authority is not known: start `rcmd-certs serve` first, or \
                 name it with --address HOST:{DEFAULT_PORT}"
            )));
        }
        Ok(last)
    }

    /// Turns a token and a key into a certificate.
    ///
    /// # Errors
    /// [`StateError::Refused`] with the reason; any other error is a failure of the authority itself.
    pub fn enroll(&self, application: &Application, now: i64) -> Result<Granted, StateError> {
        let Application { secret, name, key, time } = application;
        if time.abs_diff(now) > BACKDATE.as_secs() {
            let clock = ClockOff { ours: *time, theirs: now };
            return Err(StateError::refused(RefusalReason::Clock, clock.to_string()));
        }
        self.record(now, |rows| {
            let id = secret.id();
            let unknown = || StateError::refused(RefusalReason::UnknownToken, UNKNOWN);
            let mut token = rows.get(&TOKENS, &id)?.ok_or_else(unknown)?;
            let use_key = format!("{id}/{}", key.fingerprint());
            if let Some(used) = rows.get(&USES, &use_key)?
                && now.saturating_sub(used.at) <= REPEAT
                && let Some(granted) = self.again(rows, &used.serial)?
            {
                return Ok(granted);
            }
            usable(&token, now)?;
            if rows.get(&MEMBERS, &key.fingerprint().to_string())?.is_some() {
                return Err(StateError::refused(RefusalReason::Request, KEY_AGAIN));
            }
            let names = chosen(rows, &id, &token, name.as_deref())?;
            let grant = Grant {
                kind: token.kind,
                names: names.clone(),
                groups: token.groups.clone(),
                life: self.life(token.kind),
                break_glass: false,
                by: format!("token {}", short(&id)),
            };
            let (chain, facts) = self.sign(rows, grant, key, now)?;
            let member = MemberRecord {
                kind: token.kind,
                groups: token.groups.clone(),
                since: now,
                renewed_at: now,
                serial: facts.serial.clone(),
                not_after: facts.not_after,
                enrolled: true,
                break_glass: false,
                roots: self.root_keys(),
                revoked: None,
                names,
            };
            if let (Names::OneOf(_), [name]) = (&token.names, member.names.as_slice()) {
                rows.put(&TAKEN, &format!("{id}/{name}"), &key.fingerprint())?;
            }
            token.left = token.left.saturating_sub(1);
            rows.put(&TOKENS, &id, &token)?;
            rows.put(&USES, &use_key, &UseRecord { serial: facts.serial, at: now })?;
            rows.put(&MEMBERS, &key.fingerprint().to_string(), &member)?;
            Ok(Granted { chain, renew_until: self.renew_until(&member) })
        })
    }
}

const UNKNOWN: &str = "this authority knows no such token; ask for a new one (`rcmd-certs token`)";

const KEY_AGAIN: &str = "this key has a certificate already; enroll with a new key";

/// Returns the token with a server's names in lower case, as certificates have them.
fn canonical(mut new: NewToken) -> Result<NewToken, StateError> {
    if new.kind == Kind::Server {
        new.names = match new.names {
            Names::All(names) => {
                let names =
                    names.iter().map(|name| HostName::parse(name).map(|name| name.to_string()));
                Names::All(names.collect::<Result<_, _>>()?)
            }
            Names::OneOf(pattern) => {
                let lower = pattern.to_string().to_ascii_lowercase().parse();
                Names::OneOf(
                    lower.map_err(|error: BadPattern| StateError::Invalid(error.to_string()))?,
                )
            }
        };
    }
    Ok(new)
}

fn check(new: &NewToken) -> Result<(), StateError> {
    let invalid = |text: &str| Err(StateError::Invalid(text.to_owned()));
    new.names.check(new.kind)?;
    new.groups.iter().try_for_each(|group| names::check_group(group))?;
    check_amount(&[], &new.groups)?;
    if new.kind == Kind::Server && !new.groups.is_empty() {
        return invalid("a server belongs to no group; leave --group out");
    }
    match &new.names {
        Names::All(names) if names.is_empty() => {
            return invalid("a token needs a name; write one, or name many with --for");
        }
        Names::All(names) if new.kind == Kind::Client && names.len() > 1 => {
            return invalid("a client's token has one name; make a token for each user");
        }
        Names::All(_) if new.uses > 1 => {
            return invalid(
                "a token for several uses needs a name for each: --for 'web[01-50]' instead of a name",
            );
        }
        Names::OneOf(pattern)
            if pattern.count() < usize::try_from(new.uses).unwrap_or(MAX_NAMES) =>
        {
            return invalid(
                "--uses is greater than the number of names in --for; name more, or lower --uses",
            );
        }
        _ => {}
    }
    if new.uses == 0 { invalid("--uses must be at least 1") } else { Ok(()) }
}

fn usable(token: &TokenRecord, now: i64) -> Result<(), StateError> {
    let ask = "ask for a new one (`rcmd-certs token`)";
    if token.revoked_at.is_some() {
        let text = format!("this token was revoked; {ask}");
        return Err(StateError::refused(RefusalReason::RevokedToken, text));
    }
    if token.left == 0 {
        let text = format!(
            "this token was used already; {ask}, and if somebody else used it, tell whoever runs the \
             authority"
        );
        return Err(StateError::refused(RefusalReason::UsedToken, text));
    }
    if now > token.expires_at {
        let ago = span(now.abs_diff(token.expires_at));
        let text = format!("this token expired {ago} ago; {ask}");
        return Err(StateError::refused(RefusalReason::ExpiredToken, text));
    }
    Ok(())
}

/// Returns the names that this use of a token takes.
fn chosen(
    rows: &Transaction,
    id: &str,
    token: &TokenRecord,
    wanted: Option<&str>,
) -> Result<Vec<String>, StateError> {
    let refuse = |text: String| Err(StateError::refused(RefusalReason::Name, text));
    match (&token.names, wanted) {
        (Names::All(names), None) => Ok(names.clone()),
        (Names::All(names), Some(wanted)) if names.iter().any(|name| name == wanted) => {
            Ok(names.clone())
        }
        (names, Some(wanted)) if !is_among(names, wanted) => {
            let wanted = printable(wanted);
            refuse(format!(
                "this token is for {names}, not for {wanted}; use one of its names with --name, or \
                 get a token for {wanted}"
            ))
        }
        (Names::OneOf(pattern), None) => {
            refuse(format!("this token is for one of {pattern}; choose the name with --name NAME"))
        }
        (_, Some(wanted)) => match rows.get(&TAKEN, &format!("{id}/{wanted}"))? {
            Some(_) => refuse(format!(
                "this token has already been used for {}; use another of its names with --name, or \
                 get a new token",
                printable(wanted)
            )),
            None => Ok(vec![wanted.to_owned()]),
        },
    }
}

fn is_among(names: &Names, wanted: &str) -> bool {
    match names {
        Names::All(names) => names.iter().any(|name| name == wanted),
        Names::OneOf(pattern) => pattern.contains(wanted),
    }
}
