//! Programs of others that copy files by a command in place of ssh, and trees that show what they damage.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Makes files that are easily damaged on the way: large, empty, of all bytes, with odd names, of which `odd` is one.
///
/// # Panics
///
/// When they can't be made.
pub fn make_tree(folder: &Path, odd: &str) {
    let deep = folder.join("a b/'c'");
    fs::create_dir_all(&deep).expect("a new folder");
    let every: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    fs::write(deep.join("every byte"), &every).expect("a new file");
    fs::write(folder.join("empty"), "").expect("a new file");
    fs::write(folder.join(odd), "odd\r\n").expect("a new file");
}

/// Asserts that two trees have the same names and contents.
///
/// # Panics
///
/// When they differ.
#[track_caller]
pub fn assert_same_trees(one: &Path, other: &Path) {
    run(Command::new("diff").arg("-r").arg(one).arg(other));
}

/// Runs a program without input to its end, and returns what it printed.
///
/// # Panics
///
/// When it can't be run, or fails.
#[track_caller]
pub fn run(command: &mut Command) -> Output {
    let done = command.stdin(Stdio::null()).output().expect("a program that can be run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (printed, said) = (text(&done.stdout), text(&done.stderr));
    assert!(done.status.success(), "{command:?}: {}\n{printed}\n{said}", done.status);
    done
}
