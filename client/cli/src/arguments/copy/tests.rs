use super::*;

fn read(line: &[&str]) -> Result<CopyArguments, Refused> {
    let typed: Vec<_> = ["rcmd-client"].iter().chain(line).map(OsString::from).collect();
    CopyArguments::read(typed.iter())
}

fn complaint(line: &[&str]) -> String {
    match read(line) {
        Err(Refused::Usage(failure)) => {
            format!("{failure} {}", failure.hint.as_deref().unwrap_or_default())
        }
        other => panic!("{line:?}: {other:?}"),
    }
}

#[test]
fn patterns_are_one_list_in_the_order_of_the_line() {
    let line =
        ["--exclude", "a", "--include=b", "--exclude-from", "f", "--exclude", "c", "s", "h:d"];
    let patterns = [
        Pattern::Exclude("a".into()),
        Pattern::Include("b".into()),
        Pattern::ExcludeFrom("f".into()),
        Pattern::Exclude("c".into()),
    ];
    let read = read(&line).unwrap();
    assert_eq!(read.patterns, patterns);
    assert_eq!(read.paths, ["s", "h:d"]);
}

#[test]
fn options_stand_on_both_sides_of_the_paths_and_two_dashes_end_them() {
    let typed = read(&["a", "-r", "h:b", "--sync"]).unwrap();
    assert!(typed.recursive && typed.sync && typed.paths == ["a", "h:b"]);
    assert_eq!(read(&["--", "-rf", "h:b"]).unwrap().paths, ["-rf", "h:b"]);
    assert_eq!(read(&["-", "h:b"]).unwrap().paths, ["-", "h:b"]);
}

#[test]
fn options_that_there_are_not_are_refused_with_advice() {
    for (line, says) in [
        (&["-x", "web3", "a", "h:b"][..], "'@web!web3:PATH'"),
        (&["-P", "22", "a", "h:b"], "web1:7000:/tmp/x"),
        (&["-a", "a", "h:b"], "-r keeps"),
        (&["-X", "a", "h:b"], "--xattrs"),
        (&["-C", "a", "h:b"], "--compress"),
        (&["-rz", "a", "h:b"], "--compress"),
        (&["-av", "a", "h:b"], "-r keeps"),
        (&["--chown", "a:b:c", "a", "h:b"], "names no owner"),
        (&["--chmod", "u+z", "a", "h:b"], "is no mode"),
        (&["--wonder", "a", "h:b"], "`rcmd-client cp -h`"),
        (&["--max-delete", "x", "-r", "--delete", "a/", "h:b"], "`rcmd-client cp -h`"),
        (&["--stats", "a", "h:b"], "-v prints"),
        (&["--ignore-existing", "a", "h:b"], "--exclude"),
        (&["-i", "a", "h:b"], "--itemize"),
        (&["-dash", "a", "h:b"], "`./-dash`"),
        (&["--delta", "--in-place", "a", "h:b"], "cannot be used with"),
        (&["--bwlimit", "10mb", "a", "h:b"], "10MB or 10Mbit"),
        (&["--bwlimit", "0", "a", "h:b"], "leave the option out"),
        (&["--delete", "a", "h:b"], "--recursive"),
        (&["--max-delete", "3", "a", "h:b"], "--delete"),
        (&["-p", "--no-preserve", "a", "h:b"], "cannot be used with"),
        (&["--fanout", "0", "a", "h:b"], "--fanout"),
    ] {
        assert!(complaint(line).contains(says), "{line:?}: {}", complaint(line));
    }
    let command = command();
    let is_ours = |name: &&&str| {
        command.get_arguments().any(|arg| {
            arg.get_long().is_some_and(|long| format!("--{long}") == ***name)
                || arg.get_short().is_some_and(|short| format!("-{short}") == ***name)
        })
    };
    let names = OPTIONS.iter().flat_map(|(names, _)| *names);
    assert_eq!(names.filter(is_ours).collect::<Vec<_>>(), [&""; 0]);
}

#[test]
fn the_short_help_fits_a_screen() {
    let help = command().term_width(80).render_help().to_string();
    assert!(help.lines().count() <= 25, "{}\n{help}", help.lines().count());
    assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    for option in ["--delete", "--exclude", "--dry-run", "--checksum", "--recursive"] {
        assert!(help.contains(option), "{option}: {help}");
    }
}

#[test]
fn the_whole_help_says_when_a_changed_file_is_not_seen_and_how_it_ended() {
    let help = command().render_long_help().to_string();
    for text in ["--checksum", "the same date", "255 if", "HOST:./22:x", "gitignore"] {
        assert!(help.contains(text), "{text}: {help}");
    }
}
