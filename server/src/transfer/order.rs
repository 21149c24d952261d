//! The order of a transfer: what its process is told first.

use std::{io, os::fd::OwnedFd, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::process::look::roots::Root;

/// What a process is to transfer. The folders of the roots are those that it was handed over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum TransferOrder {
    /// Receive into the one root.
    Receive {
        /// The root.
        roots: Vec<Root>,
        /// The number of folders.
        folders: usize,
        /// True if the client may learn which parts the files have that are replaced.
        is_delta: bool,
    },
    /// Send the roots.
    Send {
        /// The roots.
        roots: Vec<Root>,
        /// The number of folders.
        folders: usize,
    },
    /// List the one root.
    List {
        /// The root.
        roots: Vec<Root>,
        /// The number of folders.
        folders: usize,
        /// True if all that is known of each entry is listed.
        is_long: bool,
    },
}

impl TransferOrder {
    /// Returns the number of folders that were handed over.
    pub(super) fn folders(&self) -> usize {
        match self {
            Self::Receive { folders, .. }
            | Self::Send { folders, .. }
            | Self::List { folders, .. } => *folders,
        }
    }

    /// Returns the order in the form in which it is sent.
    ///
    /// # Errors
    /// If it can't be written as JSON.
    pub(crate) fn encode(&self) -> io::Result<Arc<[u8]>> {
        Ok(serde_json::to_vec(self)?.into())
    }

    /// Reads an order.
    ///
    /// # Errors
    /// If it is none.
    pub(super) fn decode(bytes: &[u8]) -> io::Result<Self> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

/// Returns the folder of a root, by its number.
///
/// # Errors
/// If there is none.
pub(super) fn folder_of(folders: &[Arc<OwnedFd>], number: usize) -> io::Result<Arc<OwnedFd>> {
    let missing = || io::Error::other("a root has no folder");
    folders.get(number).map(Arc::clone).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::look::roots::{PlaceKind, RootFailure};

    #[test]
    fn an_order_survives_the_way() {
        let source = Root::Source {
            folder: 0,
            entry: Some(b"\xff\n".to_vec()),
            name: b"x".to_vec(),
            size: u64::MAX,
        };
        let why = RootFailure { kind: "no_such_file".to_owned(), message: "no".to_owned() };
        let lost = Root::Lost { path: b"a/b".to_vec(), why };
        let kind = PlaceKind::Named(b"n".to_vec());
        let place = Root::Place { folder: 0, kind, is_home: true };
        for order in [
            TransferOrder::Send { roots: vec![source.clone(), lost], folders: 1 },
            TransferOrder::Receive { roots: vec![place], folders: 1, is_delta: true },
            TransferOrder::List { roots: vec![source], folders: 1, is_long: true },
        ] {
            assert_eq!(order.folders(), 1);
            assert_eq!(TransferOrder::decode(&order.encode().unwrap()).unwrap(), order);
        }
        assert!(TransferOrder::decode(b"{}").is_err());
    }
}
