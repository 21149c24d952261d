//! The files of the source tree, and what rules report about them.

use std::fs;
use std::path::{Path, PathBuf};

use rcmd_tests::binaries::workspace;

/// Returns the files of the tree with this extension, build output and hidden folders left out.
pub(crate) fn files(extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![workspace().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && !name.starts_with('.') && !["target", "corpus"].contains(&&*name) {
                folders.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|last| last == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn short(path: &Path) -> String {
    path.strip_prefix(workspace()).unwrap().display().to_string()
}

pub(crate) fn assert_none(what: &str, offenders: Vec<String>) {
    assert!(offenders.is_empty(), "{what}:\n  {}", offenders.join("\n  "));
}

/// Returns the lines of Rust files for which `offends` is true, as `FILE:LINE: TEXT`. These rules
/// are not among them, since they have to name what they look for.
pub(crate) fn lines_of_rust(offends: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for path in texts("rs") {
        let name = short(&path);
        for (number, line) in read(&path).lines().enumerate() {
            if offends(&name, line) {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    found
}

pub(crate) fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

/// Returns the files with this extension, without those of these rules.
pub(crate) fn texts(extension: &str) -> Vec<PathBuf> {
    let rules = workspace().join("tests/tests/tidy");
    files(extension).into_iter().filter(|path| !path.starts_with(&rules)).collect()
}
