//! What a leaf certificate is to say.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType, SerialNumber,
};
use rcmd_certs::{
    clock::BACKDATE,
    identity::{group_uri, user_uri},
    names::{HostName, NameError},
};

use super::{
    error::AuthorityError,
    params::{common_name, days_after, in_calendar, random_serial},
};

/// How long a leaf lasts unless told otherwise.
pub const LEAF_DAYS: u32 = 365;

/// What a leaf may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// A server proves itself (id-kp-serverAuth).
    Server,
    /// A client proves itself (id-kp-clientAuth).
    Client,
}

/// What a leaf certificate is to say. [`LeafSpec::server`] and [`LeafSpec::client`] make the ones
/// that rcmd issues; the fields are open so that a test can ask for one that it should refuse.
#[derive(Clone, Debug)]
pub struct LeafSpec {
    /// The subject's common name: for people only, nothing is decided by it.
    pub common_name: String,
    /// DNS names and addresses.
    pub names: Vec<HostName>,
    /// URIs, `rcmd://…` among them. ASCII.
    pub uris: Vec<String>,
    /// The extended key usages; empty writes no such extension.
    pub usages: Vec<Usage>,
    /// The start of validity.
    pub not_before: SystemTime,
    /// The end of validity.
    pub not_after: SystemTime,
}

impl LeafSpec {
    /// Returns a server that is reached by `names`: valid from 5 minutes ago for [`LEAF_DAYS`]. The
    /// first name is also written as `rcmd://host/NAME`.
    pub fn server(names: &[HostName]) -> Self {
        let first = names.first().map(ToString::to_string);
        let mut spec = Self::empty(first.clone().unwrap_or_default(), Usage::Server);
        spec.names = names.to_vec();
        spec.uris = first.into_iter().map(|name| format!("rcmd://host/{name}")).collect();
        spec
    }

    /// Returns a user, and the groups that it belongs to: valid from 5 minutes ago for
    /// [`LEAF_DAYS`].
    ///
    /// # Errors
    /// [`NameError`] when a name is not allowed.
    pub fn client(user: &str, groups: &[String]) -> Result<Self, NameError> {
        let mut spec = Self::empty(user.to_owned(), Usage::Client);
        spec.uris.push(user_uri(user)?);
        for group in groups {
            let uri = group_uri(group)?;
            if !spec.uris.contains(&uri) {
                spec.uris.push(uri);
            }
        }
        Ok(spec)
    }

    fn empty(common_name: String, usage: Usage) -> Self {
        let now = SystemTime::now();
        Self {
            common_name,
            names: Vec::new(),
            uris: Vec::new(),
            usages: vec![usage],
            not_before: now - BACKDATE,
            not_after: days_after(now, LEAF_DAYS),
        }
    }

    /// Returns this specification, ending in `days` days.
    #[must_use]
    pub fn for_days(mut self, days: u32) -> Self {
        self.not_after = days_after(SystemTime::now(), days);
        self
    }

    /// Returns this specification, valid from a little before `now`, in Unix time, and for `life` after it.
    #[must_use]
    pub fn valid_from(mut self, now: i64, life: Duration) -> Self {
        let now = UNIX_EPOCH + Duration::from_secs(u64::try_from(now).unwrap_or(0));
        self.not_before = now - BACKDATE;
        self.not_after = now + life;
        self
    }

    pub(super) fn params(&self, latest: SystemTime) -> Result<CertificateParams, AuthorityError> {
        if self.usages.contains(&Usage::Server) && self.names.is_empty() {
            return Err(AuthorityError::NoNames);
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(&subject(&self.common_name));
        params.serial_number = Some(SerialNumber::from(random_serial()?));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        params.not_before = in_calendar(self.not_before).into();
        params.not_after = in_calendar(self.not_after.min(latest)).into();
        params.extended_key_usages = self
            .usages
            .iter()
            .map(|usage| match usage {
                Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
                Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
            })
            .collect();
        for name in &self.names {
            params.subject_alt_names.push(match name {
                HostName::Dns(name) => SanType::DnsName(name.as_str().try_into()?),
                HostName::Ip(address) => SanType::IpAddress(*address),
            });
        }
        for uri in &self.uris {
            params.subject_alt_names.push(SanType::URI(uri.as_str().try_into()?));
        }
        Ok(params)
    }
}

/// Cuts a common name to 64 characters (RFC 5280 appendix A, ub-common-name).
fn subject(name: &str) -> String {
    name.chars().take(64).collect()
}
