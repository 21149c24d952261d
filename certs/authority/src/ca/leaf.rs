//! The specification of a leaf certificate.

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

/// The days that a leaf is valid by default.
pub const LEAF_DAYS: u32 = 365;

/// A use that a leaf allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Proving to be a server (id-kp-serverAuth).
    Server,
    /// Proving to be a client (id-kp-clientAuth).
    Client,
}

/// The specification of a leaf certificate. [`LeafSpec::server`] and [`LeafSpec::client`] make those
/// that rcmd issues. The fields are public so that a test can ask for one that must be refused.
#[derive(Clone, Debug)]
pub struct LeafSpec {
    /// The subject's common name: for people only, no decision depends on it.
    pub common_name: String,
    /// The DNS names and IP addresses.
    pub names: Vec<HostName>,
    /// The URIs in ASCII, `rcmd://…` among them.
    pub uris: Vec<String>,
    /// The extended key usages; empty writes no such extension.
    pub usages: Vec<Usage>,
    /// The start of validity.
    pub not_before: SystemTime,
    /// The end of validity.
    pub not_after: SystemTime,
}

impl LeafSpec {
    /// Returns the specification for a server that is reached by `names`: valid from 5 minutes ago for
    /// [`LEAF_DAYS`]. The first name is also written as `rcmd://host/NAME`.
    pub fn server(names: &[HostName]) -> Self {
        let first = names.first().map(ToString::to_string);
        let mut spec = Self::empty(first.clone().unwrap_or_default(), Usage::Server);
        spec.names = names.to_vec();
        spec.uris = first.into_iter().map(|name| format!("rcmd://host/{name}")).collect();
        spec
    }

    /// Returns the specification for a user with its groups: valid from 5 minutes ago for
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

    /// Returns this specification, valid until `days` days from now.
    #[must_use]
    pub fn for_days(mut self, days: u32) -> Self {
        self.not_after = days_after(SystemTime::now(), days);
        self
    }

    /// Returns this specification, valid from a little before `now`, in Unix time, until `life` after it.
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
