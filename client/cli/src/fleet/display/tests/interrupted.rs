//! Messages at the first interrupt, and that no output which came before it is lost.

use super::harness::{PIPE, TERMINAL, exited, failed};
use super::*;

#[test]
fn each_state_has_a_line_with_folded_names() {
    let mut stage = Stage::new("web[1-9]", PIPE, settings(DisplayForm::Lines));
    let running = vec![(2, Duration::from_millis(9_999)), (6, Duration::from_secs(72))];
    let mut interrupt = |passed, running, waiting| {
        stage.worker.show(Shown::Interrupted { passed, running, waiting });
    };
    interrupt(None, running, 4);
    interrupt(None, vec![(2, Duration::ZERO)], 0);
    interrupt(Some(Signal::INT), Vec::new(), 0);
    let first = "rcmd: interrupted: no further host begins; again to interrupt what runs\n";
    assert_eq!(
        stage.finish().err(),
        format!(
            "{first}rcmd: 3 of 9 ended\nrcmd: 2 run: web[3,7], web7 longest, for 1m 12s\n\
             rcmd: 4 wait and will not begin\n\
             {first}rcmd: 8 of 9 ended\nrcmd: 1 run: web3, for 0s\n\
             rcmd: interrupted: no further host begins, and what runs gets SIGINT; in 5s, or if interrupted \
             again, it is killed\nrcmd: 9 of 9 ended\n"
        )
    );
}

#[test]
fn what_fold_has_is_shown_and_the_one_that_was_cut_stands_apart() {
    let shown = DisplaySettings { summary: Summary::Table, ..settings(DisplayForm::Fold) };
    let mut stage = Stage::new("a[1-3]", PIPE, shown);
    (0..3).for_each(|index| stage.out(index, "ok\n"));
    stage.end(0, exited(0));
    stage.end(2, exited(0));
    let running = vec![(1, Duration::ZERO)];
    stage.worker.show(Shown::Interrupted { passed: None, running, waiting: 0 });
    let killed = Report {
        signal: Some(Signal::INT),
        error: None,
        ..failed(Outcome::Signaled, ErrorKind::Lost, "")
    };
    stage.end(1, killed);
    let seen = stage.finish();
    assert_eq!(
        seen.out(),
        "---------------\na[1,3] (2)\n---------------\nok\n\
         ---------------\na2 (1): ended by SIGINT\n---------------\nok\n"
    );
    assert!(
        seen.err().ends_with("rcmd: 3 hosts: 2 exited 0, 1 failed\nrcmd: 1 ended by SIGINT: a2\n")
    );
}

#[test]
fn at_a_terminal_it_stands_in_the_place_of_the_key_that_was_echoed() {
    let mut stage = Stage::new("a1", TERMINAL, settings(DisplayForm::Lines));
    stage.worker.show(Shown::Interrupted { passed: None, running: Vec::new(), waiting: 1 });
    let all = stage.finish().all();
    assert!(all.starts_with("\rrcmd: interrupted: "), "{all:?}");
}

#[test]
fn a_warning_erases_the_live_line_which_comes_again_behind_it() {
    let kind = Kind { live: true, ..TERMINAL };
    let mut stage = Stage::new("a1", kind, settings(DisplayForm::Lines));
    let standing = Standing { total: 1, ..Standing::default() };
    stage.worker.show(Shown::Standing(standing));
    stage.worker.settle();
    let failure = WireError::new(ErrorKind::LocalIo, "cannot write the record: no\x1b[2J room");
    stage.worker.show(Shown::Warning(failure.hint("The run goes on.")));
    stage.worker.settle();
    let (live, erase) = ("rcmd: 0/1 done\r", "\r\x1b[J");
    let warning =
        "rcmd: warning: cannot write the record: no\\u{1b}[2J room\nrcmd: The run goes on.\n";
    assert_eq!(stage.finish().all(), format!("{live}{erase}{warning}{live}{erase}"));
}
