//! An end that is killed in the middle: nothing looks finished that is not, and the next run goes on.

use std::fs;

use rcmd_tests::{World, eventually, proc};
use rustix::process::Signal;

use crate::tree::describe;
use crate::{cp, there};

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
        let words = |source: &str| match is_push {
            true => [source.to_owned(), there(&world, world.scratch("to"))],
            false => [there(&world, world.scratch(source)), "to".to_owned()],
        };
        let client = cp(&world, ["-r".to_owned()].into_iter().chain(words("s"))).spawn();
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
            for process in proc::descendants(world.pid()) {
                if is_transfer(process.pid) {
                    process.kill();
                }
            }
            let code = client.wait().code();
            // It may just have ended.
            assert!([0, 1, 255].contains(&code), "{code}");
        }
        let there = finished(&world, "to");
        assert!(there.iter().all(|line| line.contains(" 4000000 ")), "{there:?}");
        cp(&world, ["-r".to_owned()].into_iter().chain(words("s/"))).run().assert_code(0);
        assert_eq!(finished(&world, "to"), whole);
    }
}
