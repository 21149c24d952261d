//! The authority's records: the serialized form of the store.
//!
//! Every record is JSON under a key of text. Fields are only ever added, with a default, so that an
//! older store stays readable.

use rcmd_certs::{enroll::token::Names, fingerprint::Fingerprint, names::Kind, pem::Der};
use serde::{Deserialize, Serialize};

use super::store::Table;

/// Tokens, by the SHA-256 of their secrets.
pub(super) const TOKENS: Table<TokenRecord> = Table::new("tokens");

/// Uses of tokens, by `TOKEN/KEY`: the token's id and the member's key.
pub(super) const USES: Table<UseRecord> = Table::new("uses");

/// Names that were taken from a token that leaves a choice, by `TOKEN/NAME`.
pub(super) const TAKEN: Table<Fingerprint> = Table::new("taken");

/// Members, by the fingerprints of their keys.
pub(super) const MEMBERS: Table<MemberRecord> = Table::new("members");

/// Certificates, by their serial numbers.
pub(super) const CERTIFICATES: Table<CertificateRecord> = Table::new("certificates");

/// Revoked certificates, by their serial numbers.
pub(super) const REVOKED: Table<RevokedRecord> = Table::new("revoked");

/// The newest lists, under [`NEWEST`].
pub(super) const LISTS: Table<ListsRecord> = Table::new("lists");

/// The only key of [`LISTS`].
pub(super) const NEWEST: &str = "newest";

/// The addresses at which members reach the authority, under [`LAST`]: those that `serve` listened on last.
pub(super) const ADDRESSES: Table<Vec<String>> = Table::new("addresses");

/// The only key of [`ADDRESSES`].
pub(super) const LAST: &str = "last";

/// A token. Its secret is not here: the key of the record is the secret's SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// The kind of member that it makes.
    pub kind: Kind,
    /// The names that it allows.
    pub names: Names,
    /// The groups that its users get.
    pub groups: Vec<String>,
    /// The number of uses in all.
    pub uses: u32,
    /// The number of uses that are left.
    pub left: u32,
    /// The time at which it was made, in Unix time.
    pub made_at: i64,
    /// The last second in which it may be used, in Unix time.
    pub expires_at: i64,
    /// The time at which it was revoked, in Unix time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<i64>,
}

/// A use of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UseRecord {
    /// The serial number of the certificate that came of it.
    pub serial: String,
    /// The time, in Unix time.
    pub at: i64,
}

/// A member: a key, and its holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// The kind of member.
    pub kind: Kind,
    /// The names in its certificates.
    pub names: Vec<String>,
    /// The user's groups.
    pub groups: Vec<String>,
    /// The time at which its first certificate was signed, in Unix time.
    pub since: i64,
    /// The time at which its last certificate was signed, in Unix time.
    pub renewed_at: i64,
    /// The serial number of its last certificate.
    pub serial: String,
    /// The last second of that certificate, in Unix time.
    pub not_after: i64,
    /// True if it may renew: it was enrolled with a token, and not by `rcmd-certs issue`.
    pub enrolled: bool,
    /// True if its certificate is for an emergency.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub break_glass: bool,
    /// The roots that it was last sent.
    #[serde(default)]
    pub roots: Vec<Fingerprint>,
    /// The revocation of the member; `None` while it is not revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<MemberRevocation>,
}

/// A step of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Members learn the new root; the old authority signs.
    Announced,
    /// The new authority signs; members trust both.
    Switched,
    /// The new authority is the only one; its files are being moved to their place.
    Settling,
}

/// The revocation of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRevocation {
    /// The time of the revocation, in Unix time.
    pub at: i64,
    /// The reason.
    pub reason: RevocationReason,
}

/// The reason of a revocation: one of those in RFC 5280 section 5.3.1 that make sense for a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RevocationReason {
    /// No reason is given.
    #[default]
    Unspecified,
    /// Somebody else may have the key.
    KeyCompromise,
    /// The names or groups are no longer right.
    AffiliationChanged,
    /// Another certificate takes the place of this one.
    Superseded,
    /// The host or the user is gone.
    CessationOfOperation,
    /// A permission of the holder was withdrawn.
    PrivilegeWithdrawn,
}

/// A certificate that was signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CertificateRecord {
    /// The member's key.
    pub key: Fingerprint,
    /// The key that signed it.
    pub issuer: Fingerprint,
    /// The first second of its validity, in Unix time.
    pub not_before: i64,
    /// The last second of its validity, in Unix time.
    pub not_after: i64,
    /// The certificate itself.
    pub der: Der,
}

/// A certificate that is on the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RevokedRecord {
    /// The key that signed it; `None` for one that this authority does not know.
    pub issuer: Option<Fingerprint>,
    /// The time at which it was revoked, in Unix time.
    pub at: i64,
    /// The reason.
    pub reason: RevocationReason,
    /// The last second of its validity, in Unix time. Some time after it, the certificate is taken off the list.
    pub not_after: i64,
}

/// The newest lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ListsRecord {
    /// The number of the lists.
    pub number: u64,
    /// The time at which they were signed, in Unix time.
    pub this_update: i64,
    /// The time until which they are accepted, in Unix time.
    pub next_update: i64,
    /// The lists, one for each key that signs.
    pub lists: Vec<Der>,
    /// The roots that members are to trust, the one that signs first.
    #[serde(default)]
    pub roots: Vec<Fingerprint>,
}

/// The newest lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The number of the lists.
    pub number: u64,
    /// The time at which they were signed, in Unix time.
    pub this_update: i64,
    /// The time until which they are accepted, in Unix time.
    pub next_update: i64,
    /// The lists in DER, one for each key that signs.
    pub lists: Vec<Der>,
    /// The roots that members are to trust, the one that signs first.
    pub roots: Vec<Fingerprint>,
}

impl From<ListsRecord> for Published {
    fn from(record: ListsRecord) -> Self {
        let ListsRecord { number, this_update, next_update, lists, roots } = record;
        Self { number, this_update, next_update, lists, roots }
    }
}

/// The characters of a token's id that people see.
const SHORT_ID: usize = 12;

/// Returns the part of a token's id that people see.
pub(super) fn short(id: &str) -> &str {
    id.get(..SHORT_ID).unwrap_or(id)
}

impl RevocationReason {
    /// Returns the code in a list; `None` without a reason (RFC 5280 section 5.3.1).
    pub(super) fn code(self) -> Option<rcgen::RevocationReason> {
        use rcgen::RevocationReason as Code;

        match self {
            Self::Unspecified => None,
            Self::KeyCompromise => Some(Code::KeyCompromise),
            Self::AffiliationChanged => Some(Code::AffiliationChanged),
            Self::Superseded => Some(Code::Superseded),
            Self::CessationOfOperation => Some(Code::CessationOfOperation),
            Self::PrivilegeWithdrawn => Some(Code::PrivilegeWithdrawn),
        }
    }
}

impl std::fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "key-compromise",
            Self::AffiliationChanged => "affiliation-changed",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessation-of-operation",
            Self::PrivilegeWithdrawn => "privilege-withdrawn",
        })
    }
}
