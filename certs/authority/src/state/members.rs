//! Members: renewal, certificates by command, standing.

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
    /// The kind of member.
    pub kind: Kind,
    /// The names of a server, or the one name of a user.
    pub names: Vec<String>,
    /// The user's groups.
    pub groups: Vec<String>,
    /// The time for which it is valid.
    pub life: Duration,
    /// True if it is for an emergency.
    pub break_glass: bool,
}

/// The standing of a key with the authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStanding {
    /// The key belongs to a member that may ask for lists.
    Member(Kind),
    /// The key belongs to a member that was revoked.
    Revoked,
    /// The key is not known.
    Stranger,
}

impl AuthorityState {
    /// Returns the standing of a key.
    ///
    /// # Errors
    /// Fails when the store fails.
    pub fn standing(&self, key: Fingerprint) -> Result<KeyStanding, StateError> {
        let member = self.store.look(|rows| rows.get(&MEMBERS, &key.to_string()))?;
        Ok(match member {
            None => KeyStanding::Stranger,
            Some(member) if member.revoked.is_some() => KeyStanding::Revoked,
            Some(member) => KeyStanding::Member(member.kind),
        })
    }

    /// Signs another certificate for a member's key. If less than a tenth of its life has passed since the last
    /// renewal, the same certificate is returned: a member that lost the answer can ask again, and one that asks
    /// without end does not fill the journal.
    ///
    /// # Errors
    /// [`StateError::Refused`] with the reason; any other error is a failure of the authority itself.
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
                    format!("the time for renewal ended {ago} ago; enroll again with a new token");
                return Err(StateError::refused(RefusalReason::Late, text));
            }
            let life = self.life(member.kind);
            let recently = i64::try_from(life.as_secs() / 10).unwrap_or(i64::MAX);
            let issuer = self.signing().certificate().key;
            // Every answer contains the roots.
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
