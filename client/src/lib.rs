//! Runs commands on another machine, over one connection that heals by itself.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use rcmd_client::{Client, Config, Outcome};
//!
//! let config = Config::from_dir("demo".as_ref())?;
//! let client = Client::connect(&config, &"localhost".parse()?).await?;
//! let output = client.exec("uname").arg("-a").output().await?;
//! assert_eq!(output.report.outcome, Outcome::Exited);
//! println!("{}", String::from_utf8_lossy(&output.stdout));
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Client`] is one connection to one host; it may be cloned and runs any number of commands at
//! once. A [`Command`] is built as with `std::process`, and gives a [`Child`]. How it ended is
//! always a [`Report`]: that a command did not start, or that nobody knows, are reports too. What else
//! may fail is an [`Error`].
//!
//! | module | holds |
//! | --- | --- |
//! | `target`, `config` | where to, and with which certificate |
//! | [`connect`] | the way there, step by step |
//! | `command`, `child`, `stdin`, `stream` | what the caller holds |
//! | `link` | the task that owns the connection, heals it, and judges every end |
//! | [`fleet`] | one command on many hosts |
//! | [`renewal`] | renewal of a certificate that came by a token |
//! | `report` | how a command ended |
//! | `error` | why a call failed, and what lies below that |
//! | [`hosts`] | sets of hosts by name |
//! | [`inventory`] | what is known of hosts and groups |
//!
//! # Runtimes
//! Both of tokio's runtimes do. The connection is driven by two tasks, which end when the last
//! handle ([`Client`], [`Child`] or one of its streams) is gone. They must be given time while a
//! command runs: code that blocks the only thread of a runtime blocks its connection.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests may wait"))]
#![forbid(unsafe_code)]

mod child;
mod client;
mod command;
mod config;
pub mod connect;
mod error;
pub mod fleet;
pub mod hosts;
pub mod inventory;
mod link;
pub mod renewal;
mod report;
mod stdin;
mod stream;
mod target;

pub use child::{Child, Notices};
pub use client::Client;
pub use command::{Command, Output, StartId, Stdio};
pub use config::Config;
pub use error::{AddressErrors, Error};
pub use link::{
    feed::Chunk,
    progress::{Notice, Started},
};
pub use rcmd_protocol::{
    outcome::{ErrorKind, Outcome, WireError},
    signal::Signal,
};
pub use report::Report;
pub use stdin::ChildStdin;
pub use stream::{ChildStderr, ChildStdout};
pub use target::{InvalidTarget, Target};
