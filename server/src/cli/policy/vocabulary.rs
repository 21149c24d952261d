//! The vocabulary of a new policy in `server.toml`.

use std::{fs::OpenOptions, io::Write, path::Path};

use anyhow::{Context as _, Result};
use rcmd_certs::{
    Layout,
    files::{self, Existing, FileError, NewFile, shown},
};
use toml::{Table, Value};

/// The settings of a new host, as `rcmd-certs quickstart` writes them too.
const INITIAL: &str = include_str!("../../../../certs/authority/src/server.toml");

/// The setting, for a file that has no other setting of `[policy]`.
const ADDITION: &str = "\n[policy]\nvocabulary = 2\n";

/// Sets vocabulary 2 in `server.toml`, or prints what to add to the file. A file that sets a
/// vocabulary is left as it is.
///
/// # Errors
/// If the file can't be read or written.
pub(super) fn settle(layout: &Layout, out: &mut impl Write) -> Result<()> {
    let path = layout.server_toml();
    let known = match files::read_public(&path) {
        Err(error) if error.is_missing() => None,
        read => Some(String::from_utf8_lossy(&read?).into_owned()),
    };
    let shown = shown(&path);
    match known.as_deref().map(place) {
        None => {
            let new = NewFile { path: &path, bytes: INITIAL.as_bytes(), private: false };
            files::write_all(&[new], Existing::Keep)?;
            writeln!(out, "{shown}  the settings of the server, with vocabulary 2")?;
        }
        Some(Place::AtTheEnd) => {
            append(&path)?;
            writeln!(out, "{shown}  vocabulary 2 was added at the end")?;
        }
        Some(Place::Named) => writeln!(out, "{shown}  not changed: it sets a vocabulary")?,
        Some(Place::ByHand) => {
            writeln!(out, "{shown}  not changed: add vocabulary = 2 to its [policy]")?;
        }
    }
    Ok(())
}

/// The place of the setting in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// The file has the setting.
    Named,
    /// The setting can be added at the end, which changes nothing else.
    AtTheEnd,
    /// The file has other settings of `[policy]`, in one of several forms: its author adds this one.
    ByHand,
}

fn place(text: &str) -> Place {
    let Ok(before) = text.parse::<Table>() else { return Place::ByHand };
    match before.get("policy") {
        Some(Value::Table(policy)) if policy.contains_key("vocabulary") => Place::Named,
        Some(_) => Place::ByHand,
        None => Place::AtTheEnd,
    }
}

/// Adds the setting at the end of the file, which keeps its owner and mode.
#[expect(clippy::disallowed_methods, reason = "programs that serve nobody")]
fn append(path: &Path) -> Result<()> {
    let appended = OpenOptions::new().append(true).open(path).and_then(|mut file| {
        file.write_all(ADDITION.as_bytes())?;
        file.sync_all()
    });
    appended
        .map_err(FileError::io("write", path))
        .with_context(|| format!("add policy.vocabulary = 2 to {} by hand", shown(path)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::ServerSettings, policy::Vocabulary};

    #[test]
    fn the_setting_goes_where_it_changes_nothing_else() {
        for (text, at) in [
            ("", Place::AtTheEnd),
            ("grace = \"1s\"\n[limits]\nrunning = 5", Place::AtTheEnd),
            ("[host]\nname = \"[policy]\"\r\n# [policy]", Place::AtTheEnd),
            ("[policy]\nvocabulary = 1", Place::Named),
            ("policy.vocabulary = 2", Place::Named),
            ("policy = { vocabulary = 2 }", Place::Named),
            ("[policy]\non_reload = \"end\"", Place::ByHand),
            ("policy.on_reload = \"end\"", Place::ByHand),
            ("= 1", Place::ByHand),
        ] {
            assert_eq!(place(text), at, "{text}");
        }
    }

    #[test]
    fn the_file_has_the_setting_afterwards_and_is_not_changed_again() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        for before in [None, Some("grace = \"1s\""), Some("[limits]\nrunning = 5 # last")] {
            match before {
                None => {}
                Some(text) => std::fs::write(layout.server_toml(), text).unwrap(),
            }
            let mut said = Vec::new();
            settle(&layout, &mut said).unwrap();
            let after = std::fs::read_to_string(layout.server_toml()).unwrap();
            assert!(after.starts_with(before.unwrap_or_default()), "{after}");
            let settings = ServerSettings::load(&layout, Vec::new()).unwrap();
            assert_eq!(settings.vocabulary, Vocabulary::Two, "{after}");
            settle(&layout, &mut said).unwrap();
            assert_eq!(std::fs::read_to_string(layout.server_toml()).unwrap(), after);
            let said = String::from_utf8(said).unwrap();
            assert!(said.contains("vocabulary 2") && said.contains("not changed"), "{said}");
        }
    }
}
