//! The only parser of a client's identity.
//!
//! A client's certificate carries its user as a URI among its subject alternative names,
//! `rcmd://user/NAME`, and each of the user's groups as `rcmd://group/NAME`. The rules are strict,
//! because it would be a security hole if a lenient reader and a strict one saw different users in the same
//! certificate: the scheme and the kind are lower case, the name follows [`names`], and there is no
//! percent-encoding, no second slash, no query, no port and no userinfo. Exactly one URI names a
//! user. One more may stand beside it, [`BREAK_GLASS`]. A URI that begins with `rcmd:` in any case and
//! has another form is an error. URIs of other schemes, DNS names and the subject are ignored, so
//! another authority's certificates work once they carry the one URI.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use rustls_pki_types::CertificateDer;

use crate::{
    clock::BACKDATE,
    names::{self, NameError},
    text::printable,
    x509::{Certificate, X509Error},
};

/// The most groups that one certificate may carry.
pub const MAX_GROUPS: usize = 64;

/// The URI that marks a certificate for an emergency. Such a certificate is accepted without a revocation
/// list, is valid for [`BREAK_GLASS_LIFE`] at most, and its use is audited as such.
pub const BREAK_GLASS: &str = "rcmd://break-glass";

/// The longest life of a certificate for an emergency, from now. Its validity begins [`BACKDATE`] before
/// that.
pub const BREAK_GLASS_LIFE: Duration = Duration::from_secs(60 * 60);

const USER: &str = "rcmd://user/";
const GROUP: &str = "rcmd://group/";

/// The identity of a client, as a verified certificate states it.
///
/// Trust is not judged here: the TLS handshake has judged the chain before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    user: String,
    groups: Vec<String>,
    serial: String,
    not_after: i64,
    fingerprint: String,
    break_glass: bool,
}

/// The reason why a certificate names no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The connection has no peer certificate.
    #[error("the peer presented no certificate; enroll it, or issue it one with `rcmd-certs`")]
    NoCertificate,
    /// The certificate cannot be read.
    #[error(transparent)]
    Certificate(#[from] X509Error),
    /// No URI names a user.
    #[error(
        "the certificate names no user: it needs the URI `{USER}NAME` among its subject \
         alternative names, as a token of `rcmd-certs token client NAME` gives it"
    )]
    NoUser,
    /// The certificate has more than one URI that names a user.
    #[error("the certificate names {0} users; exactly one is allowed")]
    ManyUsers(usize),
    /// The certificate names more groups than [`MAX_GROUPS`].
    #[error("the certificate names {0} groups; at most {MAX_GROUPS} are allowed")]
    ManyGroups(usize),
    /// The certificate names a group twice.
    #[error("the certificate names the group `{0}` twice")]
    RepeatedGroup(String),
    /// An rcmd URI of another form.
    #[error("`{}` is not of the form {USER}NAME or {GROUP}NAME", printable(.0))]
    Malformed(String),
    /// A user's or group's name is not allowed.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A certificate for an emergency that lives too long.
    #[error(
        "the certificate is for an emergency and valid for more than an hour; \
         `rcmd-certs issue client NAME --break-glass` makes a shorter one"
    )]
    LongBreakGlass,
    /// Subject alternative names that cannot be read.
    #[error("{0} of the certificate's subject alternative names cannot be read")]
    BrokenNames(usize),
}

