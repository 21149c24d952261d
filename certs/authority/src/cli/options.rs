//! Options that several commands have.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use rcmd_authority::{ca, state::RevocationReason};
use rcmd_certs::{enroll::key, paths::Layout};

#[derive(Args, Debug)]
pub(super) struct DirOption {
    /// Authority's folder [default: $RCMD_DIR, /etc/rcmd]
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
}

impl DirOption {
    pub(super) fn layout(&self) -> Layout {
        Layout::for_host(self.dir.as_deref())
    }
}

#[derive(Args, Clone, Copy, Debug)]
pub(super) struct KeyOptions {
    /// Kind of key
    #[arg(long, value_enum, value_name = "KIND", default_value_t)]
    pub(super) algorithm: Algorithm,
}

#[derive(Args, Debug)]
pub(super) struct IssueOptions {
    #[command(flatten)]
    pub(super) dir: DirOption,
    /// Write into this folder, with ca.pem beside, to be moved to another machine
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Days until the certificate expires
    #[arg(long, value_name = "N", default_value_t = ca::LEAF_DAYS)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(super) days: u32,
    #[command(flatten)]
    pub(super) key: KeyOptions,
    /// Replace an existing certificate and key
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Algorithm {
    /// Fastest, and known to every TLS 1.3 library
    #[default]
    Ed25519,
    /// For hardware modules and organizations that require it
    EcdsaP256,
}

/// The reason of a revocation.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Reason {
    /// No reason given
    #[default]
    Unspecified,
    /// Somebody else may have the key
    KeyCompromise,
    /// Its names or groups are no longer right
    AffiliationChanged,
    /// Another certificate takes its place
    Superseded,
    /// The host or the user is gone
    CessationOfOperation,
    /// Its rights were withdrawn
    PrivilegeWithdrawn,
}

impl From<Reason> for RevocationReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Unspecified => Self::Unspecified,
            Reason::KeyCompromise => Self::KeyCompromise,
            Reason::AffiliationChanged => Self::AffiliationChanged,
            Reason::Superseded => Self::Superseded,
            Reason::CessationOfOperation => Self::CessationOfOperation,
            Reason::PrivilegeWithdrawn => Self::PrivilegeWithdrawn,
        }
    }
}

impl From<KeyOptions> for key::KeyAlgorithm {
    fn from(options: KeyOptions) -> Self {
        match options.algorithm {
            Algorithm::Ed25519 => Self::Ed25519,
            Algorithm::EcdsaP256 => Self::EcdsaP256,
        }
    }
}
