//! What is said when something can't be done: what, where, as whom, and what to type instead.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rcmd_tests::{World, require, skip};

use crate::{cp, there};

#[test]
fn command_lines_of_other_programs_get_what_to_type() {
    let world = World::builder().prepare();
    fs::write(world.scratch("10:30.log"), b"x").unwrap();
    fs::write(world.scratch("f"), b"x").unwrap();
    for (words, says) in [
        (&["10:30.log", "web1:/tmp/"][..], "The file of that name here is written ./10:30.log."),
        (&["f/", "web1:/tmp/"], "a file is written without a slash"),
        (&["a:7001,b:7002:/x", "."], "was read as `a`"),
        (&["--json", "web1:f", "-"], "Standard output gets the content and nothing else"),
        (
            &["--itemize", "web1:f", "/dev/stdout"],
            "Standard output gets the content and nothing else",
        ),
        (&["-dash", "f", "web1:"], "`./-dash`"),
        (&["--stats", "f", "web1:"], "-v prints the totals"),
        (&["--size-only", "f", "web1:"], "--checksum"),
        (&["-r", "--delete", "--max-delete", "x", "s/", "web1:d"], "`rcmd-client cp -h`"),
        (&["--exclude-from", "-", "-", "web1:x"], "standard input is read for two things"),
    ] {
        let done = cp(&world, words).run();
        done.assert_code(125).assert_says(says);
        assert!(!done.stderr_text().contains("Copy by way of"), "{}", done.story());
    }
    let list = |words: &[&str]| {
        let client = world.client().without_target().option("ls").words(words.iter().copied());
        client.run()
    };
    for words in [&["-la", "web1:/x"][..], &["-l", "web1:/x"], &["-a", "web1:/x"]] {
        list(words).assert_code(125).assert_says("--long");
    }
}

#[test]
fn a_failure_names_the_place_the_user_there_and_the_folder_that_is_missing() {
    let world = World::start();
    fs::write(world.scratch("f"), b"x").unwrap();
    let to = world.scratch("no/such/g");
    let done = cp(&world, ["f", &there(&world, &to)]).run();
    let folder = format!("there is no folder `{}`", world.scratch("no/such").display());
    done.assert_code(1).assert_says(&folder).assert_says("rcmd-client ls HOST:FOLDER");
    let done = cp(&world, ["f", &there(&world, "/proc/")]).run();
    // What fails there names the host and the place, and what fails here names no host.
    done.assert_code(1).assert_says(&format!("{}:/proc/: f: ", world.target()));
    let done = cp(&world, ["none", "f", &there(&world, world.scratch(""))]).run();
    done.assert_code(1).assert_says("rcmd: none: there is no such file or folder (no_such_file)");
    let done = cp(&world, [&there(&world, world.scratch("f")), "no/such/"]).run();
    done.assert_code(1).assert_says("rcmd: no/such/: there is no folder `no` to make it in");
    let done = cp(&world, ["f", &there(&world, format!("/{}", "x".repeat(300)))]).run();
    done.assert_says("a name in it is too long");
}

/// Opens to each account of this machine the folders of a world.
fn passable(world: &World) {
    let mut above = world.scratch("f");
    while above.pop() {
        let mode = fs::metadata(&above).unwrap().permissions().mode();
        if mode & 0o001 == 0 {
            fs::set_permissions(&above, fs::Permissions::from_mode(mode | 0o001)).unwrap();
        }
    }
}

#[test]
fn a_dry_run_says_what_the_real_run_would_fail_for() {
    require!(skip::need_root());
    let world = World::start();
    for folder in ["", "to", "s", "s/sub"] {
        fs::create_dir_all(world.scratch(folder)).unwrap();
        fs::set_permissions(world.scratch(folder), fs::Permissions::from_mode(0o755)).unwrap();
    }
    passable(&world);
    fs::write(world.scratch("s/f"), b"content").unwrap();
    fs::write(world.scratch("s/sub/g"), b"content").unwrap();
    let to = there(&world, world.scratch("to"));
    for words in [&["s/f"][..], &["-r", "s/"], &["-r", "s"]] {
        let run = |dry: &[&'static str]| {
            let options = dry.iter().chain(["-l", "nobody"].iter()).chain(words);
            cp(&world, options.copied().chain([to.as_str()])).run()
        };
        let (dry, real) = (run(&["--dry-run"]), run(&[]));
        real.assert_code(1).assert_says("Permission denied").assert_says("(permission, as nobody)");
        dry.assert_code(1).assert_says("Permission denied").assert_says("(permission, as nobody)");
        assert!(!dry.stdout_text().contains("created"), "{}", dry.story());
    }
    // A file of another user there can't be replaced by one that is that user's.
    let open = world.scratch("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(open.join("f"), b"root's").unwrap();
    let to = there(&world, &open);
    for dry in [&["--dry-run"][..], &[]] {
        let options = dry.iter().copied().chain(["-l", "nobody", "s/f"]);
        let done = cp(&world, options.chain([to.as_str()])).run();
        done.assert_code(1).assert_says("owner of the file that is there");
    }
}

#[test]
fn what_fails_on_the_host_names_it_and_the_user_there_in_both_directions() {
    require!(skip::need_root());
    let world = World::start();
    passable(&world);
    // What nobody may read there.
    fs::write(world.scratch("secret"), b"secret").unwrap();
    fs::set_permissions(world.scratch("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    let from = there(&world, world.scratch("secret"));
    fs::create_dir(world.scratch("folder")).unwrap();
    for (to, name) in [("folder", "secret"), ("copy", "copy")] {
        let done = cp(&world, ["-l", "nobody", &from, to]).run();
        done.assert_code(1).assert_says(&format!("rcmd: {}: {name}: cannot open", world.target()));
        done.assert_says("(permission, as nobody)");
    }
    // What nobody may not look into there, and the source lacks.
    for folder in ["s", "to", "to/old"] {
        fs::create_dir(world.scratch(folder)).unwrap();
    }
    fs::write(world.scratch("s/f"), b"x").unwrap();
    fs::set_permissions(world.scratch("to"), fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(world.scratch("to/old"), fs::Permissions::from_mode(0o700)).unwrap();
    let to = there(&world, world.scratch("to"));
    let done = cp(&world, ["-r", "-l", "nobody", "--delete", "--no-preserve", "s/", &to]).run();
    done.assert_code(1).assert_says(&format!("{to}: s/old: ")).assert_says("as nobody");
}

#[test]
fn a_dry_run_says_that_a_file_does_not_fit() {
    let world = World::start();
    let file = fs::File::create(world.scratch("huge")).unwrap();
    // More than any disk has, and nothing of it on this one.
    file.set_len(1 << 42).unwrap();
    let to = there(&world, world.scratch("to"));
    let done = cp(&world, ["--dry-run", "huge", &to]).run();
    done.assert_code(1).assert_says("(no_space)");
}
