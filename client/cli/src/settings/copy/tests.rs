use super::*;

fn resolve(line: &[&str]) -> Result<CopyRun, WireError> {
    let typed = ["rcmd-client", "--dir", "/nonexistent"].iter().chain(line);
    let typed: Vec<_> = typed.map(OsString::from).collect();
    let Ok(typed) = CopyArguments::read(typed.iter()) else { panic!("{line:?}") };
    CopyRun::resolve(typed)
}

fn refused(line: &[&str]) -> String {
    let failure = resolve(line).unwrap_err();
    assert_eq!(failure.kind, ErrorKind::Usage, "{line:?}");
    format!("{failure} {}", failure.hint.as_deref().unwrap())
}

fn landing_of(line: &[&str]) -> (bool, bool) {
    match resolve(line).unwrap().work {
        CopyWork::Push { landing, .. } | CopyWork::Fetch { landing, .. } => {
            (landing.is_itself, landing.has_several)
        }
    }
}

#[test]
fn the_destination_means_what_it_means_to_cp() {
    assert_eq!(landing_of(&["a", "h:d"]), (false, false));
    assert_eq!(landing_of(&["a", "b", "h:d"]), (false, true));
    assert_eq!(landing_of(&["-r", "a/", "h:d"]), (true, false));
    assert_eq!(landing_of(&["-r", ".", "h:d"]), (true, false));
    assert_eq!(landing_of(&["-T", "a", "h:d"]), (true, false));
    assert_eq!(landing_of(&["-", "h:d"]), (true, false));
    assert_eq!(landing_of(&["h:a", "d"]), (false, false));
    assert_eq!(landing_of(&["-r", "h:", "d"]), (true, false));
    assert_eq!(landing_of(&["h:*.txt", "d"]), (false, true));
    assert_eq!(landing_of(&["--literal", "h:*.txt", "d"]), (false, false));
}

#[test]
fn trees_keep_modes_and_times_unless_that_is_not_wanted() {
    let preserve = |line: &[&str]| resolve(line).unwrap().options.preserve;
    assert!(!preserve(&["a", "h:d"]));
    assert!(preserve(&["-p", "a", "h:d"]));
    assert!(preserve(&["-r", "a", "h:d"]));
    assert!(!preserve(&["-r", "--no-preserve", "a", "h:d"]));
    let keep = |line: &[&str]| resolve(line).unwrap().options.keep_folders;
    assert!(keep(&["-r", "a/", "h:d"]) && keep(&["-rT", "a", "h:d"]) && !keep(&["-r", "a", "h:d"]));
}

#[test]
fn each_option_reaches_the_transfer() {
    let run = resolve(&[
        "-r",
        "--checksum",
        "--update",
        "--delete",
        "--max-delete",
        "7",
        "--dry-run",
        "--in-place",
        "--sync",
        "--fail-fast",
        "--compress",
        "--bwlimit",
        "1M",
        "--exclude",
        "*.o",
        "--include",
        "x.o",
        "a/",
        "h:/srv/d",
    ]);
    let run = run.unwrap();
    assert_eq!(run.rate.map(NonZeroU64::get), Some(1 << 20));
    let options = run.options;
    assert!(options.checksum && options.update && options.delete && options.dry_run);
    assert!(options.in_place && options.sync && options.fail_fast && options.compress);
    assert!(resolve(&["--delta", "a", "h:d"]).unwrap().options.delta);
    assert_eq!(options.max_delete, Some(7));
    assert_eq!(options.rules.lines(), ["*.o", "!x.o"]);
}

#[test]
fn patterns_of_a_file_stand_where_the_file_is_named() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("patterns");
    std::fs::write(&file, "\u{feff}*.a\r\n!b.a\n\n# c").unwrap();
    let file = file.to_str().unwrap();
    let line = ["--exclude", "x", "--exclude-from", file, "--include", "y", "a", "h:d"];
    let rules = resolve(&line).unwrap().options.rules;
    assert_eq!(rules.lines(), ["x", "*.a", "!b.a", "", "# c", "!y"]);
    assert!(refused(&["--exclude-from", "/nonexistent/x", "a", "h:d"]).contains("/nonexistent/x"));
}