impl Identity {
    /// Returns the identity of a TLS peer, from its chain as rustls's `peer_certificates` returns it.
    ///
    /// # Errors
    /// [`IdentityError`] when there is no chain, or its first certificate names no identity.
    pub fn of_peer(chain: Option<&[CertificateDer<'_>]>) -> Result<Self, IdentityError> {
        let leaf = chain.and_then(<[_]>::first).ok_or(IdentityError::NoCertificate)?;
        Self::from_der(leaf)
    }

    /// Returns the identity in one certificate in DER.
    ///
    /// # Errors
    /// [`IdentityError`] when it names no identity, or more than one.
    pub fn from_der(leaf: &[u8]) -> Result<Self, IdentityError> {
        Self::from_certificate(&Certificate::parse(leaf)?)
    }

    /// Returns the identity in a certificate that was read already.
    ///
    /// # Errors
    /// As [`Identity::from_der`].
    pub fn from_certificate(leaf: &Certificate) -> Result<Self, IdentityError> {
        if leaf.names.broken > 0 {
            return Err(IdentityError::BrokenNames(leaf.names.broken));
        }
        let claims = read_uris(leaf.names.uris.iter().map(String::as_str))?;
        let life = leaf.not_after.abs_diff(leaf.not_before);
        // Dates are in whole seconds, and two readings of the clock may fall into different ones.
        if claims.break_glass && life > (BREAK_GLASS_LIFE + BACKDATE).as_secs() + 1 {
            return Err(IdentityError::LongBreakGlass);
        }
        Ok(Self::claimed(leaf, claims))
    }

    /// Returns the identity that a rule of [`Mapping`](crate::mapping::Mapping) found; the names
    /// are checked.
    pub(crate) fn mapped(leaf: &Certificate, user: String, groups: Vec<String>) -> Self {
        Self::claimed(leaf, Claims { user, groups, break_glass: false })
    }

    fn claimed(leaf: &Certificate, Claims { user, groups, break_glass }: Claims) -> Self {
        Self {
            user,
            groups,
            break_glass,
            serial: leaf.serial.clone(),
            not_after: leaf.not_after,
            fingerprint: leaf.fingerprint.clone(),
        }
    }

    /// Returns the user's name, as allowed by [`names::check_user`].
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Returns the groups' names in the order of the certificate, at most [`MAX_GROUPS`].
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Returns the certificate's serial number in lower-case hexadecimal, at most 64 characters.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// Returns the last second of the certificate's validity, in Unix time.
    pub fn not_after_unix(&self) -> i64 {
        self.not_after
    }

    /// Returns the end of the certificate's validity. A date before 1970 is the epoch.
    pub fn not_after(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(self.not_after).unwrap_or(0))
    }

    /// Returns whether the certificate is for an emergency ([`BREAK_GLASS`]): no revocation list is
    /// needed for it, and whatever is done with it is audited as such.
    pub fn is_break_glass(&self) -> bool {
        self.break_glass
    }

    /// Returns the SHA-256 of the certificate, in lower-case hexadecimal.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// `user:NAME`, the form of logs and of policy. It holds no group and no serial, so it stays the
/// same across renewals.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user:{}", self.user)
    }
}

/// Returns the URI that names `user` in a certificate.
///
/// # Errors
/// [`NameError`] when no user may have this name.
pub fn user_uri(user: &str) -> Result<String, NameError> {
    names::check_user(user)?;
    Ok(format!("{USER}{user}"))
}

/// Returns the URI that names `group` in a certificate.
///
/// # Errors
/// [`NameError`] when no group may have this name.
pub fn group_uri(group: &str) -> Result<String, NameError> {
    names::check_group(group)?;
    Ok(format!("{GROUP}{group}"))
}

/// The contents of a certificate's URIs.
#[derive(Debug, PartialEq)]
struct Claims {
    user: String,
    groups: Vec<String>,
    break_glass: bool,
}

fn read_uris<'a>(uris: impl Iterator<Item = &'a str>) -> Result<Claims, IdentityError> {
    let mut users = Vec::new();
    let mut break_glass = false;
    let mut groups: Vec<String> = Vec::new();
    for uri in uris.filter(|uri| is_ours(uri)) {
        if let Some(name) = uri.strip_prefix(USER) {
            names::check_user(name)?;
            users.push(name);
        } else if let Some(name) = uri.strip_prefix(GROUP) {
            names::check_group(name)?;
            if groups.iter().any(|group| group == name) {
                return Err(IdentityError::RepeatedGroup(name.to_owned()));
            }
            groups.push(name.to_owned());
            if groups.len() > MAX_GROUPS {
                return Err(IdentityError::ManyGroups(groups.len()));
            }
        } else if uri == BREAK_GLASS {
            break_glass = true;
        } else {
            return Err(IdentityError::Malformed(uri.to_owned()));
        }
    }
    match users.as_slice() {
        [] => Err(IdentityError::NoUser),
        [user] => Ok(Claims { user: (*user).to_owned(), groups, break_glass }),
        many => Err(IdentityError::ManyUsers(many.len())),
    }
}

