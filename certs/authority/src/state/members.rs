//! Members: renewed, issued by command, counted.

use std::time::Duration;

use rcmd_certs::{
    clock::span, enroll::message::RefusalReason, fingerprint::Fingerprint,
    identity::BREAK_GLASS_LIFE, names::Kind,
};
use serde::{Deserialize, Serialize};

use super::{
    authority_state::{AuthorityState, Grant, Granted},
    error::StateError,
    records::{CERTIFICATES, MEMBERS, MemberRecord},
};
use crate::ca::ProvenKey;

/// A certificate that is issued by command, without a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    /// What for.
    pub kind: Kind,
    /// A server's names, or a user's one.
    pub names: Vec<String>,
    /// The user's groups.
    pub groups: Vec<String>,
    /// How long it lives.
    pub life: Duration,
    /// Whether it is for an emergency.
    pub break_glass: bool,
}

/// How a key stands with the authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStanding {
    /// It belongs to a member that may ask for lists.
    Member(Kind),
    /// It belongs to one that was revoked.
    Revoked,
    /// Nobody knows it.
    Stranger,
}

impl AuthorityState {
    /// Returns the standing of a key.
    ///
    /// # Errors
    /// When the store fails.
    pub fn standing(&self, key: Fingerprint) -> Result<KeyStanding, StateError> {
        let member = self.store.look(|rows| rows.get(&MEMBERS, &key.to_string()))?;
        Ok(match member {
            None => KeyStanding::Stranger,
            Some(member) if member.revoked.is_some() => KeyStanding::Revoked,
            Some(member) => KeyStanding::Member(member.kind),
        })
    }

    /// Signs another certificate for a member's key. One that was renewed in the last tenth of its
    /// life's length gets the same again: an asker who lost the answer loses nothing, and one that
    /// asks without end fills no journal.
    ///
    /// # Errors
    /// [`StateError::Refused`] with the reason; anything else is the authority's own fault.
    pub fn renew(&self, key: &ProvenKey, now: i64) -> Result<Granted, StateError> {
        let id = key.fingerprint().to_string();
        self.record(now, |rows| {
            let Some(mut member) = rows.get(&MEMBERS, &id)?.filter(|member| member.enrolled) else {
                return Err(StateError::refused(RefusalReason::Stranger, STRANGER));
            };
            if member.revoked.is_some() {
                return Err(StateError::refused(RefusalReason::Revoked, REVOKED));
            }
            let until = self.renew_until(&member);
            if now > until {
                let ago = span(now.abs_diff(until));
                let text =
                    format!("the time to renew ended {ago} ago; enroll again with a new token");
                return Err(StateError::refused(RefusalReason::Late, text));
            }
            let life = self.life(member.kind);
            let recently = i64::try_from(life.as_secs() / 10).unwrap_or(i64::MAX);
            let issuer = self.signing().certificate().key;
            // The roots go out with every answer.
            member.roots = self.root_keys();
            rows.put(&MEMBERS, &id, &member)?;
            if now.saturating_sub(member.renewed_at) < recently
                && rows
                    .get(&CERTIFICATES, &member.serial)?
                    .is_some_and(|last| last.issuer == issuer)
                && let Some(granted) = self.again(rows, &member.serial)?
            {
                return Ok(granted);
            }
            let grant = Grant {
                kind: member.kind,
                names: member.names.clone(),
                groups: member.groups.clone(),
                life,
                break_glass: false,
                by: "renewal".into(),
            };
            let (chain, facts) = self.sign(rows, grant, key, now)?;
            member.renewed_at = now;
            member.serial = facts.serial;
            member.not_after = facts.not_after;
            rows.put(&MEMBERS, &id, &member)?;
            Ok(Granted { chain, renew_until: self.renew_until(&member) })
        })
    }

    /// Signs a certificate by command.
    ///
    /// # Errors
    /// [`StateError`] when a name is not allowed, or it could not be recorded.
    pub fn issue(&self, issue: &Issue, key: &ProvenKey, now: i64) -> Result<Granted, StateError> {
        if issue.break_glass && (issue.kind == Kind::Server || issue.life > BREAK_GLASS_LIFE) {
            let text = "a break-glass certificate is a client's and lives for an hour at most";
            return Err(StateError::Invalid(text.into()));
        }
        let id = key.fingerprint().to_string();
        self.record(now, |rows| {
            let grant = Grant {
                kind: issue.kind,
                names: issue.names.clone(),
                groups: issue.groups.clone(),
                life: issue.life,
                break_glass: issue.break_glass,
                by: if issue.break_glass { "break-glass" } else { "command" }.into(),
            };
            let (chain, facts) = self.sign(rows, grant, key, now)?;
            let member = MemberRecord {
                kind: issue.kind,
                names: issue.names.clone(),
                groups: issue.groups.clone(),
                since: now,
                renewed_at: now,
                roots: self.root_keys(),
                serial: facts.serial,
                not_after: facts.not_after,
                enrolled: false,
                break_glass: issue.break_glass,
                revoked: None,
            };
            rows.put(&MEMBERS, &id, &member)?;
            Ok(Granted { chain, renew_until: member.not_after })
        })
    }
}

const STRANGER: &str =
    "this key was not enrolled here; enroll it with a token (`rcmd-certs token`)";

pub(crate) const REVOKED: &str = "this member was revoked; enroll again with a new token";
