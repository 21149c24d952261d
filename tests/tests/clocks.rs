//! A clock that is an hour off, at either end and either way: both ends say whose clock it may be, what
//! it shows, and which date of which certificate it is compared with.

use std::path::Path;

use rcmd_certs::clock;
use rcmd_tests::pki::{Authority, Leaf};
use rcmd_tests::{World, eventually_some, require, skip};

/// A clock that is off by so much.
#[derive(Clone, Copy)]
struct Clock(&'static str);

impl Clock {
    const AHEAD: Self = Self("+3600");
    const BEHIND: Self = Self("-3600");

    /// Returns the time that the clock shows, to the hour, now and in a minute: the minutes pass
    /// while a test runs.
    fn shows(self) -> [String; 2] {
        // Both hours that the test may fall into.
        let off: i64 = self.0.parse().unwrap();
        [0, 60].map(|later| hour(clock::now_unix() + off + later))
    }

    /// Returns the environment by which a program has this clock.
    fn env(self, library: &Path) -> [(&'static str, String); 3] {
        [
            ("LD_PRELOAD", library.to_str().unwrap().to_owned()),
            ("FAKETIME", self.0.to_owned()),
            // Only the time of day is wrong; waits last as long as ever.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }
}

fn hour(unix: i64) -> String {
    clock::date(unix).split(':').next().unwrap().to_owned()
}

/// Starts a world of certificates that last for half an hour.
fn world(library: &Path, server: Option<Clock>) -> World {
    let mut builder = World::builder();
    for (name, value) in server.into_iter().flat_map(|clock| clock.env(library)) {
        builder = builder.server_env(name, &value);
    }
    let mut world = builder.prepare();
    let authority = Authority::of(world.dir());
    let leaf = Leaf::client("alice").for_half_an_hour();
    authority.issue(&leaf).write(&world.dir().join("client"));
    let leaf = Leaf::server(&["localhost", "127.0.0.1"]).for_half_an_hour();
    authority.issue(&leaf).write(&world.dir().join("server"));
    world.start_server();
    world
}

/// Returns the words of the client, and the line of the server's log, about a command that is
/// refused.
fn told(world: &World, library: &Path, client: Option<Clock>) -> (String, String) {
    let mut command = world.exec(["true"]);
    for (name, value) in client.into_iter().flat_map(|clock| clock.env(library)) {
        command = command.env(name, value);
    }
    let done = command.run();
    done.assert_code(125);
    let log = eventually_some("a line in the log", || {
        world.log().into_iter().find(|line| line.contains("refused"))
    });
    (done.stderr_text(), log)
}

#[track_caller]
fn assert_says(text: &str, needles: &[&str]) {
    for needle in needles {
        assert!(text.contains(needle), "{needle:?} is not in {text}");
    }
}

/// Asserts that the text names the clock of `whose` machine with one of these hours, and advises to
/// compare both clocks.
#[track_caller]
fn assert_times(text: &str, whose: &str, shows: &[String; 2]) {
    let clock = format!("by this {whose}'s clock it is ");
    let named = shows.iter().any(|hour| text.contains(&format!("{clock}{hour}")));
    assert!(named, "{clock}{shows:?} is not in {text}");
    // A clause at the server, a sentence at the client.
    assert_says(&text.to_lowercase(), &["compare `date -u` on both machines"]);
}

/// Returns the true time, as the other end's clock shows it.
fn right() -> [String; 2] {
    Clock("0").shows()
}

#[test]
fn a_server_whose_clock_is_ahead_finds_clients_expired_and_both_name_the_clocks() {
    let library = require!(skip::need_faketime());
    let world = world(&library, Some(Clock::AHEAD));
    let (client, server) = told(&world, &library, None);
    assert_says(&server, &["the client's certificate expired", "it ended at"]);
    assert_times(&server, "server", &Clock::AHEAD.shows());
    assert_says(&client, &["expired or not valid yet", "it is good from", " to "]);
    assert_times(&client, "client", &right());
}

#[test]
fn a_server_that_is_behind_finds_clients_not_valid_yet_and_both_name_the_clocks() {
    let library = require!(skip::need_faketime());
    let world = world(&library, Some(Clock::BEHIND));
    let (client, server) = told(&world, &library, None);
    assert_says(&server, &["the client's certificate is not valid yet", "it begins at"]);
    assert_times(&server, "server", &Clock::BEHIND.shows());
    assert_says(&client, &["expired or not valid yet", "it is good from", " to "]);
    assert_times(&client, "client", &right());
}

#[test]
fn a_client_whose_clock_is_ahead_finds_servers_expired_and_both_name_the_clocks() {
    let library = require!(skip::need_faketime());
    let world = world(&library, None);
    let (client, server) = told(&world, &library, Some(Clock::AHEAD));
    assert_says(&client, &["the server's certificate expired", "it ended at"]);
    assert_times(&client, "client", &Clock::AHEAD.shows());
    assert_says(&server, &["expired or not valid yet", "it is good from", " to "]);
    assert_times(&server, "server", &right());
}

#[test]
fn a_client_that_is_behind_finds_servers_not_valid_yet_and_both_name_the_clocks() {
    let library = require!(skip::need_faketime());
    let world = world(&library, None);
    let (client, server) = told(&world, &library, Some(Clock::BEHIND));
    assert_says(&client, &["the server's certificate is not valid yet", "it begins at"]);
    assert_times(&client, "client", &Clock::BEHIND.shows());
    assert_says(&server, &["expired or not valid yet", "it is good from", " to "]);
    assert_times(&server, "server", &right());
}
