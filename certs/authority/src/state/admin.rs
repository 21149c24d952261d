//! Administrative requests as data: the same for a command that has the state open and for one that
//! asks a running `rcmd-certs serve`.

use std::fmt;

use rcmd_certs::{pem::Der, secret::Confidential, text::printable};
use serde::{Deserialize, Serialize};

use super::{
    authority_state::AuthorityState,
    error::StateError,
    listing::Listing,
    members::Issue,
    records::RevocationReason,
    revoke::Revoked,
    rotation::{Rotation, RotationAction},
    snapshot::Snapshot,
    tokens::NewToken,
};
use crate::ca::ProvenKey;

/// An administrative request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminRequest {
    /// Make a token.
    Token(NewToken),
    /// Sign a certificate without a token.
    Issue {
        /// The contents of the certificate.
        issue: Issue,
        /// A certification request for its key.
        request: Der,
    },
    /// Revoke the members, certificates or tokens of this name.
    Revoke {
        /// A name, a serial number or a token's id.
        what: String,
        /// The reason.
        reason: RevocationReason,
        /// True if a serial number that is not known here is to go on the list too.
        unlisted: bool,
    },
    /// List members and tokens.
    #[serde(rename = "census")]
    Listing,
    /// Copy the store for a backup.
    Snapshot,
    /// Carry a rotation on.
    Rotate(RotationAction),
}

/// The request on one short line, for the log; the journal has the rest.
impl fmt::Display for AdminRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(NewToken { kind, names, .. }) => {
                write!(f, "a token, {kind} {}", printable(&names.to_string()))
            }
            Self::Issue { issue: Issue { kind, names, .. }, .. } => {
                write!(f, "a certificate, {kind} {}", printable(&names.join(", ")))
            }
            Self::Revoke { what, .. } => write!(f, "the revocation of {}", printable(what)),
            Self::Listing => f.write_str("the list of members and tokens"),
            Self::Snapshot => f.write_str("a copy of the store"),
            Self::Rotate(RotationAction::Tell) => f.write_str("how the rotation stands"),
            Self::Rotate(RotationAction::Abort) => f.write_str("the end of the rotation"),
            Self::Rotate(RotationAction::Next | RotationAction::Force) => {
                f.write_str("the next step of the rotation")
            }
        }
    }
}

/// The answer to an administrative request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminResponse {
    /// The token's text.
    Token(Confidential<String>),
    /// A certificate, then its intermediates.
    Certificate(Vec<Der>),
    /// The members, certificates and tokens that were revoked.
    Revoked(Revoked),
    /// The members and tokens.
    #[serde(rename = "census")]
    Listing(Listing),
    /// A copy of the store.
    Snapshot(Snapshot),
    /// The state of the rotation.
    Rotation(Rotation),
    /// A refusal or a failure, after which nothing has changed. Contains the reason, for people.
    Failed(String),
}

impl AuthorityState {
    /// Carries out a request.
    ///
    /// # Errors
    /// [`StateError`]; then nothing was changed.
    pub fn execute(&self, request: AdminRequest, now: i64) -> Result<AdminResponse, StateError> {
        Ok(match request {
            AdminRequest::Token(new) => {
                AdminResponse::Token(Confidential::new(self.token(new, now)?.to_string()))
            }
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
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcmd_certs::names::Kind;

    use super::*;

    #[test]
    fn what_an_operator_asks_is_logged_on_one_short_line() {
        let issue = Issue {
            kind: Kind::Client,
            names: vec!["dave\n".into()],
            groups: vec!["ops".into()],
            life: Duration::from_secs(60),
            break_glass: false,
        };
        let request = AdminRequest::Issue { issue, request: Der(vec![48; 300]) };
        assert_eq!(request.to_string(), "a certificate, client dave\\u{a}");
        let revoke = AdminRequest::Revoke {
            what: "x".repeat(9000),
            reason: RevocationReason::Unspecified,
            unlisted: false,
        };
        assert!(revoke.to_string().len() < 300, "{revoke}");
    }
}