#[test]
fn deletion_asks_for_a_clear_destination_and_spares_roots_and_homes() {
    for (line, says) in [
        (&["-r", "--delete", "a", "h:/srv/d"][..], "SRC/ or -T"),
        (&["-r", "--delete", "a", "b", "h:/srv/d"], "SRC/ or -T"),
        (&["-r", "--delete", "a/", "h:"], "a root or a home"),
        (&["-r", "--delete", "a/", "h:/"], "a root or a home"),
        (&["-r", "--delete", "a/", "h:~"], "a root or a home"),
        (&["-r", "--delete", "a/", "h:/home/ada/"], "a root or a home"),
        (&["-r", "--delete", "h:a/", "/"], "a root or a home"),
        (&["-rT", "--delete", "h:a", "/srv/.."], "a root or a home"),
    ] {
        let text = refused(line);
        assert!(text.contains(says), "{line:?}: {text}");
    }
    assert!(resolve(&["-r", "--delete", "a/", "h:/srv/d"]).is_ok());
    assert!(resolve(&["-rT", "--delete", "a", "h:site"]).is_ok());
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_looked_up() {
    for (line, says) in [
        (&["-r", "a/", "b", "h:d"][..], "`a/` means the contents"),
        (&["-T", "a", "b", "h:d"], "-T takes one source"),
        (&["x/a", "y/a", "h:d"], "two sources have the name `a`"),
        (&["h:x/a", "h:y/a", "d"], "two sources have the name `a`"),
        (&["a/", "h:d"], "-r"),
        (&["-", "h:d/"], "Name the file to write"),
        (&["-", "h:"], "Name the file to write"),
        (&["-r", "h:d", "-"], "takes one file"),
        (&["h:a", "h:b", "-"], "takes one file"),
        (&["h:*", "-"], "takes one file"),
        (&["a[1-2]:x", "-"], "a set of hosts"),
        (&["-", "a[1-2]:x"], "a set of hosts"),
        (&["-f", "2", "h:x", "-"], "a set of hosts"),
        (&["--user", "", "a", "h:d"], "--user is empty"),
        (&["--lock", "", "a", "h:d"], "--lock is empty"),
        (&["--exclude", "", "a", "h:d"], "--exclude is empty"),
        (&["a", "h x:d"], "not a host name"),
        (&["a", "@nogroup:d"], "nogroup"),
        (&["a:b", "c:d"], "both sides"),
    ] {
        let text = refused(line);
        assert!(text.contains(says), "{line:?}: {text}");
    }
    let many: Vec<_> = (0..=limits::PATHS).map(|number| format!("h:{number}")).collect();
    let line: Vec<_> = many.iter().map(String::as_str).chain(["d"]).collect();
    assert!(refused(&line).contains("more than 256"));
}

#[test]
fn patterns_that_do_something_else_than_they_look_like_are_told_of() {
    let include = |text: &str| Pattern::Include(text.to_owned());
    let exclude = |text: &str| Pattern::Exclude(text.to_owned());
    let notices = |patterns: &[Pattern]| rule_notices(patterns).join("; ");
    assert!(notices(&[include("*.c")]).contains("leaves nothing out"));
    assert!(notices(&[exclude("*"), include("*.c")]).contains("--include '*/'"));
    assert!(notices(&[include("*.c"), exclude("*")]).contains("nothing goes along"));
    assert_eq!(notices(&[exclude("*"), include("*/"), include("*.c")]), "");
    assert_eq!(notices(&[exclude("*.o")]), "");
    assert_eq!(notices(&[]), "");
}

#[test]
fn a_set_has_a_user_of_each_host_or_the_one_that_is_typed() {
    let run = resolve(&["-l", "app", "a", "web[1-3]:d"]).unwrap();
    assert!(run.is_set && run.hosts.iter().all(|host| host.user == Some("app".into())));
    let names: Vec<_> = run.hosts.iter().map(|host| host.name.as_str()).collect();
    assert_eq!(names, ["web1", "web2", "web3"]);
    let run = resolve(&["a", "web1:22:d"]).unwrap();
    assert!(!run.is_set && run.hosts[0].target.port == 22);
    assert!(run.instead_of_port.unwrap().contains("web1:./22:d"));
    assert!(resolve(&["-f", "3", "a", "web1:d"]).unwrap().is_set);
}
