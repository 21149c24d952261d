//! The authority at work: the requests to it, its records, its signatures.
//!
//! An [`AuthorityState`] holds the authority's key, its store and its journal; one process at a time has it.
//! Everything that is signed is in the journal and in the store before it is sent. A token's use and the
//! certificate that comes of it are one transaction, so that after a kill at any moment a token is used once
//! or not at all.
//!
//! ```text
//! checks -> signature -> journal line, synced -> transaction, committed -> answer
//! ```
//!
//! Nothing here uses the network or reads the clock: the time is an argument.

mod admin;
mod admin_client;
mod authority_state;
mod error;
mod journal;
mod listener;
mod listing;
mod members;
mod records;
mod revoke;
mod rotation;
mod settings;
mod snapshot;
mod store;
mod tokens;
mod trust;

pub use admin::{AdminRequest, AdminResponse};
pub use admin_client::AdminClient;
pub(crate) use admin_client::{MAX_ADMIN_REQUEST, respond, with_socket};
pub use authority_state::{AuthorityState, Granted};
pub use error::StateError;
pub use journal::JournalError;
pub(crate) use listener::ListenerIdentity;
pub use listing::{ListFacts, Listing, MemberFacts, MemberStanding, TokenFacts, TokenStanding};
pub use members::{Issue, KeyStanding};
pub use records::{MemberRecord, MemberRevocation, Published, RevocationReason, Step, TokenRecord};
pub use revoke::{Revoked, UnawareClients};
pub use rotation::{Rotation, RotationAction};
pub use settings::{AuthoritySettings, parse_span};
pub use snapshot::Snapshot;
pub use store::StoreError;
pub use tokens::{Application, NewToken};

#[cfg(test)]
mod tests;
