//! The errors of signing.

use rcmd_certs::{enroll::key::KeyError, names::NameError, tls::TlsError, x509::X509Error};

/// The reason why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The authority's own files cannot be used.
    #[error(transparent)]
    Files(#[from] TlsError),
    /// A name was refused.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A server has no name that it is reached by.
    #[error("a server needs at least one name or address that clients reach it by")]
    NoNames,
    /// The certificate that should be an authority's is not.
    #[error("the certificate of `{0}` cannot sign others: it is not an authority's (CA:TRUE)")]
    NotAuthority(String),
    /// The authority has expired.
    #[error(
        "the authority expired {0} ago, so nothing that it signs would be trusted; \
         make a new one with `rcmd-certs init --dir NEW` and issue every certificate from it"
    )]
    Expired(String),
    /// The authority's certificate cannot be read.
    #[error("the authority's certificate is unusable: {0}")]
    Certificate(#[from] X509Error),
    /// A key could not be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// rcgen returned an error.
    #[error("the certificate could not be made: {0}")]
    Generate(#[from] rcgen::Error),
    /// The root of an intermediate was not found.
    #[error(
        "no root for the authority of `{0}`: append its issuer's certificates to {1}, \
         or put the root into ca.pem"
    )]
    NoRoot(String, String),
    /// There are no random numbers.
    #[error("the operating system gave no random numbers")]
    Random,
}
