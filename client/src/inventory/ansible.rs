//! Ansible inventories: INI, YAML, and programs that print JSON.
//!
//! Hosts, groups, children and the variables of the file itself are read; `group_vars`, vault and templates are not
//! supported. `ansible_host` is the address. `ansible_port`, `ansible_user` and the port of `NAME:PORT` are for ssh
//! and ignored; `rcmd_port`, `rcmd_user` and `rcmd_certificate` take their place.
//!
//! | module | holds |
//! | --- | --- |
//! | `script` | running a program, with a deadline |
//! | `ini`, `yaml`, `json` | the three forms |
//! | `range` | `web[01:20]`, and ports |
//! | `raw` | the common form of all three, and its conversion |

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use rcmd_certs::files;

use super::{
    Inventory, Source,
    error::{InventoryError, InventoryFault},
};

mod ini;
mod json;
mod range;
mod raw;
mod script;
mod yaml;

use raw::{Failed, Raw};

/// The largest inventory, in bytes.
const MAX_INVENTORY: u64 = 16 << 20;

/// The name of this source in `@SOURCE:GROUP`.
pub const INVENTORY_SOURCE: &str = "inventory";

/// The form of an inventory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// INI: sections in brackets, one host on each line.
    Ini,
    /// YAML: groups as mappings.
    Yaml,
    /// JSON, as a program prints it for `--list`.
    Json,
}

impl Inventory {
    /// Reads an inventory, which overrides the sources so far. An executable file is a program, which is run with
    /// `--list` for at most 60 s. A file whose name ends in `.yml`, `.yaml` or `.json` is YAML, any other file INI.
    ///
    /// # Errors
    /// The inventory is invalid, the program failed, or another user than root and this one could change the
    /// file.
    #[expect(clippy::disallowed_methods, reason = "programs that serve nobody")]
    pub fn read_ansible(&mut self, path: &Path) -> Result<(), InventoryError> {
        let wrong =
            |fault| InventoryError::Wrong { file: path.to_owned(), line: 0, column: 0, fault };
        files::check_folder(path)?;
        let found = fs::metadata(path).map_err(files::FileError::io("read", path))?;
        if found.is_dir() {
            return Err(wrong(InventoryFault::Syntax("it is a folder".to_owned())));
        }
        let source = if found.is_file() && found.permissions().mode() & 0o111 != 0 {
            let printed = script::list(path).map_err(|why| wrong(InventoryFault::Script(why)))?;
            parse_ansible(&printed, path, Form::Json)?
        } else {
            let bytes = files::read_public_up_to(path, MAX_INVENTORY)?;
            let extension = path.extension().and_then(|extension| extension.to_str());
            let form = match extension {
                Some("yml" | "yaml" | "json") => Form::Yaml,
                _ => Form::Ini,
            };
            parse_ansible(&bytes, path, form)?
        };
        self.put_first(source);
        Ok(())
    }
}

/// Reads the text of an inventory.
///
/// # Errors
/// The fault, with its line.
pub fn parse_ansible(bytes: &[u8], file: &Path, form: Form) -> Result<Source, InventoryError> {
    let failed = |(line, fault): Failed| InventoryError::Wrong {
        file: file.to_owned(),
        line,
        column: 0,
        fault,
    };
    let text = str::from_utf8(bytes).map_err(|error| {
        let before = bytes.iter().take(error.valid_up_to()).filter(|byte| **byte == b'\n').count();
        failed((before + 1, InventoryFault::Syntax("this is not UTF-8".to_owned())))
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut raw = Raw::default();
    match form {
        Form::Ini => ini::read(text, &mut raw),
        Form::Yaml => yaml::read(text, &mut raw),
        Form::Json => json::read(text, &mut raw),
    }
    .and_then(|()| raw.assemble(file))
    .map_err(failed)
}

#[cfg(test)]
mod tests;
