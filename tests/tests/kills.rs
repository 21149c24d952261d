//! Clients that die leave nothing behind on the host, whatever their commands have become there.

use rcmd_tests::soak::Judged as _;
use rcmd_tests::soak::kills::{self, DEATHS, Death, ESCAPE, Scene, Way, survivors};
use rcmd_tests::{eventually, proc, require, skip};

/// Lets a client of each shape die in one way, all at once.
fn nothing_is_left_after(death: Death) {
    nothing_is_left(Way::Portable, death);
    require!(skip::need_cgroup());
    nothing_is_left(Way::Cgroup, death);
}

fn nothing_is_left(way: Way, death: Death) {
    let scene = Scene::new(way);
    let shapes = way.shapes();
    let before = scene.world.settled_snapshot();
    let victims = shapes.iter().map(|&shape| {
        let victim = scene.victim(shape);
        victim.seen(shape.processes);
        victim
    });
    let victims: Vec<_> = victims.collect();
    let marks: Vec<_> = victims.iter().map(|victim| victim.mark.clone()).collect();
    std::thread::scope(|scope| {
        for victim in victims {
            scope.spawn(|| scene.end(victim, death));
        }
    });
    for (shape, mark) in shapes.iter().zip(marks) {
        assert_eq!(survivors(&mark), [], "of {}", shape.name);
    }
    scene.world.assert_settles_to(&before);
}

#[test]
fn a_client_that_is_terminated_leaves_no_process_behind() {
    nothing_is_left_after(Death::Term);
}

#[test]
fn a_client_that_is_killed_leaves_no_process_behind() {
    nothing_is_left_after(Death::Kill);
}

#[test]
fn a_client_that_falls_silent_leaves_no_process_behind() {
    nothing_is_left_after(Death::Silence);
}

#[test]
fn clients_that_die_at_any_moment_leave_no_process_behind() {
    let figures = kills::run(Way::Portable, 18, 3);
    assert!(figures.are_good(), "{figures}");
    require!(skip::need_cgroup());
    let figures = kills::run(Way::Cgroup, 26, 3);
    assert!(figures.are_good(), "{figures}");
}

/// A daemon with a cleared environment can't be traced to its command without a cgroup: it has no
/// parent, no group, no session and no `RCMD_JOB` of its command's. `docs/operating.md` says so.
#[test]
fn a_daemon_with_a_cleared_environment_alone_gets_away_without_cgroups() {
    for death in DEATHS {
        let scene = Scene::new(Way::Portable);
        let victim = scene.victim(ESCAPE);
        let mark = victim.mark.clone();
        let escaped = |process: &proc::Process| {
            let environ = std::fs::read(format!("/proc/{}/environ", process.pid));
            process.parent == scene.world.pid() && environ.is_ok_and(|environ| environ.is_empty())
        };
        eventually("the daemon has got away", || {
            let there = proc::marked(&mark);
            there.len() == ESCAPE.processes && there.iter().any(escaped)
        });
        scene.end(victim, death);
        eventually("the rest of the command is gone", || proc::marked(&mark).len() <= 1);
        let left = proc::marked(&mark);
        left.iter().for_each(proc::Process::kill);
        assert_eq!(left.len(), 1, "after {death:?}");
        assert_eq!(survivors(&mark), []);
    }
}
