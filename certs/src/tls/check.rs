//! Checks for what peers are going to object to, before one does.
//!
//! The results are findings and not errors: the peer's clock counts and not ours, and with an outside
//! authority the roots that sign servers need not be the ones that sign clients.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    CertificateError, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    server::WebPkiClientVerifier,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{
    config::provider,
    error::TlsError,
    files::{ClientFiles, ServerFiles},
    load, remedy, server_verifier,
};
use crate::{
    clock::{now_unix, span},
    files::shown,
    identity::IdentityError,
    mapping::Mapping,
    names::Kind,
    text::printable,
    x509::Certificate,
};

/// A doubt about a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFinding {
    /// The certificate's file.
    pub path: PathBuf,
    /// The problem with it.
    pub problem: Problem,
    /// The remedy.
    pub remedy: &'static str,
}

/// A problem with a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The certificate expired this many seconds ago by our clock.
    Expired(u64),
    /// The certificate becomes valid in this many seconds by our clock.
    NotYetValid(u64),
    /// The certificate is a client's at a server, or the other way round.
    WrongUsage {
        /// The use that is needed: `server` or `client`.
        needed: &'static str,
    },
    /// The certificate signed itself: no authority vouches for it.
    SelfSigned,
    /// The certificate is an authority's own (CA:TRUE), which no peer accepts for a server or a client.
    IsAuthority,
    /// No authority in the `ca.pem` beside the certificate signed it.
    ForeignAuthority {
        /// The issuer's name in the certificate.
        issuer: String,
    },
    /// The certificate names no user that a server could know.
    NoIdentity(IdentityError),
}

impl Problem {
    /// Returns what a member of this kind can do about the problem.
    fn remedy(&self, kind: Kind) -> &'static str {
        match self {
            Self::Expired(_) => remedy::renew(kind),
            Self::NotYetValid(_) => remedy::CLOCKS,
            _ => remedy::enroll_anew(kind),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired(seconds) => write!(f, "expired {} ago", span(*seconds)),
            Self::NotYetValid(seconds) => write!(
                f,
                "is not valid yet, for another {} (is this machine's clock right?)",
                span(*seconds)
            ),
            Self::WrongUsage { needed } => {
                write!(f, "is not for a {needed} (its extended key usage lacks {needed}Auth)")
            }
            Self::SelfSigned => f.write_str("is self-signed: no authority signed it"),
            Self::IsAuthority => {
                f.write_str("is an authority's own certificate (CA:TRUE), which no peer accepts")
            }
            Self::ForeignAuthority { issuer } => {
                write!(f, "was signed by `{issuer}`, which is not in ca.pem")
            }
            Self::NoIdentity(error) => write!(f, "identifies nobody: {error}"),
        }
    }
}

impl fmt::Display for CertificateFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}; {}", shown(&self.path), self.problem, self.remedy)
    }
}

/// Returns what clients are going to object to in a server's certificate; nothing if it is good.
///
/// # Errors
/// [`TlsError`] when a file cannot be read at all.
pub fn check_server(files: &ServerFiles) -> Result<Vec<CertificateFinding>, TlsError> {
    let (_, problems) =
        judge(Role::Server, &files.cert, &files.ca, &Mapping::load(&files.identity)?)?;
    Ok(findings(&files.cert, problems, Kind::Server))
}

/// Returns what servers are going to object to in a client's certificate; nothing if it is good.
///
/// # Errors
/// [`TlsError`] when a file cannot be read at all.
pub fn check_client(files: &ClientFiles) -> Result<Vec<CertificateFinding>, TlsError> {
    let mapping = Mapping::load(&files.identity)?;
    let (leaf, mut problems) = judge(Role::Client, &files.cert, &files.ca, &mapping)?;
    let by_rule =
        mapping.authorities().into_iter().find_map(|ca| mapping.identify(&leaf, Some(ca)).ok());
    let identity = by_rule.map_or_else(|| mapping.identify(&leaf, None), Ok);
    problems.extend(identity.err().map(Problem::NoIdentity));
    Ok(findings(&files.cert, problems, Kind::Client))
}

