//! `authority.toml`: the addresses of a member's authority, and the keys that it is known by.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::EnrollError;
use crate::{enroll::token::is_address, files, fingerprint::Fingerprint};

/// The addresses of the authority, and the keys that it is known by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// The addresses, `HOST:PORT` each, tried in this order.
    pub addresses: Vec<String>,
    /// The roots, by their public keys. The authority may prove itself by any of them; there are several while
    /// it changes its root.
    pub authorities: Vec<Fingerprint>,
}

impl Contact {
    /// Reads the file; `None` if it does not exist.
    ///
    /// # Errors
    /// [`EnrollError`] when it cannot be used.
    pub fn load(path: &Path) -> Result<Option<Self>, EnrollError> {
        let bytes = match files::read_public(path) {
            Ok(bytes) => bytes,
            Err(error) if error.is_missing() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let unusable = |reason: String| EnrollError::Contact { path: path.to_owned(), reason };
        let text = std::str::from_utf8(&bytes).map_err(|error| unusable(error.to_string()))?;
        let contact: Self =
            toml::from_str(text).map_err(|error| unusable(error.message().to_owned()))?;
        if contact.addresses.is_empty() || contact.authorities.is_empty() {
            return Err(unusable("it names no address or no authority".into()));
        }
        match contact.addresses.iter().find(|address| !is_address(address)) {
            Some(address) => Err(unusable(format!("`{address}` is not HOST:PORT"))),
            None => Ok(Some(contact)),
        }
    }

    /// Returns the text of the file.
    pub(super) fn to_toml(&self, path: &Path) -> Result<String, EnrollError> {
        let text = toml::to_string(self).map_err(|error| EnrollError::Contact {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(format!("# Where this member's authority is, and the keys of its roots.\n{text}"))
    }
}
