//! The live line: below the output, never longer than the terminal, and nowhere else.

use super::harness::{PIPE, TERMINAL, exited};
use super::*;

const LIVE: Kind = Kind { live: true, ..TERMINAL };
const ERASE: &str = "\r\x1b[J";

fn standing(done: usize) -> Shown {
    let slowest = Some((1, Duration::from_secs(61)));
    Shown::Standing(Standing { done, running: 1, failed: 0, total: 2, slowest })
}

#[test]
fn it_is_erased_before_output_and_drawn_again_behind_it() {
    let mut stage = Stage::new("a[1-2]", LIVE, settings(DisplayForm::Lines));
    stage.worker.show(standing(0));
    stage.worker.settle();
    stage.out(0, "x\n");
    stage.err(0, "y\n");
    stage.worker.settle();
    stage.worker.settle();
    stage.worker.show(standing(1));
    stage.worker.settle();
    stage.end(0, exited(0));
    let line = |done| format!("rcmd: {done}/2 done, 1 run; slowest a2 1m 1s\r");
    let (zero, one) = (line(0), line(1));
    assert_eq!(
        stage.finish().all(),
        format!("{zero}{ERASE}a1: x\na1: ! y\n{zero}{ERASE}{one}{ERASE}")
    );
}

#[test]
fn output_that_goes_elsewhere_leaves_it_alone() {
    let kind = Kind { piped: true, ..LIVE };
    let mut stage = Stage::new("a[1-2]", kind, settings(DisplayForm::Lines));
    stage.worker.show(standing(0));
    stage.worker.settle();
    stage.out(0, "x\x1b\n");
    stage.worker.settle();
    let line = "rcmd: 0/2 done, 1 run; slowest a2 1m 1s\r";
    assert_eq!(stage.finish().all(), format!("{line}a1: x\x1b\n{ERASE}"));
}

#[test]
fn it_is_never_in_a_pipe_nor_where_it_is_not_wanted() {
    for kind in [Kind { live: true, ..PIPE }, TERMINAL] {
        let mut stage = Stage::new("a[1-2]", kind, settings(DisplayForm::Lines));
        stage.worker.show(standing(0));
        stage.worker.settle();
        assert_eq!(stage.finish().all(), "");
    }
}

#[test]
fn it_is_as_long_as_the_terminal_is_wide_now() {
    let mut stage =
        Stage::new("a[1-2]", Kind { columns: 20, ..LIVE }, settings(DisplayForm::Lines));
    stage.worker.show(standing(0));
    stage.worker.settle();
    assert_eq!(stage.seen.all(), "rcmd: 0/2 done\r");
}

#[test]
fn it_is_there_unless_output_shows_by_itself_how_far_it_is() {
    let lines = settings(DisplayForm::Lines);
    assert!(!lines.has_live(false) && lines.has_live(true));
    assert!(settings(DisplayForm::Fold).has_live(false));
    let asked = DisplaySettings { progress: true, ..lines };
    assert!(asked.has_live(false));
    assert!(!DisplaySettings { verbosity: Verbosity::Quiet, ..asked }.has_live(true));
}
