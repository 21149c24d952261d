//! The store: a file of redb, which commits a transaction whole or not at all, even when the process
//! is killed.
//!
//! Only one process at a time has it open: redb locks the file.
#![expect(
    clippy::disallowed_methods,
    reason = "the authority's thread, and programs that serve nobody"
)]

mod guard;

use std::{
    cell::Cell,
    fs::{self, OpenOptions, Permissions},
    io,
    marker::PhantomData,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rcmd_certs::files::shown;
use redb::{Database, DatabaseError, ReadableTable as _, TableDefinition, WriteTransaction};
use serde::{Serialize, de::DeserializeOwned};

use self::guard::guarded;

/// The memory for pages of the file, in bytes. redb's own default of 1 GiB is meant for other uses.
const CACHE: usize = 8 * 1024 * 1024;

/// The reason why the store could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the store open.
    #[error("{} is in use by another `rcmd-certs`", shown(.0))]
    InUse(PathBuf),
    /// The store cannot be opened.
    #[error("{} cannot be opened: {reason}", shown(path))]
    Open {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The content of the store is not what redb wrote.
    #[error("{} is damaged; restore it from a backup (`rcmd-certs restore`)", shown(.0))]
    Damaged(PathBuf),
    /// The store cannot be read or written.
    #[error("the authority's store failed: {0}")]
    Failed(String),
    /// A record that this version does not understand.
    #[error("the authority's store has a record in `{table}` that cannot be read: {reason}")]
    Record {
        /// The table.
        table: &'static str,
        /// The reason.
        reason: String,
    },
}

fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError::Failed(error.to_string())
}

/// A table of records of one type.
#[derive(Debug)]
pub(super) struct Table<R> {
    name: &'static str,
    record: PhantomData<R>,
}

impl<R> Table<R> {
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, record: PhantomData }
    }

    fn definition(&self) -> TableDefinition<'static, &'static str, &'static [u8]> {
        TableDefinition::new(self.name)
    }
}

/// The open store.
#[derive(Debug)]
pub(super) struct Store {
    /// The database; `None` only while this is dropped.
    database: Option<Database>,
    path: PathBuf,
}

impl Store {
    /// Opens the store, and makes an empty one if there is none.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let unusable = |reason: String| StoreError::Open { path: path.to_owned(), reason };
        create_private(path).map_err(|error| unusable(error.to_string()))?;
        // `create` also accepts an existing file: an empty one becomes a store.
        let opened = guarded(|| Database::builder().set_cache_size(CACHE).create(path));
        let opened = opened.ok_or_else(|| StoreError::Damaged(path.to_owned()))?;
        let database = opened.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.to_owned()),
            other => unusable(other.to_string()),
        })?;
        Ok(Self { database: Some(database), path: path.to_owned() })
    }

    /// Carries out work on the database.
    fn work<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, E>,
    ) -> Result<T, E> {
        let damaged = || E::from(StoreError::Damaged(self.path.clone()));
        let database = self.database.as_ref().ok_or_else(damaged)?;
        guarded(|| work(database)).unwrap_or_else(|| Err(damaged()))
    }

    /// Runs `work` in one transaction and commits it; after an error nothing of it remains. Work that changes
    /// nothing costs no sync.
    pub(super) fn change<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        self.work(|database| {
            let mut inner = database.begin_write().map_err(failed)?;
            // After a kill, the store then opens at once, and checksums alone never decide whether a commit is valid.
            inner.set_quick_repair(true);
            let transaction = Transaction { inner, changed: Cell::new(false) };
            let done = work(&transaction)?;
            if transaction.changed.get() {
                transaction.inner.commit().map_err(failed)?;
            } else {
                transaction.inner.abort().map_err(failed)?;
            }
            Ok(done)
        })
    }

    /// Runs `work`, which only reads.
    pub(super) fn look<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        self.work(|database| {
            let inner = database.begin_write().map_err(failed)?;
            let transaction = Transaction { inner, changed: Cell::new(false) };
            let seen = work(&transaction)?;
            transaction.inner.abort().map_err(failed)?;
            Ok(seen)
        })
    }
}

impl Drop for Store {
    /// Closes the database, which writes to it.
    fn drop(&mut self) {
        let database = self.database.take();
        let _ = guarded(|| drop(database));
    }
}

