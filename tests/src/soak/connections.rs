//! Thousands of connections that never become anything: silent, full of garbage, or greeted and silent.
//! Honest clients are served all the while, and afterwards nothing is left of them.

use std::any::Any;
use std::collections::VecDeque;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::raw::Start;
use crate::{Random, RawPeer, World};

/// The bytes that come over a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The connection carries nothing.
    Silent,
    /// Random bytes, where a handshake should be.
    Garbage,
    /// A handshake, a hello, and then nothing.
    Greeted,
}

/// The result of an onslaught.
#[derive(Debug, Clone, Copy)]
pub struct Onslaught {
    /// Commands that honest clients ran meanwhile.
    pub served: usize,
    /// The longest that one of these took, its connection included.
    pub slowest: Duration,
    /// The time from the first connection to the last.
    pub elapsed: Duration,
}

/// Opens so many connections as fast as it can, an honest client after every hundredth, and closes
/// them all. Some thousands are held open at a time, as far as this process may have descriptors.
///
/// # Panics
///
/// When an honest client is not served, or the server holds more afterwards than before.
pub fn onslaught(world: &World, kind: Kind, count: usize) -> Onslaught {
    let before = world.settled_snapshot();
    let most =
        rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1 << 20);
    let most = usize::try_from(most / 2).unwrap_or(512);
    let mut random = Random::new(count as u64);
    let mut held: VecDeque<Box<dyn Any>> = VecDeque::new();
    let (mut served, mut slowest) = (0, Duration::ZERO);
    let began = Instant::now();
    for number in 0..count {
        if held.len() >= most {
            held.pop_front();
        }
        held.push_back(match kind {
            Kind::Greeted => Box::new(RawPeer::greeted(world)),
            Kind::Silent | Kind::Garbage => {
                let mut stream = TcpStream::connect(world.address()).expect("a connection");
                if kind == Kind::Garbage {
                    let length = 1 + random.below(300) as usize;
                    // It may have been sent away already.
                    let _ = stream.write_all(&random.take_bytes(length));
                }
                Box::new(stream)
            }
        });
        if number % 100 == 99 {
            let asked = Instant::now();
            let ran = RawPeer::greeted(world).run(&Start::exec(1, &["echo", "served"]));
            assert_eq!(ran.expect("a command").stdout, b"served\n");
            served += 1;
            slowest = slowest.max(asked.elapsed());
        }
    }
    let elapsed = began.elapsed();
    drop(held);
    world.assert_settles_to(&before);
    Onslaught { served, slowest, elapsed }
}
