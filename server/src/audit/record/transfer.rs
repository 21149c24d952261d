//! The record of a transfer of files.

use serde::{Deserialize, Serialize};

use super::super::text::Text;

/// A transfer of files that has ended.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct TransferRecord {
    /// The job's ID.
    pub job: String,
    /// The peer that asked.
    pub peer: String,
    /// `receive`, `send` or `list`.
    pub verb: String,
    /// The first of the paths that it began with, as they were judged: without links.
    pub paths: Vec<Text>,
    /// The number of further paths.
    #[serde(default, skip_serializing_if = "is_none")]
    pub more_paths: u64,
    /// The number of folders below them that the rules denied.
    #[serde(default, skip_serializing_if = "is_none")]
    pub denied: u64,
    /// The account that the process of the transfer gave. It ran as the account, and the server has
    /// not checked what it said. `None` if it gave none, as when it was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<SaidRecord>,
}

/// The account of a transfer, as its process gave it.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct SaidRecord {
    /// Files whose content was transferred.
    pub files: u64,
    /// The sizes of these files together, in bytes.
    pub bytes: u64,
    /// Folders and links that were made.
    pub made: u64,
    /// Entries whose permission bits or times alone were set.
    pub adjusted: u64,
    /// Entries that were there as they are.
    pub unchanged: u64,
    /// Files that were newer at the destination.
    pub skipped: u64,
    /// Files that went away before they were read.
    pub vanished: u64,
    /// Entries that were deleted.
    pub deleted: u64,
    /// Entries that failed.
    pub failed: u64,
    /// The digest on which both ends agreed; `None` if the transfer broke off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference.
fn is_none(number: &u64) -> bool {
    *number == 0
}
