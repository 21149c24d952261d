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

use self::guard::Guarded;

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
    database: Guarded<Database>,
}

impl Store {
    /// Opens the store, and makes an empty one if there is none.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let unusable = |reason: String| StoreError::Open { path: path.to_owned(), reason };
        create_private(path).map_err(|error| unusable(error.to_string()))?;
        // `create` also accepts an existing file: an empty one becomes a store.
        let opened =
            Guarded::new(path.into(), || Database::builder().set_cache_size(CACHE).create(path))?;
        let database = opened.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.to_owned()),
            other => unusable(other.to_string()),
        })?;
        Ok(Self { database })
    }

    /// Runs `work` in one transaction and commits it; after an error nothing of it remains. Work that changes
    /// nothing costs no sync.
    pub(super) fn change<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        let transaction = self.begin()?;
        let done = work(&transaction)?;
        match transaction.changed.get() {
            true => transaction.inner.end(|inner| Ok(inner.commit()?))?,
            false => transaction.inner.end(|inner| Ok(inner.abort()?))?,
        }
        Ok(done)
    }

    /// Runs `work`, which only reads.
    pub(super) fn look<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        let transaction = self.begin()?;
        let seen = work(&transaction)?;
        transaction.inner.end(|inner| Ok(inner.abort()?))?;
        Ok(seen)
    }

    fn begin(&self) -> Result<Transaction, StoreError> {
        let inner = self.database.work(|database| {
            let mut inner = database.begin_write()?;
            // After a kill, the store then opens at once, and checksums alone never decide whether a commit is valid.
            inner.set_quick_repair(true);
            Ok(inner)
        })?;
        let inner = Guarded::of(self.database.path(), inner);
        Ok(Transaction { inner, changed: Cell::new(false) })
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
    inner: Guarded<WriteTransaction>,
    changed: Cell<bool>,
}

impl Transaction {
    pub(super) fn get<R: DeserializeOwned>(
        &self,
        table: &Table<R>,
        key: &str,
    ) -> Result<Option<R>, StoreError> {
        let bytes = self.inner.work(|inner| {
            let rows = inner.open_table(table.definition())?;
            Ok(rows.get(key)?.map(|bytes| bytes.value().to_vec()))
        })?;
        bytes.map(|bytes| parse(table, &bytes)).transpose()
    }

    pub(super) fn put<R: Serialize>(
        &self,
        table: &Table<R>,
        key: &str,
        record: &R,
    ) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(record).map_err(failed)?;
        self.inner.work(|inner| {
            inner.open_table(table.definition())?.insert(key, bytes.as_slice())?;
            Ok(())
        })?;
        self.changed.set(true);
        Ok(())
    }

    pub(super) fn remove<R>(&self, table: &Table<R>, key: &str) -> Result<(), StoreError> {
        self.inner.work(|inner| {
            inner.open_table(table.definition())?.remove(key)?;
            Ok(())
        })?;
        self.changed.set(true);
        Ok(())
    }

    /// Returns all records, in the order of their keys.
    pub(super) fn all<R: DeserializeOwned>(
        &self,
        table: &Table<R>,
    ) -> Result<Vec<(String, R)>, StoreError> {
        let rows = self.inner.work(|inner| {
            let rows = inner.open_table(table.definition())?;
            let owned = rows.iter()?.map(|row| {
                let (key, bytes) = row?;
                Ok((key.value().to_owned(), bytes.value().to_vec()))
            });
            owned.collect::<Result<Vec<_>, redb::Error>>()
        })?;
        rows.into_iter().map(|(key, bytes)| Ok((key, parse(table, &bytes)?))).collect()
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
    fn a_fault_of_our_own_within_a_transaction_is_not_told_as_damage() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(&root.path().join("store.redb")).unwrap();
        let work = || store.change(|_| -> Result<(), StoreError> { panic!("a fault of our own") });
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_err();
        assert_eq!(ended.downcast_ref(), Some(&"a fault of our own"));
        // Nothing of it holds the store.
        store.change(|rows| rows.put(&NUMBERS, "one", &1)).unwrap();
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
