use std::os::unix::ffi::OsStringExt as _;

use super::*;

fn parse(line: &[&str]) -> Result<Request, Refused> {
    let typed = std::iter::once("rcmd-client").chain(line.iter().copied());
    Request::parse(typed.map(OsString::from).collect())
}

fn run(line: &[&str]) -> RunArguments {
    match parse(line) {
        Ok(Request::Run(run)) => *run,
        other => panic!("{line:?}: {other:?}"),
    }
}

fn refused(line: &[&str]) -> String {
    match parse(line) {
        Err(Refused::Usage(failure)) => {
            format!("{failure} {}", failure.hint.as_deref().unwrap_or_default())
        }
        Err(Refused::Answer(answer)) => panic!("{line:?}: {answer}"),
        Ok(request) => panic!("{line:?}: {request:?}"),
    }
}

mod table;

#[test]
fn options_stop_at_the_host() {
    let run = run(&["--json", "web1", "--json", "-n", "--cwd", "/"]);
    assert!(run.common.json && !run.options.no_input && run.options.cwd.is_none());
    assert_eq!(run.words, ["web1", "--json", "-n", "--cwd", "/"]);
}

#[test]
fn after_the_host_even_two_dashes_are_the_commands() {
    assert_eq!(run(&["web1", "--", "ls"]).words, ["web1", "--", "ls"]);
    assert_eq!(run(&["web1", "ls", "--", "-x"]).words, ["web1", "ls", "--", "-x"]);
    assert_eq!(run(&["run", "web1", "--", "ls"]).words, ["web1", "--", "ls"]);
    assert_eq!(run(&["--", "web1", "--", "ls"]).words, ["web1", "--", "ls"]);
}

#[test]
fn run_takes_a_host_named_like_a_command() {
    assert_eq!(run(&["run", "doctor", "ls"]).words, ["doctor", "ls"]);
    assert_eq!(run(&["run", "cp", "ls"]).words, ["cp", "ls"]);
    assert!(matches!(parse(&["cp", "a", "web1:b"]), Ok(Request::Copy(_))));
    assert_eq!(run(&["run", "run", "run"]).words, ["run", "run"]);
    assert_eq!(run(&["--", "doctor", "ls"]).words, ["doctor", "ls"]);
    assert_eq!(run(&["web1", "run", "doctor"]).words, ["web1", "run", "doctor"]);
}

#[test]
fn options_stand_on_either_side_of_a_subcommand() {
    let run = run(&["--dir", "d", "--env", "A=1", "run", "-n", "--env", "B=2", "web1", "ls", "-n"]);
    assert_eq!(run.common.dir, Some("d".into()));
    assert_eq!(run.options.env, ["A=1", "B=2"]);
    assert!(run.options.no_input);
    assert_eq!(run.words, ["web1", "ls", "-n"]);
    assert!(matches!(
        parse(&["--dir", "d", "doctor", "web1"]),
        Ok(Request::Doctor(DoctorArguments { common: Common { dir: Some(_), .. }, .. }))
    ));
}

#[test]
fn names_of_later_commands_are_reserved_and_say_how_to_reach_such_a_host() {
    for name in ["shell", "job"] {
        let text = refused(&[name, "x"]);
        assert!(text.contains(&format!("`{name}` is reserved")), "{text}");
        assert!(text.contains(&format!("`rcmd-client run {name} COMMAND...`")), "{text}");
        assert_eq!(run(&["run", name, "x"]).words, [name, "x"]);
    }
}

#[test]
fn a_value_that_looks_like_a_command_is_a_value() {
    let run = run(&["--cwd", "doctor", "web1", "ls"]);
    assert_eq!(run.options.cwd, Some("doctor".into()));
    assert_eq!(run.words, ["web1", "ls"]);
}

#[test]
fn what_belongs_to_later_versions_is_not_accepted() {
    for flag in ["-t", "-T", "--detach"] {
        assert!(refused(&[flag, "web1", "ls"]).contains("unexpected argument"), "{flag}");
    }
}

#[test]
fn any_byte_passes() {
    let odd = OsString::from_vec(b"\xff\n'\x1b".to_vec());
    let typed = ["rcmd-client", "web1", "echo"].map(OsString::from).into_iter();
    let typed = typed.chain([odd.clone(), OsString::new()]).collect();
    let Ok(Request::Run(run)) = Request::parse(typed) else { panic!("refused") };
    assert_eq!(run.words, [OsString::from("web1"), "echo".into(), odd, "".into()]);
}

#[test]
fn the_command_lines_are_consistent() {
    RunArguments::command().debug_assert();
    copy::command().debug_assert();
    listing::list_command().debug_assert();
    listing::edit_command().debug_assert();
    DoctorArguments::command().debug_assert();
    HostsArguments::command().debug_assert();
    RunsArguments::command().debug_assert();
    CompletionsArguments::command().debug_assert();
    ManArguments::command().debug_assert();
    tree().debug_assert();
}

