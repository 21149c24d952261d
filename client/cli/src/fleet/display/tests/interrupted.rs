//! What is told at the first interrupt, and that nothing which came before it is lost.

use super::harness::{PIPE, exited, failed};
use super::*;

#[test]
fn each_state_has_a_line_with_folded_names() {
    let mut stage = Stage::new("web[1-9]", PIPE, settings(DisplayForm::Lines));
    let running = vec![(2, Duration::from_millis(9_999)), (6, Duration::from_secs(72))];
    stage.worker.show(Shown::Interrupted { running, waiting: 4 });
    stage.worker.show(Shown::Interrupted { running: vec![(2, Duration::ZERO)], waiting: 0 });
    stage.worker.show(Shown::Interrupted { running: Vec::new(), waiting: 0 });
    let first = "rcmd: interrupted: no further host begins; again to interrupt what runs\n";
    assert_eq!(
        stage.finish().err(),
        format!(
            "{first}rcmd: 3 of 9 ended\nrcmd: 2 run: web[3,7], web7 longest, for 1m 12s\n\
             rcmd: 4 wait and will not begin\n\
             {first}rcmd: 8 of 9 ended\nrcmd: 1 run: web3, for 0s\n\
             {first}rcmd: 9 of 9 ended\n"
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
    stage.worker.show(Shown::Interrupted { running: vec![(1, Duration::ZERO)], waiting: 0 });
    let killed = Report {
        signal: Some(rcmd_client::Signal::INT),
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
