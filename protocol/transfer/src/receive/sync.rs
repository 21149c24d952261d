//! What has to be on the disk before anything else is done.

use std::fs::File;

use crate::failure::Failure;

/// Waits until a file's content and facts are on its disk.
///
/// # Errors
/// What the system says of it.
pub(super) fn write_to_disk(file: &File) -> Result<(), Failure> {
    #[cfg(test)]
    tests::note(file);
    file.sync_all().map_err(|error| Failure::of_io(&error, "sync it"))
}

#[cfg(test)]
mod tests;
