//! Programs on a file system that does not answer: whoever starts them waits for nothing but them, and
//! nobody else waits at all.

use std::time::Instant;

use rcmd_tests::hanging::HangingPrograms;
use rcmd_tests::{RunningClient, World, eventually, require};
use rustix::process::Signal;

/// A number of commands above that of the server's threads that start processes.
const STUCK: usize = 6;

fn stuck(world: &World, programs: &HangingPrograms) -> Vec<RunningClient> {
    let before = programs.waiting();
    let command = || world.exec([programs.program()]).with_result();
    let clients = (0..STUCK).map(|_| command().spawn()).collect();
    eventually("all of them wait", || programs.waiting() == before + STUCK);
    clients
}

#[test]
fn stuck_starts_hold_up_neither_starts_nor_kills() {
    let programs = require!(HangingPrograms::mount());
    let world = World::start();
    let clients = stuck(&world, &programs);
    world.exec(["true"]).run().assert_code(0);
    world.exec(["sleep", "600"]).options(["--timeout", "200ms"]).run().assert_code(124);
    world.exec([programs.program().with_file_name("other")]).run().assert_code(127);
    for client in clients {
        let done = client.wait();
        done.assert_code(125);
        let result = done.result();
        assert_eq!(
            (&result["outcome"], &result["retry_safe"]),
            (&"not_started".into(), &true.into())
        );
        let message = result["error"]["message"].as_str().unwrap();
        assert!(message.contains("was not executing after 10 s"), "{message}");
    }
    drop(programs);
}

#[test]
fn an_interrupt_ends_a_start_that_is_stuck() {
    let programs = require!(HangingPrograms::mount());
    let world = World::start();
    let [first, ..] = &mut stuck(&world, &programs)[..] else { panic!("no client") };
    first.signal(Signal::INT);
    let began = Instant::now();
    eventually("it is told that nothing runs", || !first.runs());
    assert!(began.elapsed().as_secs() < 8, "it waited for the start to be given up");
    drop(programs);
}

#[test]
fn a_server_with_stuck_starts_stops_and_another_has_its_place_at_once() {
    let programs = require!(HangingPrograms::mount());
    let mut world = World::start();
    let clients = stuck(&world, &programs);
    // What waits in the kernel outlives the server, and keeps neither its port nor its audit.
    world.kill_server();
    world.start_server();
    world.exec(["true"]).run().assert_code(0);
    drop(clients);
    let clients = stuck(&world, &programs);
    world.signal_server(Signal::TERM);
    world.signal_server(Signal::TERM);
    assert!(world.wait_server().success());
    drop(clients);
    drop(programs);
    world.start_server();
}
