//! An end that is killed in the middle: nothing looks finished that is not, and the next run goes on.

use std::fs;

use rcmd_tests::proxy::Proxy;
use rcmd_tests::{World, eventually, proc};
use rustix::process::Signal;

use crate::cp;
use crate::tree::describe;

/// The entries of a tree but for parts of files, which have names of their own.
fn finished(world: &World, name: &str) -> Vec<String> {
    let lines = describe(&world.scratch(name)).into_iter();
    lines.filter(|line| !line.contains(".rcmd-part-")).collect()
}

#[test]
fn a_kill_of_either_end_leaves_nothing_half_done_and_the_next_run_goes_on() {
    for (is_push, kills_client) in [(true, true), (true, false), (false, true), (false, false)] {
        let world = World::start();
        fs::create_dir(world.scratch("s")).unwrap();
        for number in 0..60 {
            let content: Vec<u8> = (0..4_000_000).map(|at: usize| (at % 251) as u8).collect();
            fs::write(world.scratch("s").join(number.to_string()), content).unwrap();
        }
        let whole = finished(&world, "s");
        // So slow that it is under way when an end is killed.
        let proxy = Proxy::to(world.address());
        proxy.throttle(Some(16_000_000));
        let words = |source: &str, target: &str| {
            let there = |name: &str| format!("{target}:{}", world.scratch(name).display());
            let paths = match is_push {
                true => [source.to_owned(), there("to")],
                false => [there(source), "to".to_owned()],
            };
            ["-r".to_owned()].into_iter().chain(paths)
        };
        let client = cp(&world, words("s", &proxy.target())).spawn();
        let copied = || fs::read_dir(world.scratch("to")).map_or(0, Iterator::count);
        eventually("files are there", || copied() > 2);
        if kills_client {
            client.signal(Signal::KILL);
            let _ = client.wait();
        } else {
            let is_transfer = |pid: u32| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                line.split(|byte| *byte == 0).nth(1) == Some(&b"_transfer"[..])
            };
            let mut processes = proc::descendants(world.pid());
            processes.retain(|process| is_transfer(process.pid));
            assert_eq!(processes.len(), 1);
            processes[0].kill();
            client.wait().assert_code(255);
        }
        assert!(copied() < 60);
        let there = finished(&world, "to");
        assert!(there.iter().all(|line| line.contains(" 4000000 ")), "{there:?}");
        cp(&world, words("s/", &world.target())).run().assert_code(0);
        assert_eq!(finished(&world, "to"), whole);
    }
}
