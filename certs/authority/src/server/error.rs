//! The errors of serving.

use crate::state::StateError;

/// The reason why the authority does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The authority's own files cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The thread that owns the state ended.
    #[error("the authority stopped: {0}")]
    Stopped(String),
}