fn findings(path: &Path, problems: Vec<Problem>, kind: Kind) -> Vec<CertificateFinding> {
    problems
        .into_iter()
        .map(|problem| CertificateFinding {
            path: path.to_owned(),
            remedy: problem.remedy(kind),
            problem,
        })
        .collect()
}

/// The owner of a certificate.
#[derive(Clone, Copy)]
enum Role {
    Server,
    Client,
}

fn judge(
    role: Role,
    cert: &Path,
    ca: &Path,
    mapping: &Mapping,
) -> Result<(Certificate, Vec<Problem>), TlsError> {
    let (cert_remedy, ca_remedy) = match role {
        Role::Server => (remedy::enroll(Kind::Server), load::SERVER_CA_REMEDY),
        Role::Client => (remedy::enroll(Kind::Client), load::CLIENT_CA_REMEDY),
    };
    let chain = load::certificates(cert, cert_remedy)?;
    let mut roots = load::load_roots(ca, ca_remedy)?;
    for (_, outside) in server_verifier::external_roots(mapping)? {
        roots.extend(outside.roots);
    }
    let leaf = match chain.first() {
        Some(der) => load::read(cert, 1, der)?,
        None => return Err(TlsError::NoCertificate(cert.to_owned())),
    };

    let mut problems: Vec<Problem> = date_problem(&leaf, now_unix()).into_iter().collect();
    let (fits, needed) = match role {
        Role::Server => (leaf.usage.allows_server(), "server"),
        Role::Client => (leaf.usage.allows_client(), "client"),
    };
    if !fits {
        problems.push(Problem::WrongUsage { needed });
    }
    if leaf.is_ca {
        problems.push(Problem::IsAuthority);
    } else if is_foreign(role, roots, &chain, &leaf) {
        problems.push(if leaf.self_issued {
            Problem::SelfSigned
        } else {
            Problem::ForeignAuthority { issuer: printable(&leaf.issuer) }
        });
    }
    Ok((leaf, problems))
}

/// Returns whether no authority in `roots` signed the chain, whatever its dates.
fn is_foreign(
    role: Role,
    roots: RootCertStore,
    chain: &[CertificateDer<'static>],
    leaf: &Certificate,
) -> bool {
    let Some((der, rest)) = chain.split_first() else {
        return true;
    };
    // A moment within the leaf's validity, so that the issuer is judged apart from the dates.
    let moment = now_unix().max(leaf.not_before).min(leaf.not_after);
    let moment = Duration::from_secs(u64::try_from(moment).unwrap_or(0));
    let moment = UnixTime::since_unix_epoch(moment);
    let (roots, provider) = (Arc::new(roots), provider());
    let error = match role {
        Role::Server => {
            // Any name will do: the issuer is judged before the name.
            let name = ServerName::from(IpAddr::from(Ipv4Addr::LOCALHOST));
            WebPkiServerVerifier::builder_with_provider(roots, provider)
                .build()
                .map(|verifier| verifier.verify_server_cert(der, rest, &name, &[], moment).err())
        }
        Role::Client => WebPkiClientVerifier::builder_with_provider(roots, provider)
            .build()
            .map(|verifier| verifier.verify_client_cert(der, rest, moment).err()),
    };
    matches!(
        error,
        Ok(Some(rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature
        )))
    )
}

/// Returns the problem that a certificate's dates have at `now`, in Unix time.
pub fn date_problem(certificate: &Certificate, now: i64) -> Option<Problem> {
    if now > certificate.not_after {
        Some(Problem::Expired(now.abs_diff(certificate.not_after)))
    } else if now < certificate.not_before {
        Some(Problem::NotYetValid(now.abs_diff(certificate.not_before)))
    } else {
        None
    }
}
