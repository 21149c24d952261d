//! Lines with `--delete` that a tired operator might type: nothing is lost that was not asked for.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rcmd_tests::World;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::cp;

/// What the destination has that the source lacks.
const EXTRA: [&str; 4] = ["dir", "dir/x", "keep.log", "old"];

/// Makes the folders anew: `to` is what `s` is, with a few entries more.
fn reset(at: &Path) {
    for name in ["to", "new"] {
        let _ = fs::remove_dir_all(at.join(name));
    }
    for top in ["s", "to", "broken"] {
        fs::create_dir_all(at.join(top).join("sub")).unwrap();
        for number in 0..10 {
            fs::write(at.join(top).join(format!("f{number}")), b"content").unwrap();
        }
        fs::write(at.join(top).join("sub/c"), b"content").unwrap();
    }
    fs::create_dir(at.join("to/dir")).unwrap();
    for name in ["old", "keep.log", "dir/x"] {
        fs::write(at.join("to").join(name), b"old").unwrap();
    }
}

fn names(folder: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(path) = waiting.pop() {
        for entry in fs::read_dir(&path).unwrap().map(Result::unwrap) {
            let name = entry.path();
            names.insert(name.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            if entry.file_type().unwrap().is_dir() {
                waiting.push(name);
            }
        }
    }
    names
}

/// The line, in which `H:` is the host, `D` the folder and `''` an empty word; the status; what standard error says; and
/// what goes.
type Line<'a> = (&'a str, i32, &'a str, &'a [&'a str]);

const ALL: &[&str] = &EXTRA;
const NONE: &[&str] = &[];

/// What is refused before anything is connected to. That it would be dry is for the case that it is not refused.
const REFUSED: [Line<'_>; 32] = [
    ("-r --delete --dry-run s/ H:/", 125, "a root or a home", NONE),
    ("-r --delete --dry-run s/ H://", 125, "a root or a home", NONE),
    ("-r --delete --dry-run s/ H:/.", 125, "a root or a home", NONE),
    ("-r --delete --dry-run s/ H:/usr/..", 125, "a root or a home", NONE),
    ("-r --delete --dry-run s/ H:", 125, "a root or a home", NONE),
    ("-r --delete --dry-run s/ H:.", 125, "a root or a home", NONE),
    ("-r --delete --dry-run s/ H:./", 125, "a root or a home", NONE),
    ("-r --delete --dry-run s/ H:..", 125, "a root or a home", NONE),
    ("-r --delete --dry-run s/ H:~", 125, "a root or a home", NONE),
    ("-r --delete --dry-run s/ H:~/", 125, "a root or a home", NONE),
    ("-r --delete --dry-run s/ H:/home", 125, "a root or a home", NONE),
    ("-r --delete --dry-run s/ H:/home//", 125, "a root or a home", NONE),
    ("-r --delete --dry-run s/ H:/home/ada", 125, "a root or a home", NONE),
    ("-r --delete --dry-run s/ H:/root/", 125, "a root or a home", NONE),
    ("-rT --delete --dry-run s H:/", 125, "a root or a home", NONE),
    ("-r --delete --dry-run H:D/s/ /", 125, "a root or a home", NONE),
    ("-r --delete --dry-run H:D/s/ to-top", 125, "a root or a home", NONE),
    ("-r --delete s H:D/to", 125, "", NONE),
    ("-r --delete H:D/s to", 125, "", NONE),
    ("--delete s/ H:D/to", 125, "-r", NONE),
    ("-r --delete s/ broken/ H:D/to", 125, "", NONE),
    ("-r --delete s/ f H:D/to", 125, "", NONE),
    ("-r --delete '' H:D/to", 125, "", NONE),
    ("-r --delete s/ ''", 125, "", NONE),
    ("-r --delete s/ :D/to", 125, "", NONE),
    ("-r --delete s/ H:D/to --user ''", 125, "--user is empty", NONE),
    ("-r --delete s/ H:D/to --exclude ''", 125, "--exclude is empty", NONE),
    ("-r --delete s/ H:D/to --max-delete", 125, "", NONE),
    ("-r --delete s/ H:D/to --max-delete -1", 125, "", NONE),
    ("-a --delete s/ H:D/to", 125, "-a", NONE),
    ("-r --del s/ H:D/to", 125, "--del", NONE),
    ("-r --delete - H:D/to", 125, "", NONE),
];

/// What reaches the host.
const CARRIED_OUT: [Line<'_>; 33] = [
    ("-r --delete s/ H:D/to", 0, "", ALL),
    ("-r --delete s/ H:D/to/", 0, "", ALL),
    ("-r --delete s/. H:D/to", 0, "", ALL),
    ("-r --delete s/sub/.. H:D/to", 0, "", ALL),
    ("-rT --delete s H:D/to", 0, "", ALL),
    ("-r --delete s/ H:D/link-to-to", 0, "", ALL),
    ("-r --delete H:D/s/ to", 0, "", ALL),
    ("-r --delete --checksum s/ H:D/to", 0, "", ALL),
    ("-r --delete --update s/ H:D/to", 0, "", ALL),
    ("-r --delete --max-delete 4 s/ H:D/to", 0, "", ALL),
    ("-r --delete --include old s/ H:D/to", 0, "--include alone", ALL),
    ("-r --delete --exclude *.log s/ H:D/to", 0, "", &["dir", "dir/x", "old"]),
    ("-r --delete --exclude dir s/ H:D/to", 0, "", &["keep.log", "old"]),
    ("-r --delete --exclude dir/x s/ H:D/to", 0, "", &["keep.log", "old"]),
    ("-r --delete --exclude /old s/ H:D/to", 0, "", &["dir", "dir/x", "keep.log"]),
    ("-r --delete --exclude-from rules s/ H:D/to", 0, "", &["dir", "dir/x", "keep.log"]),
    ("-r --delete --dry-run s/ H:D/to", 0, "", NONE),
    ("-r --delete --max-delete 0 s/ H:D/to", 1, "nothing was deleted", NONE),
    ("-r --delete --max-delete 3 s/ H:D/to", 1, "nothing was deleted", NONE),
    ("-r --delete --exclude * s/ H:D/to", 0, "", NONE),
    ("-r --delete empty/ H:D/to", 125, "the source has no file", NONE),
    ("-r --delete H:D/empty/ to", 125, "the source has no file", NONE),
    ("-r --delete none/ H:D/to", 1, "no_such_file", NONE),
    ("-r --delete H:D/none/ to", 1, "no_such_file", NONE),
    ("-r --delete broken/ H:D/to", 1, "not everything arrived", NONE),
    ("-r --delete H:D/broken/ to", 1, "not everything arrived", NONE),
    ("-r --delete --fail-fast broken/ H:D/to", 1, "not everything arrived", NONE),
    ("-r --delete s/ H:D/to/sub", 1, "nothing was deleted", NONE),
    ("-r --delete s/ H:D/new", 0, "", NONE),
    ("-r --delete s/ H:D/f", 1, "exists", NONE),
    ("-r --delete s/ H:D/dangling", 1, "no_such_file", NONE),
    ("-r --delete --dry-run s/ H:D/to-top", 1, "a root or a home", NONE),
    ("-r --delete --dry-run s/ H:D/to-home/", 1, "a root or a home", NONE),
];

#[test]
fn lines_that_a_tired_operator_types_delete_what_was_asked_for_and_nothing_else() {
    let world = World::start();
    let at = world.scratch("");
    fs::create_dir(at.join("empty")).unwrap();
    fs::write(at.join("f"), b"f").unwrap();
    fs::write(at.join("rules"), b"old\n").unwrap();
    symlink("to", at.join("link-to-to")).unwrap();
    symlink("/nowhere", at.join("dangling")).unwrap();
    symlink("/", at.join("to-top")).unwrap();
    symlink(std::env::var_os("HOME").unwrap(), at.join("to-home")).unwrap();
    reset(&at);
    mknodat(CWD, at.join("broken/pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let folder = at.to_str().unwrap().trim_end_matches('/');
    let host = format!("{}:", world.target());
    for (line, code, says, gone) in REFUSED.into_iter().chain(CARRIED_OUT) {
        reset(&at);
        let (before, source) = (names(&at.join("to")), names(&at.join("s")));
        let words = line.split(' ').map(|word| match word {
            "''" => String::new(),
            word => word.replace("H:", &host).replace("D/", &format!("{folder}/")),
        });
        let done = cp(&world, words).run();
        done.assert_code(code).assert_says(says);
        let after = names(&at.join("to"));
        let lost: Vec<_> = before.difference(&after).map(String::as_str).collect();
        assert_eq!(lost, gone, "{line}: {}", done.story());
        assert_eq!(names(&at.join("s")), source, "{line}");
        assert!(at.join("f").exists() && at.join("rules").exists(), "{line}");
    }
}