/// Creates the file if it is missing. The mode is set at the creation: at no moment may others open it.
fn create_private(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => fs::set_permissions(path, Permissions::from_mode(0o600)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// A transaction.
pub(super) struct Transaction {
    inner: WriteTransaction,
    changed: Cell<bool>,
}

impl Transaction {
    pub(super) fn get<R: DeserializeOwned>(
        &self,
        table: &Table<R>,
        key: &str,
    ) -> Result<Option<R>, StoreError> {
        let rows = self.inner.open_table(table.definition()).map_err(failed)?;
        let found = rows.get(key).map_err(failed)?;
        found.map(|bytes| parse(table, bytes.value())).transpose()
    }

    pub(super) fn put<R: Serialize>(
        &self,
        table: &Table<R>,
        key: &str,
        record: &R,
    ) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(record).map_err(failed)?;
        let mut rows = self.inner.open_table(table.definition()).map_err(failed)?;
        rows.insert(key, bytes.as_slice()).map_err(failed)?;
        self.changed.set(true);
        Ok(())
    }

    pub(super) fn remove<R>(&self, table: &Table<R>, key: &str) -> Result<(), StoreError> {
        let mut rows = self.inner.open_table(table.definition()).map_err(failed)?;
        rows.remove(key).map_err(failed)?;
        self.changed.set(true);
        Ok(())
    }

    /// Returns all records, in the order of their keys.
    pub(super) fn all<R: DeserializeOwned>(
        &self,
        table: &Table<R>,
    ) -> Result<Vec<(String, R)>, StoreError> {
        let rows = self.inner.open_table(table.definition()).map_err(failed)?;
        let mut all = Vec::new();
        for row in rows.iter().map_err(failed)? {
            let (key, bytes) = row.map_err(failed)?;
            all.push((key.value().to_owned(), parse(table, bytes.value())?));
        }
        Ok(all)
    }
}

fn parse<R: DeserializeOwned>(table: &Table<R>, bytes: &[u8]) -> Result<R, StoreError> {
    serde_json::from_slice(bytes)
        .map_err(|error| StoreError::Record { table: table.name, reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: Table<u32> = Table::new("numbers");

    #[test]
    fn a_transaction_is_whole_or_nothing() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("store.redb");
        let store = Store::open(&path).unwrap();
        let refused: Result<(), StoreError> = store.change(|rows| {
            rows.put(&NUMBERS, "one", &1)?;
            Err(StoreError::Failed("changed my mind".into()))
        });
        assert!(refused.is_err());
        store.change(|rows| rows.put(&NUMBERS, "two", &2)).unwrap();
        drop(store);
        let store = Store::open(&path).unwrap();
        let all = store.look(|rows| rows.all(&NUMBERS)).unwrap();
        assert_eq!(all, [("two".to_owned(), 2)]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    }

    #[test]
    fn only_one_has_it_open() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("store.redb");
        let first = Store::open(&path).unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::InUse(_))));
        drop(first);
        Store::open(&path).unwrap();
    }

    #[test]
    fn damage_to_any_page_is_told_with_the_name_of_the_file_or_does_no_harm() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("store.redb");
        let store = Store::open(&path).unwrap();
        for n in 0..40 {
            store.change(|rows| rows.put(&NUMBERS, &format!("number {n}"), &n)).unwrap();
        }
        drop(store);
        let good = fs::read(&path).unwrap();
        let mut damaged = 0;
        // Pages have 4 KiB, and begin with the kind of what they hold. The first has the file's own header.
        for (page, value) in (1..good.len() / 4096).flat_map(|page| [(page, 0), (page, 7)]) {
            let mut bytes = good.clone();
            bytes[page * 4096] = value;
            fs::write(&path, bytes).unwrap();
            let read = Store::open(&path)
                .and_then(|store| store.look(|rows| rows.all(&NUMBERS)).map(|all| all.len()));
            if let Err(error) = read {
                assert!(error.to_string().contains("store"), "{error}");
                damaged += usize::from(matches!(error, StoreError::Damaged(_)));
            }
        }
        assert!(damaged > 0, "redb no longer panics, and the guard can go");
    }

    #[test]
    fn a_file_that_is_no_store_is_refused_with_its_name() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("store.redb");
        fs::write(&path, [7; 10_000]).unwrap();
        let message = Store::open(&path).unwrap_err().to_string();
        assert!(message.contains("store.redb"), "{message}");
    }
}
