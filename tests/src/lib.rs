//! The parts of tests: the real programs in a throwaway [`World`], a [`Proxy`] that breaks the link
//! between them, a [`RawPeer`] that sends what no honest client would, and waits with deadlines.
//!
//! ```no_run
//! use rcmd_tests::World;
//!
//! let world = World::start();
//! let done = world.exec(["printf", "%s", "hello"]).run();
//! done.assert_code(0);
//! assert_eq!(done.stdout, b"hello");
//! ```
//!
//! Everything here panics with what it saw when something does not hold: it serves tests alone.

pub mod attack;
pub mod audit;
pub mod authority;
pub mod bench;
pub mod binaries;
pub mod client;
pub mod damage;
pub mod disk;
pub mod fuse;
pub mod hanging;
pub mod hostile;
pub mod instructions;
mod lines;
pub mod many;
pub mod membership;
pub mod name_service;
pub mod pki;
pub mod proc;
pub mod processors;
pub mod proxy;
pub mod pty;
pub mod random;
pub mod raw;
pub mod server;
pub mod sink;
pub mod skip;
pub mod soak;
pub mod sshd;
pub mod supervise;
pub mod wait;
pub mod world;

pub use binaries::binaries;
pub use client::{ClientCommand, Finished, RunningClient};
pub use name_service::NameService;
pub use proxy::{Direction, Fault, Plan, Proxy};
pub use random::Random;
pub use raw::RawPeer;
pub use sink::Tally;
pub use wait::{eventually, eventually_some};
pub use world::World;
