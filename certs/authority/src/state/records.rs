//! What the authority keeps, record by record: the serialised form of the store.
//!
//! Every record is JSON under a key of text. A field is only ever added, with a default, so that an
//! older store stays readable.

use rcmd_certs::{enroll::token::Names, fingerprint::Fingerprint, names::Kind, pem::Der};
use serde::{Deserialize, Serialize};

use super::store::Table;

/// Tokens, by the SHA-256 of their secrets.
pub(super) const TOKENS: Table<TokenRecord> = Table::new("tokens");

/// What each use of a token gave, by `TOKEN/KEY`: the token's id and the member's key.
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

/// The one key of [`LISTS`].
pub(super) const NEWEST: &str = "newest";

/// Where members reach the authority, under [`LAST`]: what `serve` listened on last.
pub(super) const ADDRESSES: Table<Vec<String>> = Table::new("addresses");

/// The one key of [`ADDRESSES`].
pub(super) const LAST: &str = "last";

/// A token. Its secret is not here: the key of the record is the secret's SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// What it makes of its bearer.
    pub kind: Kind,
    /// The names that it gives.
    pub names: Names,
    /// The groups that it gives to a user.
    pub groups: Vec<String>,
    /// How often it may be used in all.
    pub uses: u32,
    /// How often it may still be used.
    pub left: u32,
    /// When it was made, in Unix time.
    pub made_at: i64,
    /// The last second in which it may be used, in Unix time.
    pub expires_at: i64,
    /// When it was revoked, in Unix time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<i64>,
}

/// One use of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UseRecord {
    /// The certificate that it gave.
    pub serial: String,
    /// When, in Unix time.
    pub at: i64,
}

/// A member: a key, and who holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// What it is.
    pub kind: Kind,
    /// The names in its certificates.
    pub names: Vec<String>,
    /// The user's groups.
    pub groups: Vec<String>,
    /// When its first certificate was signed, in Unix time.
    pub since: i64,
    /// When its last one was, in Unix time.
    pub renewed_at: i64,
    /// The serial number of its last certificate.
    pub serial: String,
    /// The last second of that certificate, in Unix time.
    pub not_after: i64,
    /// Whether it may renew: it came by a token, and not by `rcmd-certs issue`.
    pub enrolled: bool,
    /// Whether its certificate is for an emergency.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub break_glass: bool,
    /// The roots that it was given last.
    #[serde(default)]
    pub roots: Vec<Fingerprint>,
    /// Its revocation.
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

/// That a member was revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRevocation {
    /// When, in Unix time.
    pub at: i64,
    /// Why.
    pub reason: RevocationReason,
}

/// Why a certificate is revoked: those of RFC 5280 section 5.3.1 that make sense for a member.
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
    /// Another certificate takes its place.
    Superseded,
    /// The host or the user is gone.
    CessationOfOperation,
    /// What it was allowed to do was withdrawn.
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
    /// The key that signed it; none for one that this authority does not know.
    pub issuer: Option<Fingerprint>,
    /// When it was revoked, in Unix time.
    pub at: i64,
    /// Why.
    pub reason: RevocationReason,
    /// The last second of its validity, in Unix time. Afterwards it is taken off the list.
    pub not_after: i64,
}

/// The newest lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ListsRecord {
    /// Their number.
    pub number: u64,
    /// When they were signed, in Unix time.
    pub this_update: i64,
    /// Until when they are believed, in Unix time.
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
    /// Their number.
    pub number: u64,
    /// When they were signed, in Unix time.
    pub this_update: i64,
    /// Until when they are believed, in Unix time.
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

/// How much of a token's id people see, in characters.
const SHORT_ID: usize = 12;

/// Returns the part of a token's id that people see.
pub(super) fn short(id: &str) -> &str {
    id.get(..SHORT_ID).unwrap_or(id)
}

impl RevocationReason {
    /// Returns the code in a list; none for no reason (RFC 5280 section 5.3.1).
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
