//! What an operator orders, as data: the same whether the office is at hand or behind the socket of
//! a running `rcmd-certs serve`.

use rcmd_certs::names::Kind;
use rcmd_certs::pem::Der;
use serde::{Deserialize, Serialize};

use super::journal::date;
use super::members::Issue;
use super::records::{LISTS, MEMBERS, NEWEST, RevocationReason, TOKENS, short};
use super::revoke::Revoked;
use super::rotation::{Rotation, RotationAction};
use super::snapshot::Snapshot;
use super::tokens::NewToken;
use super::{AuthorityState, StateError};
use crate::ca::ProvenKey;

/// One order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminRequest {
    /// Make a token.
    Token(NewToken),
    /// Sign a certificate without a token.
    Issue {
        /// What it is to say.
        issue: Issue,
        /// A certification request for its key.
        request: Der,
    },
    /// Revoke what is called so.
    Revoke {
        /// A name, a serial number or a token's id.
        what: String,
        /// Why.
        reason: RevocationReason,
        /// Whether a serial number that is not known here goes on the list too.
        unlisted: bool,
    },
    /// Tell who there is.
    #[serde(rename = "census")]
    Listing,
    /// Copy the store for a backup.
    Snapshot,
    /// Carry a rotation on.
    Rotate(RotationAction),
}

/// What became of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminResponse {
    /// The token's text.
    Token(String),
    /// A certificate, then its intermediates.
    Certificate(Vec<Der>),
    /// What was revoked.
    Revoked(Revoked),
    /// Who there is.
    #[serde(rename = "census")]
    Listing(Listing),
    /// A copy of the store.
    Snapshot(Snapshot),
    /// How the rotation stands.
    Rotation(Rotation),
    /// Nothing was done: why, for people.
    Failed(String),
}

/// Who there is: members, tokens, and how old the lists are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The members, by name.
    pub members: Vec<MemberFacts>,
    /// The tokens that are not forgotten yet, the newest first.
    pub tokens: Vec<TokenFacts>,
    /// The newest lists; none before the first.
    pub list: Option<ListFacts>,
}

/// A member, for people and programs. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberFacts {
    /// What it is.
    pub kind: Kind,
    /// Its names.
    pub names: Vec<String>,
    /// Its groups.
    pub groups: Vec<String>,
    /// `active`, `expired`, `revoked` or `break-glass`.
    pub standing: String,
    /// The serial number of its last certificate.
    pub serial: String,
    /// The end of that certificate.
    pub not_after: String,
    /// When its last certificate was signed.
    pub renewed_at: String,
    /// Until when its key may be renewed; none if it did not come by a token.
    pub renew_until: Option<String>,
    /// Why it was revoked.
    pub reason: Option<RevocationReason>,
    /// The fingerprint of its key.
    pub key: String,
}

/// A token, for people and programs. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenFacts {
    /// The first digits of its id.
    pub id: String,
    /// What it makes of its bearer.
    pub kind: Kind,
    /// The names that it gives.
    pub names: String,
    /// The groups that it gives.
    pub groups: Vec<String>,
    /// How often it may be used in all.
    pub uses: u32,
    /// How often it may still be used.
    pub left: u32,
    /// `open`, `used`, `expired` or `revoked`.
    pub standing: String,
    /// The end of its time.
    pub expires_at: String,
}

/// The newest lists, for people and programs. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListFacts {
    /// Their number.
    pub number: u64,
    /// When they were signed.
    pub this_update: String,
    /// Until when they are believed.
    pub next_update: String,
}

impl AuthorityState {
    /// Carries out an order.
    ///
    /// # Errors
    ///
    /// [`StateError`]; then nothing was changed.
    pub fn execute(&self, request: AdminRequest, now: i64) -> Result<AdminResponse, StateError> {
        Ok(match request {
            AdminRequest::Token(new) => AdminResponse::Token(self.token(new, now)?.to_string()),
            AdminRequest::Issue { issue, request } => {
                let key = ProvenKey::from_request(&request.0)
                    .map_err(|error| StateError::Invalid(error.to_string()))?;
                AdminResponse::Certificate(self.issue(&issue, &key, now)?.chain)
            }
            AdminRequest::Revoke { what, reason, unlisted } => {
                AdminResponse::Revoked(self.revoke(&what, reason, unlisted, now)?)
            }
            AdminRequest::Listing => AdminResponse::Listing(self.listing(now)?),
            AdminRequest::Snapshot => AdminResponse::Snapshot(self.snapshot()?),
            AdminRequest::Rotate(request) => AdminResponse::Rotation(self.rotate(request, now)?),
        })
    }

    /// Who there is.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub fn listing(&self, now: i64) -> Result<Listing, StateError> {
        self.store.look(|rows| {
            let mut members: Vec<_> = rows
                .all(&MEMBERS)?
                .into_iter()
                .map(|(key, member)| MemberFacts {
                    kind: member.kind,
                    standing: match &member.revoked {
                        Some(_) => "revoked",
                        None if now > member.not_after => "expired",
                        None if member.break_glass => "break-glass",
                        None => "active",
                    }
                    .into(),
                    not_after: date(member.not_after),
                    renewed_at: date(member.renewed_at),
                    renew_until: member.enrolled.then(|| date(self.renew_until(&member))),
                    reason: member.revoked.as_ref().map(|revoked| revoked.reason),
                    names: member.names,
                    groups: member.groups,
                    serial: member.serial,
                    key,
                })
                .collect();
            members.sort_by(|a, b| (a.kind, &a.names).cmp(&(b.kind, &b.names)));
            let mut tokens = rows.all(&TOKENS)?;
            tokens.sort_by_key(|(_, token)| std::cmp::Reverse(token.made_at));
            let tokens = tokens
                .into_iter()
                .map(|(id, token)| TokenFacts {
                    id: short(&id).to_owned(),
                    kind: token.kind,
                    names: token.names.to_string(),
                    standing: match token.revoked_at {
                        Some(_) => "revoked",
                        None if token.left == 0 => "used",
                        None if now > token.expires_at => "expired",
                        None => "open",
                    }
                    .into(),
                    groups: token.groups,
                    uses: token.uses,
                    left: token.left,
                    expires_at: date(token.expires_at),
                })
                .collect();
            let list = rows.get(&LISTS, NEWEST)?.map(|lists| ListFacts {
                number: lists.number,
                this_update: date(lists.this_update),
                next_update: date(lists.next_update),
            });
            Ok(Listing { members, tokens, list })
        })
    }
}
