//! Renewal: certificates that end while they are used.

use std::fs;

use rcmd_certs::Layout;
use rcmd_certs::enroll::Kind;
use rcmd_certs::{clock, tls::load_leaf};
use rcmd_tests::authority::Serving;
use rcmd_tests::membership::{enroll, enrolled, serial};
use rcmd_tests::sink::Sink;
use rcmd_tests::{World, binaries, eventually, require, skip};

#[test]
fn a_server_renews_under_load_and_no_command_fails() {
    // CI's share; `soak renewal` runs a hundred.
    assert!(rcmd_tests::soak::renewal::run(5).commands > 0);
}

#[test]
fn an_authority_is_rotated_under_load_and_no_command_fails() {
    // CI's share; `soak rotation` moves twenty servers.
    assert!(rcmd_tests::soak::rotation::run(2, "9s").commands > 0);
}

#[test]
fn a_command_runs_across_the_end_of_its_certificate() {
    let authority = Serving::with("client_life = \"4s\"");
    let mut world = enrolled(&authority, World::builder());
    world.start_server();
    let first = serial(&world, Kind::Client);
    let done = world.shell("sleep 9; echo over").with_result().run();
    done.assert_code(0);
    assert_eq!(done.stdout_text(), "over\n");
    assert!(serial(&world, Kind::Client) != first);
    world.wait_for_log("your certificate ended");
}

#[test]
fn a_certificate_that_ended_in_the_middle_and_can_t_be_renewed_ends_the_session() {
    let mut authority = Serving::with("client_life = \"5s\"");
    let mut world = enrolled(&authority, World::builder().config("grace = \"2s\""));
    world.start_server();
    let mut session =
        world.shell("echo here; sleep 600.78").with_result().stdout(Sink::Pipe).spawn();
    assert_eq!(session.read_line(), "here");
    authority.stop();
    let done = session.wait();
    done.assert_code(255);
    done.assert_says("could not be renewed");
    let refused = world.exec(["true"]).run();
    refused.assert_code(125);
    refused.assert_says("rcmd-client enroll --renew");
}

#[test]
fn a_client_renews_after_a_command_or_before_one_once_it_has_expired() {
    let authority = Serving::with("client_life = \"6s\"");
    let mut world = enrolled(&authority, World::builder());
    world.start_server();
    let layout = Layout::new(world.dir());
    let left = || load_leaf(&layout.client_cert()).unwrap().not_after - clock::now_unix();
    let first = serial(&world, Kind::Client);
    eventually("two thirds are over", || left() <= 2);
    world.exec(["true"]).run().assert_code(0);
    eventually("it is renewed", || serial(&world, Kind::Client) != first);
    let second = serial(&world, Kind::Client);
    eventually("it has ended", || left() < 0);
    world.exec(["true"]).run().assert_code(0);
    assert!(serial(&world, Kind::Client) != second);
}

#[test]
fn a_dry_run_too_renews_a_certificate_that_has_ended() {
    let authority = Serving::with("client_life = \"3s\"");
    let mut world = enrolled(&authority, World::builder());
    world.start_server();
    let cert = Layout::new(world.dir()).client_cert();
    let first = serial(&world, Kind::Client);
    eventually("its end", || clock::now_unix() > load_leaf(&cert).unwrap().not_after);
    world.exec(["true"]).option("--dry-run").run().assert_code(0);
    assert_ne!(serial(&world, Kind::Client), first);
}

#[test]
fn whoever_renews_by_a_wrong_clock_is_told_whatever_is_done() {
    let library = require!(skip::need_faketime());
    let authority = Serving::with("client_life = \"10m\"");
    let mut world = enrolled(&authority, World::builder());
    world.start_server();
    let file = world.scratch("f");
    fs::write(&file, "content").unwrap();
    let place = format!("{}:{}", world.target(), file.display());
    let copy = world.scratch("copy").display().to_string();
    for words in [&["ls", &place][..], &["cp", &place, &copy], &["edit", &place]] {
        let client = world.client().without_target().options(words).env("VISUAL", "true");
        let client = client.env("LD_PRELOAD", &library).env("FAKETIME", "+660");
        let done = client.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").run();
        done.assert_code(0)
            .assert_says("this machine's clock is 11 minutes ahead of the authority's");
    }
}

#[test]
fn clients_that_renew_at_once_leave_one_good_certificate() {
    let authority = Serving::start();
    let mut world = enrolled(&authority, World::builder());
    world.start_server();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let done = enroll(&binaries().client, &world, &["--renew"]);
                assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            });
        }
    });
    world.exec(["true"]).run().assert_code(0);
}
