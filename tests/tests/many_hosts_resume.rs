//! Runs over many hosts that were broken off, and are taken up again.

use std::fs;

use rcmd_tests::eventually;
use rcmd_tests::many::{self, account, count_lines, resume, shell, world};
use rustix::process::Signal;

#[test]
fn what_ran_while_nobody_looked_is_taken_up_and_not_run_again() {
    let world = world(2);
    let ran = world.scratch("ran");
    let line = format!("echo x >> {}; sleep 3; echo {{host}}", ran.display());
    let client = shell(&world, "dead,a[1-2]", &line).options(["--batch", "2"]).spawn();
    eventually("a1 runs", || count_lines(&ran) == 1);
    client.signal(Signal::KILL);
    drop(client);
    for _ in 0..2 {
        let done = resume(&world, &["--json"]);
        let summary = account(&done, 3);
        assert_eq!((&summary["exited"], &summary["not_started"]), (&2.into(), &1.into()));
        done.assert_code(125);
        assert_eq!(count_lines(&ran), 2, "nothing runs twice: {}", done.story());
    }
    let end = many::events(&resume(&world, &["--json"]));
    let a1 = end.iter().find(|event| event["event"] == "end" && event["host"] == "a1").unwrap();
    assert_eq!(a1["result"]["outcome"], "exited", "{a1}");
}

#[test]
fn what_failed_is_run_again_and_what_was_well_is_left_alone() {
    let world = world(3);
    let (ran, mended) = (world.scratch("ran"), world.scratch("mended"));
    let line =
        format!("echo x >> {}; [ {{host}} = a1 ] || [ -e {} ]", ran.display(), mended.display());
    shell(&world, "a[1-3]", &line).run().assert_code(1);
    fs::write(&mended, "").unwrap();
    resume(&world, &[]).assert_code(0).assert_says("3 exited 0");
    assert_eq!(count_lines(&ran), 5, "two of three ran again");
    let done = resume(&world, &[]);
    done.assert_code(0).assert_says("nothing is left to do");
    assert_eq!(count_lines(&ran), 5);
}

#[test]
fn a_run_without_a_record_goes_on_and_says_so() {
    let world = world(2);
    fs::write(world.client_dir().join("runs"), "no folder").unwrap();
    let done = shell(&world, "a[1-2]", "echo x").run();
    done.assert_code(0).assert_says("warning");
    assert_eq!(many::sorted_lines(&done), ["a1: x", "a2: x"]);
}

#[test]
fn a_run_that_sent_standard_input_is_not_resumed() {
    let world = world(2);
    shell(&world, "a[1-2]", "cat; false").option("-i").stdin(*b"x\n").run().assert_code(1);
    resume(&world, &[]).assert_code(125).assert_says("-i");
}

#[test]
fn runs_are_listed_with_what_came_of_them() {
    let world = world(2);
    shell(&world, "a[1-2],dead", "true").run().assert_code(125);
    let dir = world.client_dir().to_str().unwrap().to_owned();
    let done = world.bare_client(["runs", "--dir", &dir]).run();
    done.assert_code(0);
    assert!(done.stdout_text().contains("a[1-2],dead"), "{}", done.story());
    let done = world.bare_client(["runs", "--dir", &dir, "show", "last"]).run();
    done.assert_code(0);
    assert!(done.stdout_text().contains("dead"), "{}", done.story());
}

#[test]
fn what_is_not_reached_stays_unknown_and_is_never_run_again_for_it() {
    let world = world(1);
    let ran = world.scratch("ran");
    let line = format!("echo x >> {}; sleep 1", ran.display());
    let client = shell(&world, "a[1-1]", &line).spawn();
    eventually("it runs", || count_lines(&ran) == 1);
    client.signal(Signal::KILL);
    drop(client);
    world.signal_server(Signal::STOP);
    resume(&world, &["--connect-timeout", "1s"]).assert_code(255).assert_says("1 unknown");
    world.signal_server(Signal::CONT);
    resume(&world, &[]).assert_code(0);
    assert_eq!(count_lines(&ran), 1);
}

#[test]
fn a_stop_among_the_starts_leaves_what_was_taken_up_alone() {
    let world = world(2);
    let ran = world.scratch("ran");
    let line = format!("echo x >> {}; sleep 1", ran.display());
    let client = shell(&world, "dead,a[1-1]", &line).options(["-f", "2"]).spawn();
    eventually("it runs", || count_lines(&ran) == 1);
    client.signal(Signal::KILL);
    drop(client);
    for _ in 0..2 {
        let done = resume(&world, &["-f", "1", "--max-failures", "0", "--json"]);
        assert_eq!(account(&done, 2)["exited"], 1, "{}", done.story());
    }
    assert_eq!(count_lines(&ran), 1);
}

#[test]
fn a_part_of_the_hosts_is_one_of_all_in_a_resume_too() {
    let world = world(4);
    let ran = world.scratch("ran");
    let line = format!("echo x >> {}; false", ran.display());
    shell(&world, "a[1-4]", &line).run().assert_code(1);
    resume(&world, &["-f", "1", "--max-failures", "100%"]).assert_code(1);
    assert_eq!(count_lines(&ran), 8, "all four ran again");
}

#[test]
fn a_resume_leaves_the_files_of_what_was_well() {
    let world = world(2);
    let folder = world.scratch("out");
    let outdir = ["--outdir", folder.to_str().unwrap()];
    shell(&world, "a[1-2]", "echo {host}; [ {host} = a1 ]").options(outdir).run().assert_code(1);
    resume(&world, &outdir).assert_code(1);
    for host in ["a1", "a2"] {
        let output = fs::read_to_string(folder.join(format!("{host}.out"))).unwrap();
        assert_eq!(output, format!("{host}\n"));
    }
}

#[test]
fn what_the_record_has_is_not_typed_again() {
    let world = world(2);
    shell(&world, "a[1-2]", "false").run().assert_code(1);
    for options in [&["--timeout", "5s"][..], &["--user", "root"], &["--env", "A=1"], &["--shell"]]
    {
        resume(&world, options).assert_code(125).assert_says(options[0]);
    }
}
