//! The caller's handle on a connection.

use std::ffi::OsStr;

use rcmd_protocol::frame::Mode;
use tokio::sync::oneshot;

use crate::{
    command::{Command, StartId},
    config::Config,
    connect,
    error::Error,
    link::{
        self,
        order::{Handle, Order},
    },
    target::Target,
};

/// A connection to one host, which heals by itself. Clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    link: Handle,
}

impl Client {
    /// Connects: name, TCP, TLS. An identity that came by a token and whose certificate has ended
    /// is renewed first, within the same limit of time. It does not wait for the server's first
    /// word, which comes together with what it says to the first command; that the server refuses
    /// this client's certificate is seen only then. A handshake that is cut off is made again some
    /// times, within the same limit.
    ///
    /// Must be called inside a tokio runtime with time and I/O enabled.
    ///
    /// # Errors
    /// Kind `unreachable` or `tls`; nothing has run.
    ///
    /// # Cancel safety
    /// Nothing is left of it when it is dropped.
    pub async fn connect(config: &Config, target: &Target) -> Result<Self, Error> {
        let (config, _) = config.unexpired().await?;
        let dial = connect::Host::new(&config, target);
        let stream = dial.connect_again().await.map_err(|dial_error| dial_error.error)?;
        let link = link::open(target.to_string(), Box::new(dial), Box::new(stream));
        Ok(Self { link })
    }

    /// Begins a command that is a program; its arguments are passed exactly.
    pub fn exec(&self, program: impl AsRef<OsStr>) -> Command {
        Command::new(self.link.clone(), Mode::Exec, program.as_ref())
    }

    /// Begins a command that is one line for the user's shell on the host.
    pub fn shell(&self, line: impl AsRef<OsStr>) -> Command {
        Command::new(self.link.clone(), Mode::Shell, line.as_ref())
    }

    /// Takes up a command that was begun before under a key of its caller's own, by whichever process
    /// of this identity: its output so far, and its end. Nothing is started: a command that the host
    /// never started ends as `not_started`, and one that it no longer knows as `unknown`.
    ///
    /// Of the returned command only [`Command::spawn`], [`Command::timestamps`] and
    /// [`Command::credit`] make sense: the host has the rest.
    pub fn attach(&self, start: &StartId) -> Command {
        Command::attach(self.link.clone(), *start)
    }

    /// Tells the server that this process is about to be stopped, so that its silence means
    /// nothing. The frame leaves as soon as the runtime runs on: yield to it before the stop.
    pub fn suspend(&self) {
        self.link.order(Order::Suspend);
    }

    /// Tells the server that this process goes on.
    pub fn resume(&self) {
        self.link.order(Order::Resume);
    }

    /// Sends what waits, then closes TLS and TCP in order; at most 3 s. Commands that still run, of
    /// other clones too, are cancelled and end as unknown.
    pub async fn close(self) {
        let (closed, wait) = oneshot::channel();
        self.link.order(Order::Close(closed));
        // An error means that the task is gone already.
        let _ = wait.await;
    }
}
