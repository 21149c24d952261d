use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::Path,
};

use tempfile::TempDir;

use super::{finding::find_roots, *};
use crate::process::plan::Handed;

/// A home with files, folders and links.
fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    for folder in ["t", "u", ".hidden"] {
        fs::create_dir(path(folder)).unwrap();
        fs::write(path(folder).join("f"), b"12345").unwrap();
    }
    fs::write(path("a.txt"), b"1").unwrap();
    fs::write(path("b.txt"), b"22").unwrap();
    for (target, name) in [("t", "cur"), ("t/f", "link.txt"), ("/nowhere", "dangling")] {
        symlink(target, path(name)).unwrap();
    }
    home
}

fn find(home: &Path, wanted: WantedRoots, paths: &[&str]) -> Result<FoundRoots, RootFailure> {
    let paths = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
    let order = FindRoots { home: home.to_owned(), wanted, paths };
    let (roots, folders) = find_roots(&order)?;
    Ok(FoundRoots::verified(roots, folders).unwrap())
}

/// Returns the roots to be read: each its path from the home, its name and its size, or what is
/// wrong with it.
fn sources(home: &Path, paths: &[&str]) -> Result<Vec<String>, String> {
    let home = home.canonicalize().unwrap();
    let wanted = WantedRoots::Sources { is_literal: false };
    let found = find(&home, wanted, paths).map_err(|failure| failure.kind)?;
    let shown = found.roots.iter().map(|root| match (root, found.path(root)) {
        (Root::Source { name, size, .. }, Some(path)) => {
            let path = path.strip_prefix(&home).unwrap().display().to_string();
            format!("{path} as {} {size}", String::from_utf8_lossy(name))
        }
        (Root::Lost { why, .. }, None) => why.kind.clone(),
        other => panic!("{other:?}"),
    });
    Ok(shown.collect())
}

#[test]
fn a_path_begins_at_the_home_and_a_link_that_was_typed_is_followed() {
    let home = home();
    let found = |path: &str| sources(home.path(), &[path]).unwrap();
    let absolute = home.path().join("a.txt");
    for path in
        ["a.txt", "~/a.txt", "~//a.txt", "./a.txt", "t/../a.txt", absolute.to_str().unwrap()]
    {
        assert_eq!(found(path), ["a.txt as a.txt 1"], "{path}");
    }
    assert_eq!(found("link.txt"), ["t/f as link.txt 5"]);
    assert_eq!(found("cur"), ["t as cur 0"]);
    assert_eq!(found("cur/"), ["t as cur 0"]);
    assert_eq!(found("cur/f"), ["t/f as f 5"]);
    let name = home.path().file_name().unwrap().to_str().unwrap();
    for path in ["~", "~/", "."] {
        assert_eq!(found(path), [format!(" as {name} 0")], "{path}");
    }
}

#[test]
fn a_pattern_means_what_is_there_without_hidden_names_and_in_order() {
    let home = home();
    let found = |path: &str| sources(home.path(), &[path]);
    assert_eq!(
        found("*.txt").unwrap(),
        ["a.txt as a.txt 1", "b.txt as b.txt 2", "t/f as link.txt 5"]
    );
    assert_eq!(found("[tu]").unwrap(), ["t as t 0", "u as u 0"]);
    assert_eq!(found("?/f").unwrap(), ["t/f as f 5", "u/f as f 5"]);
    assert_eq!(found(".hid*/*").unwrap(), [".hidden/f as f 5"]);
    assert_eq!(found("[tu]/").unwrap(), ["t as t 0", "u as u 0"]);
    // A folder alone ends in a slash, also by a link.
    assert_eq!(found("*u*/").unwrap(), ["t as cur 0", "u as u 0"]);
    assert_eq!(found("*/g").unwrap_err(), "no_such_file");
    let literal = WantedRoots::Sources { is_literal: true };
    assert_eq!(find(home.path(), literal, &["*.txt"]).unwrap_err().kind, "no_such_file");
    fs::write(home.path().join("*.txt"), b"").unwrap();
    assert_eq!(find(home.path(), literal, &["*.txt"]).unwrap().roots.len(), 1);
}

#[test]
fn of_several_paths_those_that_lead_nowhere_are_told_and_alone_they_are_the_answer() {
    let home = home();
    let found = |paths: &[&str]| sources(home.path(), paths);
    assert_eq!(found(&["no", "a.txt"]).unwrap(), ["no_such_file", "a.txt as a.txt 1"]);
    assert_eq!(found(&["d*g", "a.txt"]).unwrap(), ["no_such_file", "a.txt as a.txt 1"]);
    assert_eq!(found(&["a.txt/"]).unwrap_err(), "exists");
    assert_eq!(found(&["dangling", "no"]).unwrap_err(), "no_such_file");
    let wanted = WantedRoots::Sources { is_literal: false };
    let failure = find(home.path(), wanted, &["no\u{1b}[2J"]).unwrap_err();
    assert!(!failure.message.contains('\u{1b}'), "{}", failure.message);
}