/// Returns whether the scheme of a URI is `rcmd`, in upper or lower case. The rest of the URI is not checked.
fn is_ours(uri: &str) -> bool {
    uri.as_bytes().get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"rcmd:"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, SanType};

    use super::*;

    fn read(uris: &[&str]) -> Result<(String, Vec<String>), IdentityError> {
        read_uris(uris.iter().copied()).map(|claims| (claims.user, claims.groups))
    }

    #[test]
    fn one_user_and_its_groups_are_read_in_order() {
        let (user, groups) =
            read(&["rcmd://group/b", "rcmd://user/alice", "rcmd://group/a"]).unwrap();
        assert_eq!(user, "alice");
        assert_eq!(groups, ["b", "a"]);
    }

    #[test]
    fn foreign_uris_are_ignored() {
        let uris = ["spiffe://example.org/alice", "https://a/rcmd://user/eve", "rcmd://user/alice"];
        assert_eq!(read(&uris).unwrap().0, "alice");
    }

    #[test]
    fn a_certificate_without_a_user_is_never_guessed_at() {
        assert_eq!(read(&[]), Err(IdentityError::NoUser));
        assert_eq!(read(&["spiffe://example.org/alice"]), Err(IdentityError::NoUser));
        assert_eq!(read(&["rcmd://group/admin"]), Err(IdentityError::NoUser));
        assert!(IdentityError::NoUser.to_string().contains("rcmd://user/NAME"));
    }

    #[test]
    fn two_users_are_refused_even_when_they_are_the_same() {
        let twice = ["rcmd://user/alice", "rcmd://user/alice"];
        assert_eq!(read(&twice), Err(IdentityError::ManyUsers(2)));
    }

    #[test]
    fn every_other_form_is_refused() {
        for uri in [
            "rcmd://user/",
            "rcmd://user/alice/",
            "rcmd://user/alice/../bob",
            "rcmd://user/../user/bob",
            "rcmd://user//alice",
            "rcmd://user/alice\0",
            "rcmd://user/alice\0.example",
            "rcmd://user/al\u{1b}[2Jice",
            "rcmd://user/al\nice",
            "rcmd://user/%61lice",
            "rcmd://user/alice?x=1",
            "rcmd://user/alice#x",
            "rcmd://eve@user/alice",
            "rcmd://user:7263/alice",
            "RCMD://user/alice",
            "rcmd://User/alice",
            "rcmd://USER/alice",
            "rcmd:/user/alice",
            "rcmd:user/alice",
            "rcmd:",
            "rcmd://host/web1",
            "rcmd://role/root",
            "rcmd://break-glass/",
            "rcmd://Break-Glass",
            "rcmd://user/zoë",
            "rcmd://user/ alice",
        ] {
            assert!(read(&[uri]).is_err(), "{uri:?} was taken");
            assert!(read(&["rcmd://user/alice", uri]).is_err(), "{uri:?} beside a user was taken");
        }
    }

    #[test]
    fn groups_are_bounded_and_distinct() {
        let mut uris = vec!["rcmd://user/alice".to_owned()];
        uris.extend((0..MAX_GROUPS).map(|number| format!("rcmd://group/g{number}")));
        assert_eq!(read_uris(uris.iter().map(String::as_str)).unwrap().groups.len(), MAX_GROUPS);
        uris.push("rcmd://group/more".to_owned());
        let refused = read_uris(uris.iter().map(String::as_str));
        assert_eq!(refused, Err(IdentityError::ManyGroups(MAX_GROUPS + 1)));
        let twice = ["rcmd://user/a", "rcmd://group/x", "rcmd://group/x"];
        assert_eq!(read(&twice), Err(IdentityError::RepeatedGroup("x".into())));
    }

    #[test]
    fn an_emergency_is_marked_and_short() {
        let identity = |life: Duration| {
            let mut leaf = CertificateParams::default();
            leaf.subject_alt_names = ["rcmd://user/alice", BREAK_GLASS]
                .map(|uri| SanType::URI(uri.try_into().unwrap()))
                .to_vec();
            let now = SystemTime::now();
            leaf.not_before = (now - BACKDATE).into();
            leaf.not_after = (now + life).into();
            let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
            Identity::from_der(leaf.self_signed(&key).unwrap().der())
        };
        assert!(identity(BREAK_GLASS_LIFE).unwrap().is_break_glass());
        let long = identity(2 * BREAK_GLASS_LIFE);
        assert_eq!(long, Err(IdentityError::LongBreakGlass));
        assert_eq!(read(&[BREAK_GLASS]), Err(IdentityError::NoUser));
    }

    #[test]
    fn a_refusal_prints_no_control_byte() {
        for uri in ["rcmd://user/\u{1b}[2J", "rcmd:\u{7}\n"] {
            let message = read(&[uri]).unwrap_err().to_string();
            assert!(!message.chars().any(char::is_control), "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(user in "[A-Za-z0-9_][A-Za-z0-9._@+-]{0,63}") {
            let uri = user_uri(&user).unwrap();
            prop_assert_eq!(read(&[&uri]).unwrap().0, user);
        }

        #[test]
        fn whatever_is_taken_can_be_written_again(rest in "\\PC{0,20}|[ -~\\x00]{0,20}") {
            let uri = format!("rcmd://user/{rest}");
            if let Ok((user, _)) = read(&[&uri]) {
                prop_assert_eq!(user_uri(&user).unwrap(), uri);
            }
        }
    }
}
