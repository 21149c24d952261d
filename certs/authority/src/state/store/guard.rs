//! Work of redb on a damaged file: redb panics where a page is not what it must be, and says nothing of the file.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    path::Path,
    sync::{Arc, Once},
};

use super::StoreError;

thread_local! {
    /// True while redb works on the file on this thread, so that a panic is told as an error.
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// A part of redb that works on the file at a path, also when the part is dropped.
#[derive(Debug)]
pub(super) struct Guarded<T> {
    /// The part; `None` once it has ended.
    part: Option<T>,
    path: Arc<Path>,
}

impl<T> Guarded<T> {
    /// Makes a part by work on the file.
    ///
    /// # Errors
    /// That the file is damaged; within, the error of redb.
    pub(super) fn new<E>(
        path: Arc<Path>,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Result<Self, E>, StoreError> {
        let made = guarded(make).ok_or_else(|| StoreError::Damaged(path.to_path_buf()))?;
        Ok(made.map(|part| Self::of(path, part)))
    }

    /// Wraps a part that works on the file.
    pub(super) fn of(path: Arc<Path>, part: T) -> Self {
        Self { part: Some(part), path }
    }

    /// Returns the path of the file.
    pub(super) fn path(&self) -> Arc<Path> {
        Arc::clone(&self.path)
    }

    /// Carries out work with the part. It is for calls of redb alone: any panic counts as damage to the file.
    ///
    /// # Errors
    /// The error of redb, or that the file is damaged.
    pub(super) fn work<R>(
        &self,
        work: impl FnOnce(&T) -> Result<R, redb::Error>,
    ) -> Result<R, StoreError> {
        let done = self.part.as_ref().and_then(|part| guarded(|| work(part)));
        self.told(done)
    }

    /// Ends the part by work that takes it.
    ///
    /// # Errors
    /// As [`Guarded::work`].
    pub(super) fn end<R>(
        mut self,
        work: impl FnOnce(T) -> Result<R, redb::Error>,
    ) -> Result<R, StoreError> {
        let done = self.part.take().and_then(|part| guarded(|| work(part)));
        self.told(done)
    }

    fn told<R>(&self, done: Option<Result<R, redb::Error>>) -> Result<R, StoreError> {
        let done = done.ok_or_else(|| StoreError::Damaged(self.path.to_path_buf()))?;
        done.map_err(super::failed)
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        let part = self.part.take();
        let _ = guarded(|| drop(part));
    }
}

/// Carries out work on the file. Returns `None` if it panicked; nothing is printed of that.
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_GUARDED.get() {
                before(panic);
            }
        }));
    });
    let outer = IS_GUARDED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work)).ok();
    IS_GUARDED.set(outer);
    done
}