#[test]
fn the_short_help_fits_a_screen_and_has_two_examples() {
    let help = RunArguments::command().term_width(80).render_help().to_string();
    assert!(help.lines().count() <= 25, "{}\n{help}", help.lines().count());
    assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    assert_eq!(help.matches("\n  rcmd-client ").count(), 2, "{help}");
    for option in ["--dry-run", "--lock", "--key", "--commands", "--timeout", "--user"] {
        assert!(help.contains(option), "{option}: {help}");
    }
}

#[test]
fn the_short_help_of_runs_fits_a_screen() {
    let help = RunsArguments::command().term_width(80).render_help().to_string();
    assert!(help.lines().count() <= 24, "{}\n{help}", help.lines().count());
    assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    assert!(help.contains("rcmd-client runs show ID|last"), "{help}");
}

#[test]
fn runs_are_listed_or_one_is_shown_with_options_on_either_side() {
    for line in [
        &["--dir", "d", "--json", "runs", "show", "last"][..],
        &["runs", "--dir", "d", "--json", "show", "last"],
        &["runs", "show", "last", "--json", "--dir", "d"],
    ] {
        let Ok(Request::Runs(runs)) = parse(line) else { panic!("{line:?}") };
        assert_eq!((runs.dir, runs.json), (Some("d".into()), true), "{line:?}");
        assert_eq!((runs.action, runs.run.as_deref()), (Some(runs::Action::Show), Some("last")));
    }
    assert!(matches!(parse(&["runs"]), Ok(Request::Runs(runs)) if runs.action.is_none()));
    for (line, says) in [
        (&["runs", "show"][..], "`runs show` names no run"),
        (&["runs", "show", "--json"], "`runs show` names no run"),
        (&["runs", "list"], "`list` stands where `show` can"),
        (&["runs", "19ac7436cdbdef01", "--json"], "`19ac7436cdbdef01` stands where"),
    ] {
        let text = refused(line);
        assert!(
            text.contains(says) && text.contains("`rcmd-client runs` lists the runs"),
            "{text}"
        );
        assert!(text.contains("`rcmd-client runs show last`"), "{text}");
    }
    assert!(refused(&["runs", "show", "a", "b"]).contains("`rcmd-client runs -h`"));
}

#[test]
fn a_help_is_wrapped_once_at_any_width() {
    for width in [80, 100] {
        let help = RunArguments::command().term_width(width).render_long_help().to_string();
        let lines: Vec<_> = help.lines().collect();
        for line in MORE.lines().filter(|line| line.chars().count() < 80) {
            assert!(lines.contains(&line), "{width}: {line:?} is wrapped: {help}");
        }
        // A paragraph is as wide as the terminal, or as what can be read.
        let widest = lines.iter().map(|line| line.chars().count()).max().unwrap_or_default();
        assert!((width - 10..=width).contains(&widest), "{width}: {widest}");
    }
}

#[test]
fn each_subcommand_has_its_own_line_of_usage_and_its_complaints_name_it() {
    for name in SUBCOMMANDS {
        let help = match parse(&[name, "-h"]) {
            Err(Refused::Answer(help)) | Ok(Request::Ssh(Err(Refused::Answer(help)))) => help,
            other => panic!("{name}: {other:?}"),
        };
        assert!(help.to_string().contains(&format!("Usage: rcmd-client {name}")), "{help}");
    }
    assert!(refused(&["doctor"]).contains("missing argument: HOST"), "{}", refused(&["doctor"]));
    for (line, help) in [
        (&["doctor"][..], "`rcmd-client doctor -h`"),
        (&["hosts"], "`rcmd-client hosts -h`"),
        (&["enroll", "--nonsense"], "`rcmd-client enroll -h`"),
        (&["completions"], "`rcmd-client completions -h`"),
        (&["run", "--nonsense", "web1"], "`rcmd-client run -h`"),
        (&["--nonsense", "web1"], "`rcmd-client -h`"),
    ] {
        assert!(refused(line).contains(help), "{line:?}: {}", refused(line));
    }
    assert!(refused(&["--tiemout", "3", "web1", "ls"]).contains("--timeout"));
}

#[test]
fn the_whole_help_names_every_option_and_exit_status() {
    let help = RunArguments::command().render_long_help().to_string();
    for option in RunArguments::command().get_opts() {
        let long = option.get_long().map(|name| format!("--{name}")).unwrap_or("-n".into());
        assert!(help.contains(&long), "{long}");
    }
    for status in ["124 ", "125 ", "126, 127", "255 ", "128 + N"] {
        assert!(help.contains(status), "{status}");
    }
}

#[test]
fn many_commands_stand_before_the_host_like_any_option() {
    for line in [
        &["run", "--commands", "f", "--parallel", "3", "--unordered", "web1"][..],
        &["--commands", "f", "--parallel", "3", "--unordered", "run", "web1"],
        &["--commands=f", "--parallel=3", "--unordered", "web1"],
    ] {
        let mut run = run(line);
        assert_eq!(run.words, ["web1"]);
        assert!(run.many.take(false, &[]).unwrap().is_some());
    }
    assert!(refused(&["run", "--commands", "f", "--key", "k", "web1"]).contains("--key"));
}
