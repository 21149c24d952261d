//! What a transfer is to do. One end chooses, and tells the other.

mod metadata;
mod mode_change;

pub use metadata::{MetadataOptions, OwnerChange, OwnerError};
pub use mode_change::{ModeChange, ModeError};

use crate::{
    fields::{Body, Fields, Malformed},
    limits,
    rules::FileRules,
};

/// An option of a later release.
pub(crate) const UNKNOWN: Malformed = Malformed("an option is not known here");

/// What a transfer is to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TransferOptions {
    /// Folders are entered.
    pub recursive: bool,
    /// Files, folders and links get the source's permission bits and times.
    pub preserve: bool,
    /// Files of equal size are the same if their digests are, whatever their times.
    pub checksum: bool,
    /// A file that is newer at the destination is left as it is.
    pub update: bool,
    /// What the source lacks is deleted from the folders that it has, last, and only after everything arrived. What
    /// the rules leave out is spared.
    pub delete: bool,
    /// How many entries may be deleted. Without it the smaller of 1,000 and half of what is there, and none if the
    /// source has no file.
    pub max_delete: Option<u64>,
    /// Nothing is changed; the events tell what would be.
    pub dry_run: bool,
    /// Files are written over where they are. One that is cut is then neither old nor new.
    pub in_place: bool,
    /// Each file and folder is on the disk before it is counted.
    pub sync: bool,
    /// The first failure ends the transfer.
    pub fail_fast: bool,
    /// Folders that were there before keep their permission bits and times, even with `preserve`. The folder that
    /// the transfer begins with always does.
    pub keep_folders: bool,
    /// What files are to have besides content, permission bits and times.
    pub metadata: MetadataOptions,
    /// Content crosses packed, where that makes it smaller.
    pub compress: bool,
    /// Of a file that is replaced the receiver tells which parts it has, and only the others cross.
    pub delta: bool,
    /// Which files go along.
    pub rules: FileRules,
}

/// The place of the lowest bit on the wire that says something of [`MetadataOptions`].
const METADATA: u32 = 16;

impl TransferOptions {
    /// Returns the switches in the order of their bits on the wire, beginning with the lowest.
    fn switches(&mut self) -> [&mut bool; 12] {
        [
            &mut self.recursive,
            &mut self.preserve,
            &mut self.checksum,
            &mut self.update,
            &mut self.delete,
            &mut self.dry_run,
            &mut self.in_place,
            &mut self.sync,
            &mut self.fail_fast,
            &mut self.keep_folders,
            &mut self.compress,
            &mut self.delta,
        ]
    }

    pub(crate) fn encode(&self, body: &mut Body) {
        let mut copy = self.clone();
        let mut bits: u32 = 0;
        for (place, switch) in copy.switches().into_iter().enumerate() {
            bits |= u32::from(*switch) << place;
        }
        body.u32(bits | self.metadata.bits() << METADATA);
        body.u8(u8::from(self.max_delete.is_some()));
        body.u64(self.max_delete.unwrap_or_default());
        // FileRules has no more than a `u16` can count, and no longer ones.
        body.u16(u16::try_from(self.rules.lines().len()).unwrap_or(u16::MAX));
        for line in self.rules.lines() {
            body.bytes16(line.as_bytes());
        }
        self.metadata.encode(body);
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let mut options = Self::default();
        let bits = fields.u32()?;
        let (mut bits, metadata) = (bits & !(u32::MAX << METADATA), bits >> METADATA);
        for switch in options.switches() {
            *switch = bits & 1 == 1;
            bits >>= 1;
        }
        if bits != 0 {
            return Err(UNKNOWN);
        }
        let (is_set, most) = (fields.flag()?, fields.u64()?);
        options.max_delete = is_set.then_some(most);
        let count = usize::from(fields.u16()?);
        if count > limits::RULES {
            return Err(Malformed("there are too many patterns"));
        }
        let mut lines = Vec::new();
        for _ in 0..count {
            let line = fields.bytes16(limits::RULE)?;
            let line = std::str::from_utf8(line).map_err(|_| Malformed("a pattern is no text"))?;
            lines.push(line.to_owned());
        }
        options.rules = FileRules::new(lines).map_err(|_| Malformed("a pattern cannot be used"))?;
        options.metadata = MetadataOptions::decode(metadata, fields)?;
        Ok(options)
    }
}
