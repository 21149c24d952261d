//! What is printed.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rcmd_tests::many::events;
use rcmd_tests::pty::{Resize, Viewer};
use rcmd_tests::{Finished, World, binaries};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::tree::set;
use crate::{cp, there};

/// The tree of the examples in the documents, and an older state of it there.
fn site(world: &World) {
    for (folder, index) in [("site", "<p>new"), ("there", "<p>")] {
        let folder = world.scratch(folder);
        fs::create_dir(&folder).unwrap();
        for (name, content) in [("index.html", index), ("logo.png", "png")] {
            fs::write(folder.join(name), content).unwrap();
            let is_old = name == "logo.png" || content == "<p>";
            set(&folder.join(name), 0o644, if is_old { 1_600_000_000 } else { 1_700_000_000 });
        }
    }
    fs::create_dir(world.scratch("site/css")).unwrap();
    fs::write(world.scratch("site/css/main.css"), "p {}").unwrap();
}

#[test]
fn each_file_has_a_line_as_the_documents_show() {
    let world = World::start();
    site(&world);
    let to = there(&world, world.scratch("there"));
    let words = ["-r", "--itemize", "site/", &*to];
    let sorted = |done: &Finished| {
        let text = done.assert_code(0).stdout_text();
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let dry = sorted(&cp(&world, ["--dry-run"].iter().chain(&words)).run());
    assert!(!world.scratch("there/css").exists());
    let done = cp(&world, words).run();
    let lines = sorted(&done);
    // In which order contents arrive is not said.
    assert_eq!(dry, lines);
    assert_eq!(lines.len(), 3, "{}", done.story());
    for document in [include_str!("../../../README.md"), include_str!("../../../docs/files.md")] {
        for line in &lines {
            assert!(document.lines().any(|shown| shown == line), "no document shows {line:?}");
        }
    }
    assert_eq!(done.stderr_text(), "");
    // What is there already is listed if more is asked for.
    let done = cp(&world, ["-v"].iter().chain(&words)).run();
    assert_eq!(done.assert_code(0).stdout_text().lines().count(), 5);
    assert!(done.stdout_text().contains("unchanged site/logo.png\n"), "{}", done.story());
    done.assert_says("0 files sent (0 B), 5 unchanged");
}

#[test]
fn events_have_every_file_and_one_end_with_totals() {
    let world = World::start();
    let odd = std::ffi::OsStr::from_bytes(b"\xff");
    fs::create_dir(world.scratch("s")).unwrap();
    fs::write(world.scratch("s").join(odd), b"odd").unwrap();
    fs::write(world.scratch("s/a"), b"content").unwrap();
    let to = there(&world, world.scratch("to"));
    let done = cp(&world, ["-r", "--json", "s", &to]).run();
    done.assert_code(0);
    assert_eq!(done.stderr_text(), "");
    let events = events(&done);
    let file = |path: &str| events.iter().find(|event| event["path"] == path).unwrap();
    let digest = format!("blake3:{}", blake3::hash(b"content").to_hex());
    let a = file("s/a");
    assert_eq!(
        (&a["event"], &a["action"], &a["bytes"]),
        (&"file".into(), &"created".into(), &7.into())
    );
    assert_eq!((&a["digest"], &a["path_encoding"]), (&digest.into(), &"utf-8".into()));
    assert_eq!(file("cy//")["path_encoding"], "base64");
    let ends: Vec<_> = events.iter().filter(|event| event["event"] == "end").collect();
    assert_eq!((ends.len(), &ends[0]["status"]), (1, &0.into()));
    assert_eq!(ends[0]["dry_run"], false);
    assert_eq!(ends[0]["result"]["outcome"], "exited");
    let totals = &ends[0]["totals"];
    assert_eq!(
        (&totals["sent"], &totals["bytes"], &totals["made"]),
        (&2.into(), &10.into(), &1.into())
    );
}

#[test]
fn what_failed_is_named_with_its_kind_and_commands_no_terminal() {
    let world = World::start();
    fs::create_dir(world.scratch("s")).unwrap();
    fs::write(world.scratch("s/a"), b"content").unwrap();
    let pipe = world.scratch("s/evil\u{1b}[2K\u{202e}");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
    for json in [false, true] {
        let to = there(&world, world.scratch("to"));
        let options = if json { &["-r", "--json"][..] } else { &["-r"] };
        let done = cp(&world, options.iter().copied().chain(["s/", to.as_str()])).run();
        done.assert_code(1);
        match json {
            true => {
                let events = events(&done);
                let failed = events.iter().find(|event| event["action"] == "failed").unwrap();
                assert_eq!(failed["error"]["kind"], "special");
            }
            false => {
                done.assert_says("evil\\u{1b}[2K\\u{202e}: ").assert_says("(special)");
                assert!(!done.stderr_text().contains('\u{1b}'));
            }
        }
        assert!(world.scratch("to/a").exists());
    }
}

#[test]
fn a_terminal_has_a_live_line_and_one_with_totals_at_the_end() {
    let world = World::start();
    File::create(world.scratch("large")).unwrap().set_len(0).unwrap();
    fs::write(world.scratch("large"), vec![b'x'; 60_000_000]).unwrap();
    let mut client = Command::new(&binaries().client);
    client.arg("--dir").arg(world.client_dir()).args(["cp", "large"]);
    client.arg(there(&world, world.scratch("copy"))).current_dir(world.scratch(""));
    client
        .env("TERM", "xterm-256color")
        .env("NO_COLOR", "1")
        .env_remove("RCMD_DIR")
        .stdin(Stdio::null());
    let mut viewer = Viewer::start(80, Resize::Reflow, |terminal| {
        client.stdout(terminal.side()).stderr(terminal.side());
        client
    });
    viewer.until("the live line is drawn", |screen| {
        screen.rows().iter().any(|row| row.contains('%'))
    });
    let (screen, code) = viewer.end(Duration::from_secs(120));
    assert_eq!(code, Some(0));
    let rows: Vec<_> = screen.rows().into_iter().filter(|row| !row.is_empty()).collect();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert!(rows[0].contains("1 file sent (57.2 MiB); "), "{rows:?}");
    assert!(is_equal(&world.scratch("large"), &world.scratch("copy")));
}

#[test]
fn a_deletion_that_is_withheld_counts_as_no_failed_file() {
    let world = World::start();
    site(&world);
    fs::write(world.scratch("there/old"), "old").unwrap();
    let to = there(&world, world.scratch("there"));
    let words = ["-r", "-v", "--delete", "--max-delete", "0", "site/", &to];
    let done = cp(&world, words).run();
    done.assert_code(1).assert_says("nothing was deleted: 1 entry would be");
    done.assert_says("2 files sent (");
    assert!(!done.stderr_text().contains("failed"), "{}", done.story());
}

#[test]
fn a_content_that_is_shown_at_a_terminal_is_whole() {
    let world = World::start();
    // Without a newline at its end.
    fs::write(world.scratch("f"), "first\nlast").unwrap();
    let mut client = Command::new(&binaries().client);
    client.arg("--dir").arg(world.client_dir()).args(["cp", "--progress"]);
    client.arg(there(&world, world.scratch("f"))).arg("-");
    client.env("TERM", "xterm-256color").env("NO_COLOR", "1").env_remove("RCMD_DIR");
    client.stdin(Stdio::null());
    let mut viewer = Viewer::start(80, Resize::Reflow, |terminal| {
        client.stdout(terminal.side()).stderr(terminal.side());
        client
    });
    let (screen, code) = viewer.end(Duration::from_secs(120));
    assert_eq!(code, Some(0));
    let rows: Vec<_> = screen.rows().into_iter().filter(|row| !row.is_empty()).collect();
    assert!(rows[0] == "first" && rows[1].starts_with("last"), "{rows:?}");
    assert!(!rows.iter().any(|row| row.contains('%')), "{rows:?}");
}

fn is_equal(one: &Path, other: &Path) -> bool {
    fs::read(one).unwrap() == fs::read(other).unwrap()
}
