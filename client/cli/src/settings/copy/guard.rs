//! What is looked at on this machine before anything is transferred, and what `--delete` never empties.
#![expect(clippy::disallowed_methods, reason = "programs that serve nobody")]

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rcmd_certs::files;
use rcmd_protocol::outcome::{ErrorKind, WireError};

use super::CopyWork;
use crate::arguments::places::LocalTarget;

/// Returns whether a word that names a host is also the name of a file here.
pub(super) fn is_file_with_colon(typed: &OsStr) -> bool {
    let bytes = typed.as_bytes();
    bytes.contains(&b':') && !bytes.contains(&b'/') && Path::new(typed).symlink_metadata().is_ok()
}

/// Reads a file of patterns, or standard input for `-`.
///
/// # Errors
/// It can't be read, or has more bytes than `most`.
pub(super) fn patterns(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    if path != Path::new("-") {
        return files::read_shown(path, most).map_err(|error| error.to_string());
    }
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(most + 1).read_to_end(&mut bytes);
    match read {
        Ok(count) if count as u64 > most => {
            Err(format!("standard input is longer than {most} bytes"))
        }
        Ok(_) => Ok(bytes),
        Err(error) => Err(format!("cannot read standard input: {error}")),
    }
}

/// Refuses to delete in the root and in a home, whichever way it is written.
///
/// What a link on a host leads to is not known here.
///
/// # Errors
/// A usage error that names the place.
pub(super) fn refuse_deletion(work: &CopyWork) -> Result<(), WireError> {
    let (path, is_refused) = match work {
        CopyWork::Push { to, .. } => (to, is_root_or_home(to)),
        CopyWork::Fetch { to: LocalTarget::Path(path), .. } => (path, is_own_root_or_home(path)),
        CopyWork::Fetch { to: LocalTarget::Standard, .. } => return Ok(()),
    };
    if !is_refused {
        return Ok(());
    }
    let shown = String::from_utf8_lossy(path);
    let message = format!("--delete does not delete in `{shown}`, a root or a home");
    Err(WireError::new(ErrorKind::Usage, message)
        .hint("Name a folder in it; a variable of the shell that is not set is empty."))
}

/// Returns whether a path on a host is `/`, a home, or a folder above one, by its text. A relative path begins at the
/// home.
fn is_root_or_home(path: &[u8]) -> bool {
    let path = match path {
        b"~" => b".",
        path => path.strip_prefix(b"~/").unwrap_or(path),
    };
    let is_absolute = path.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match parts.pop() {
                None if !is_absolute => return true,
                _ => {}
            },
            part => parts.push(part),
        }
    }
    let is_home = matches!(
        &parts[..],
        [b"home" | b"root" | b"Users"] | [b"home" | b"Users", _] | [b"var", b"root"]
    );
    parts.is_empty() || is_absolute && is_home
}

/// Returns the same of a path here, with links followed.
fn is_own_root_or_home(path: &[u8]) -> bool {
    let Ok(path) = fs::canonicalize(Path::new(OsStr::from_bytes(path))) else {
        // There is nothing to delete in what is not there.
        return false;
    };
    let home = env::var_os("HOME").and_then(|home| fs::canonicalize(home).ok());
    let is_above = |home: &Path| home.starts_with(&path);
    is_root_or_home(path.as_os_str().as_bytes()) || home.as_deref().is_some_and(is_above)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_and_a_home_are_known_however_they_are_written() {
        for path in [
            "/",
            "//",
            "/.",
            "/..",
            "/x/..",
            "",
            ".",
            "./",
            "~",
            "~/",
            "~/.",
            "x/..",
            "..",
            "../x",
            "~/..",
            "/home",
            "/home/",
            "/home/ada",
            "/home/./ada/",
            "/home/ada/x/..",
            "/root",
            "/root/",
            "/srv/../root",
        ] {
            assert!(is_root_or_home(path.as_bytes()), "{path}");
        }
        for path in
            ["/srv", "/home/ada/site", "/root/x", "site", "~/site", "./x", "/tmp/d", "/var/www"]
        {
            assert!(!is_root_or_home(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn a_home_here_is_known_through_links() {
        let place = tempfile::tempdir().unwrap();
        let link = place.path().join("link");
        std::os::unix::fs::symlink("/", &link).unwrap();
        assert!(is_own_root_or_home(link.as_os_str().as_bytes()));
        assert!(!is_own_root_or_home(place.path().as_os_str().as_bytes()));
        assert!(!is_own_root_or_home(b"/nonexistent/x"));
    }
}
