//! Revocation under load: how long those who are revoked go on after the list has come.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use rcmd_certs::Layout;

use super::Judged;
use crate::authority::Serving;
use crate::client::RunningClient;
use crate::membership::{enrolled, enrolled_client};
use crate::sink::Sink;
use crate::{World, proc};

/// Connections to each server, every one with a command that runs.
const CONNECTIONS: usize = 5;
/// The number of these connections that are cut.
const REVOKED: usize = 3;
/// The longest that a cut may take from the arrival of the list.
const LIMIT: Duration = Duration::from_secs(5);

/// The figures of a run. Times are sorted.
#[derive(Debug)]
pub struct Figures {
    /// Servers that were told.
    pub servers: usize,
    /// Connections of those who were not revoked; every one still worked.
    pub unharmed: usize,
    /// The times from the arrival of the list, as the server's log has it, to each cut.
    pub from_arrival: Vec<Duration>,
    /// The times from the operator's `rcmd-certs revoke` to the end of each client whose connection
    /// was cut.
    pub from_order: Vec<Duration>,
}

impl Judged for Figures {
    /// Returns whether each cut came in time.
    fn are_good(&self) -> bool {
        self.from_arrival.iter().all(|time| *time <= LIMIT)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { servers, unharmed, from_arrival, from_order } = self;
        let cut = from_arrival.len();
        writeln!(f, "{servers} servers, {cut} connections cut, {unharmed} unharmed")?;
        writeln!(f, "from the list's arrival to the cut: {}", Spread(from_arrival))?;
        write!(f, "from `rcmd-certs revoke` to the client's end: {}", Spread(from_order))
    }
}

/// Median and worst of sorted times.
struct Spread<'a>(&'a [Duration]);

impl fmt::Display for Spread<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let median = self.0.get(self.0.len() / 2).copied().unwrap_or_default();
        write!(f, "median {median:.1?}, worst {:.1?}", self.0.last().copied().unwrap_or_default())
    }
}

/// Starts `servers` servers of one authority, each with five connections that run a command, and
/// revokes the user of three of these.
///
/// # Panics
///
/// When one who was revoked goes on, or one who was not is harmed.
#[must_use]
pub fn run(servers: u64) -> Figures {
    let authority = Serving::start();
    let mallory = enrolled_client(&authority, "mallory");
    let mut worlds: Vec<World> =
        (0..servers).map(|_| enrolled(&authority, World::builder())).collect();
    worlds.iter_mut().for_each(World::start_server);
    let (mut revoked, mut others) = (Vec::new(), Vec::new());
    for world in &worlds {
        for number in 0..CONNECTIONS {
            match number < REVOKED {
                true => revoked.push(session(world, Some(&mallory))),
                false => others.push(session(world, None)),
            }
        }
    }
    let order = Instant::now();
    // One thread for each, so that none is seen to end later because another one did.
    let ends: Vec<_> = revoked
        .into_iter()
        .map(|client| thread::spawn(move || (client.wait(), order.elapsed())))
        .collect();
    authority.certs(&["revoke", "mallory"]);
    let mut from_order: Vec<_> = ends
        .into_iter()
        .map(|end| {
            let (done, time) = end.join().expect("a client's end");
            done.assert_code(255).assert_says("certificate has been revoked");
            time
        })
        .collect();
    from_order.sort_unstable();
    let unharmed = others.len();
    for mut client in others {
        client.write_stdin(b"still here\n");
        drop(client.stdin.take());
        let done = client.wait();
        done.assert_code(0);
    }
    let mut from_arrival: Vec<_> = worlds.iter().flat_map(cuts).collect();
    from_arrival.sort_unstable();
    for world in &worlds {
        crate::eventually("no command is left", || proc::descendants(world.pid()).is_empty());
    }
    Figures { servers: worlds.len(), unharmed, from_arrival, from_order }
}

/// Starts a client, and waits until its command has begun.
fn session(world: &World, identity: Option<&Layout>) -> RunningClient {
    let mut client = world.shell("echo here; cat").stdin_pipe().stdout(Sink::Pipe);
    if let Some(identity) = identity {
        client = client.dir(identity.dir());
    }
    let mut client = client.spawn();
    assert_eq!(client.read_line(), "here");
    client
}

/// Returns the time from the list's arrival to each cut, by the server's log.
fn cuts(world: &World) -> Vec<Duration> {
    let cuts = world.wait_for_log_lines(" cut ", REVOKED);
    let log = world.log();
    let arrival = log.iter().rfind(|line| line.contains("revocation list taken")).expect("a list");
    let arrival = stamp(arrival);
    cuts.iter().map(|cut| stamp(cut).duration_since(arrival).unwrap_or_default()).collect()
}

/// Returns the time at which a line was logged, to the microsecond.
fn stamp(line: &str) -> SystemTime {
    let stamp = line.split(' ').next().unwrap_or_default();
    let time: Timestamp = stamp.parse().unwrap_or_else(|_| panic!("no time in {line}"));
    time.into()
}
