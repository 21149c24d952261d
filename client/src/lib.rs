//! Runs commands on another machine, over one connection that reconnects by itself.
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
//! A [`Client`] is one connection to one host. It can be cloned and runs any number of commands at once. A
//! [`Command`] is built as in `std::process`, and spawns a [`Child`]. The end of a command is always a [`Report`],
//! also if the command did not start or its end is unknown. Other failures are an [`Error`].
//!
//! | module | holds |
//! | --- | --- |
//! | `target`, `config` | the address of a host; the certificate and time limit |
//! | [`connect`] | connecting, step by step |
//! | `command`, `child`, `stdin`, `stream` | a command, before and after its start |
//! | `link` | the task that owns the connection, restores it, and decides how commands ended |
//! | [`fleet`] | one command on many hosts |
//! | [`renewal`] | renewal of the certificate |
//! | `report` | the end of a command |
//! | `error` | the errors of calls |
//! | [`hosts`] | sets of hosts by name |
//! | [`inventory`] | known hosts and groups |
//!
//! # Runtimes
//! Both runtimes of tokio can be used. Two tasks drive the connection, and end when the last handle ([`Client`],
//! [`Child`] or one of its streams) is dropped. While a command runs, code that blocks the only thread of a
//! runtime also blocks the connection.
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
pub use link::{feed::Chunk, notices::Notice, progress::Started};
pub use rcmd_protocol::{
    outcome::{ErrorKind, Outcome, WireError},
    request::TransferVerb,
    signal::Signal,
};
pub use report::Report;
pub use stdin::ChildStdin;
pub use stream::{ChildStderr, ChildStdout};
pub use target::{AddressFamily, InvalidTarget, Target};
