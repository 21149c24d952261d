//! Listings of the authority's members and tokens, for people and programs.

use std::{cmp::Reverse, fmt};

use rcmd_certs::{clock::date, names::Kind};
use serde::{Deserialize, Serialize};

use super::{
    authority_state::AuthorityState,
    error::StateError,
    records::{LISTS, MEMBERS, MemberRecord, NEWEST, RevocationReason, TOKENS, TokenRecord, short},
};

/// The members and tokens, and how old the revocation lists are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The members, by name.
    pub members: Vec<MemberFacts>,
    /// The tokens that are not forgotten yet, the newest first.
    pub tokens: Vec<TokenFacts>,
    /// The newest lists; `None` before the first.
    pub list: Option<ListFacts>,
}

/// A member, for people and programs. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberFacts {
    /// The kind of member.
    pub kind: Kind,
    /// The host names of a server, or the user name of a client.
    pub names: Vec<String>,
    /// The groups of the user; empty for a server.
    pub groups: Vec<String>,
    /// The standing of the member.
    pub standing: MemberStanding,
    /// The serial number of its last certificate.
    pub serial: String,
    /// The end of that certificate.
    pub not_after: String,
    /// The time at which its last certificate was signed.
    pub renewed_at: String,
    /// The time until which its key may be renewed; `None` if it was not enrolled with a token.
    pub renew_until: Option<String>,
    /// The reason for which the member was revoked; `None` if it was not.
    pub reason: Option<RevocationReason>,
    /// The fingerprint of its key.
    pub key: String,
}

/// A token, for people and programs. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenFacts {
    /// The first digits of its id.
    pub id: String,
    /// The kind of member that it makes.
    pub kind: Kind,
    /// The names that it allows.
    pub names: String,
    /// The groups that its members get.
    pub groups: Vec<String>,
    /// The number of uses in all.
    pub uses: u32,
    /// The number of uses that are left.
    pub left: u32,
    /// The standing of the token.
    pub standing: TokenStanding,
    /// The end of its time.
    pub expires_at: String,
}

/// The newest lists, for people and programs. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListFacts {
    /// The number of the lists.
    pub number: u64,
    /// The time at which they were signed.
    pub this_update: String,
    /// The time until which they are accepted.
    pub next_update: String,
}

/// The standing of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberStanding {
    /// The member's last certificate is valid.
    Active,
    /// The member's last certificate has expired.
    Expired,
    /// The member was revoked.
    Revoked,
    /// The member's last certificate is valid, and for an emergency.
    BreakGlass,
}

/// The standing of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenStanding {
    /// The token may be used.
    Open,
    /// The token has no use left.
    Used,
    /// The token has expired.
    Expired,
    /// The token was revoked.
    Revoked,
}

impl MemberStanding {
    fn of(member: &MemberRecord, now: i64) -> Self {
        match &member.revoked {
            Some(_) => Self::Revoked,
            None if now > member.not_after => Self::Expired,
            None if member.break_glass => Self::BreakGlass,
            None => Self::Active,
        }
    }
}

impl fmt::Display for MemberStanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `pad` obeys the width that a table asks for.
        f.pad(match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::BreakGlass => "break-glass",
        })
    }
}

impl TokenStanding {
    fn of(token: &TokenRecord, now: i64) -> Self {
        match token.revoked_at {
            Some(_) => Self::Revoked,
            None if token.left == 0 => Self::Used,
            None if now > token.expires_at => Self::Expired,
            None => Self::Open,
        }
    }
}

impl fmt::Display for TokenStanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Open => "open",
            Self::Used => "used",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        })
    }
}

impl AuthorityState {
    /// Lists members, tokens, and how old the revocation lists are.
    ///
    /// # Errors
    /// Fails when the store fails.
    pub fn listing(&self, now: i64) -> Result<Listing, StateError> {
        self.store.look(|rows| {
            let mut members: Vec<_> = rows
                .all(&MEMBERS)?
                .into_iter()
                .map(|(key, member)| MemberFacts {
                    kind: member.kind,
                    standing: MemberStanding::of(&member, now),
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
            tokens.sort_by_key(|(_, token)| Reverse(token.made_at));
            let tokens = tokens
                .into_iter()
                .map(|(id, token)| TokenFacts {
                    id: short(&id).to_owned(),
                    kind: token.kind,
                    names: token.names.to_string(),
                    standing: TokenStanding::of(&token, now),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_is_printed_as_it_is_serialized() {
        use MemberStanding as Member;
        use TokenStanding as Token;

        let members = [Member::Active, Member::Expired, Member::Revoked, Member::BreakGlass];
        for (standing, word) in
            members.into_iter().zip(["active", "expired", "revoked", "break-glass"])
        {
            assert_eq!(serde_json::to_value(standing).unwrap(), word);
            assert_eq!(standing.to_string(), word);
        }
        let tokens = [Token::Open, Token::Used, Token::Expired, Token::Revoked];
        for (standing, word) in tokens.into_iter().zip(["open", "used", "expired", "revoked"]) {
            assert_eq!(serde_json::to_value(standing).unwrap(), word);
            assert_eq!(standing.to_string(), word);
        }
    }
}