#[test]
fn names_in_one_folder_share_its_descriptor_and_there_are_few() {
    let home = home();
    let wanted = WantedRoots::Sources { is_literal: false };
    let count = ROOTS;
    let many = home.path().join("many");
    fs::create_dir(&many).unwrap();
    for number in 0..count {
        fs::create_dir(many.join(format!("x{number}"))).unwrap();
    }
    let found = find(home.path(), wanted, &["many/*"]).unwrap();
    assert_eq!((found.roots.len(), found.folders.len()), (count, 1));
    File::create(many.join("y")).unwrap();
    for paths in [&["many/*"][..], &["many/x*", "a.txt"]] {
        assert_eq!(find(home.path(), wanted, paths).unwrap_err().kind, "too_big");
    }
    let each: Vec<_> = (0..=Handed::FOLDERS).map(|number| format!("many/x{number}")).collect();
    let each: Vec<_> = each.iter().map(String::as_str).collect();
    assert_eq!(find(home.path(), wanted, &each).unwrap_err().kind, "too_big");
    let found = find(home.path(), wanted, &each[1..]).unwrap();
    assert_eq!(found.folders.len(), Handed::FOLDERS);
}

#[test]
fn a_place_is_judged_by_its_own_path_also_before_it_is_there() {
    let home = home();
    let root = home.path().canonicalize().unwrap();
    let place = |path: &str, is_itself, has_several| {
        let wanted = WantedRoots::Place { is_itself, has_several };
        let found = find(&root, wanted, &[path]).map_err(|failure| failure.kind)?;
        let path = found.path(&found.roots[0]).unwrap();
        Ok::<_, String>(path.strip_prefix(&root).unwrap().display().to_string())
    };
    assert_eq!(place("t", false, false).unwrap(), "t");
    assert_eq!(place("cur", true, false).unwrap(), "t");
    assert_eq!(place("new", false, false).unwrap(), "new");
    assert_eq!(place("cur/new/", false, false).unwrap(), "t/new");
    assert_eq!(place("link.txt", false, false).unwrap(), "t/f");
    for (path, several, kind) in [
        ("dangling", false, "no_such_file"),
        ("no/such", false, "no_such_file"),
        ("new", true, "no_such_file"),
        ("a.txt", true, "exists"),
    ] {
        assert_eq!(place(path, false, several).unwrap_err(), kind, "{path}");
    }
}

#[test]
fn a_root_and_a_home_are_known_whichever_way_a_path_leads_there() {
    let home = home();
    let root = home.path().canonicalize().unwrap();
    symlink("/", root.join("top")).unwrap();
    symlink(".", root.join("t/back")).unwrap();
    symlink("..", root.join("up")).unwrap();
    let place = |path: &str, is_itself| {
        let wanted = WantedRoots::Place { is_itself, has_several: false };
        match find(&root, wanted, &[path]).unwrap().roots.remove(0) {
            Root::Place { kind, is_home, .. } => (kind, is_home),
            other => panic!("{other:?}"),
        }
    };
    let (itself, inside) = (PlaceKind::Itself, PlaceKind::Inside);
    for path in [".", "~", "/", "top", "top/", "up", "t/..", "/home", root.to_str().unwrap()] {
        assert_eq!(place(path, true), (itself.clone(), true), "{path}");
        // A source may bear the name of what is in it.
        assert_eq!(place(path, false), (inside.clone(), true), "{path}");
    }
    for path in ["t", "cur", "t/back", "/etc", "/usr"] {
        assert_eq!(place(path, true), (itself.clone(), false), "{path}");
        assert_eq!(place(path, false), (inside.clone(), false), "{path}");
    }
    // The home of somebody who has none yet.
    let name = b"nobody-lives-here".to_vec();
    for is_itself in [true, false] {
        let new = place("/home/nobody-lives-here", is_itself);
        assert_eq!(new, (PlaceKind::Named(name.clone()), true));
        assert_eq!(place("new", is_itself), (PlaceKind::Named(b"new".to_vec()), false));
    }
    let new = place("/home/nobody-lives-here/", false);
    assert_eq!(new, (PlaceKind::NewFolder(name), true));
}

#[test]
fn an_answer_that_names_what_it_does_not_pass_on_is_none() {
    let open = || vec![OwnedFd::from(File::open("/").unwrap())];
    let source = |folder, entry: &[u8]| {
        let (entry, name) = (Some(entry.to_vec()), b"x".to_vec());
        Root::Source { folder, entry, name, size: 0 }
    };
    assert!(FoundRoots::verified(vec![source(0, b"etc")], open()).is_ok());
    for roots in [
        vec![],
        vec![source(1, b"etc")],
        vec![source(0, b"..")],
        vec![source(0, b"a/b")],
        vec![source(0, b"")],
        vec![source(0, b"a\0")],
        vec![source(0, b"etc"); ROOTS + 1],
    ] {
        assert!(FoundRoots::verified(roots, open()).is_err());
    }
    // What has no path among the files can't be judged.
    let (pipe, _) = rustix::pipe::pipe().unwrap();
    assert!(FoundRoots::verified(vec![source(0, b"etc")], vec![pipe]).is_err());
}
