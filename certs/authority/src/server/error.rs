//! Why the authority does not serve.

use crate::state::StateError;

/// Why the authority does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The authority's own files cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The thread that owns the state ended.
    #[error("the authority stopped: {0}")]
    Stopped(String),
}
