//! The obstacles that a hostile local user of the host has put in the way.

use std::fs;
use std::path::{Path, PathBuf};

use crate::hostile::{InTheWay, pipe, script};
use crate::skip::need_tool;

/// The folder in which a file system is mounted that answers nothing, if one is.
pub(in crate::soak::attack) const SILENT: &str = "silent";
/// A program as large as one may be of which digests are made, all of it holes.
const LARGE: u64 = 120 << 20;

/// Programs and folders that nobody should wait for.
pub(super) struct Local {
    pub(super) programs: Vec<PathBuf>,
    pub(super) folders: Vec<PathBuf>,
    /// A folder on a file system that answers nothing.
    pub(super) stuck: PathBuf,
    _held: [InTheWay; 2],
}

impl Local {
    /// Puts all of it into a folder, beside the file system that answers nothing.
    ///
    /// # Errors
    ///
    /// The error names what is missing on this machine.
    pub(super) fn put_in_the_way(folder: &Path) -> Result<Self, String> {
        let at = |name: &str| folder.join(name);
        let said = |error: std::io::Error| error.to_string();
        let program = need_tool("true")?;
        for copy in ["leased", "large"] {
            fs::copy(&program, at(copy)).map_err(said)?;
        }
        let large = fs::File::options().write(true).open(at("large")).map_err(said)?;
        large.set_len(LARGE).map_err(said)?;
        // A look at the folder itself would have no answer.
        let listed = fs::read_dir(folder).map_err(said)?.flatten();
        if !listed.into_iter().any(|entry| entry.file_name() == SILENT) {
            return Err("FUSE".to_owned());
        }
        let mounted = at(SILENT);
        let leased = InTheWay::lease(&at("leased"))?;
        let swapped = InTheWay::swapped_link(&at("swapped"), ["/".as_ref(), folder])?;
        let of_pipe = script(at("of-a-pipe"), &pipe(at("pipe")));
        let of_terminal = script(at("of-a-terminal"), "/dev/ptmx".as_ref());
        let of_silence = script(at("of-silence"), &mounted.join("sh"));
        Ok(Self {
            programs: vec![
                at("pipe"),
                of_pipe,
                of_terminal,
                of_silence,
                at("leased"),
                at("large"),
                mounted.join("program"),
                at("swapped").join("large"),
            ],
            folders: vec![mounted.join("folder"), at("swapped")],
            stuck: mounted,
            _held: [leased, swapped],
        })
    }
}
