//! The caller's handle of a connection.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use rcmd_protocol::{
    frame::Mode,
    request::{Request, TransferVerb},
};
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

/// A connection to one host, which reconnects by itself. Clones share the connection.
#[derive(Clone, Debug)]
pub struct Client {
    link: Handle,
}

impl Client {
    /// Connects: looks up the name, connects by TCP, and makes the TLS handshake. An expired certificate of an
    /// identity that enrolled with a token is renewed first. A handshake that is cut off is repeated a few
    /// times. All of this has one time limit.
    ///
    /// The method does not wait for the server's hello, which comes with the answer to the first command. Only
    /// then is it known whether the server accepts this client's certificate.
    ///
    /// Must be called inside a tokio runtime with time and I/O enabled.
    ///
    /// # Errors
    /// Kind `unreachable` or `tls`; nothing has run.
    ///
    /// # Cancel safety
    /// If the future is dropped, the connection is closed.
    pub async fn connect(config: &Config, target: &Target) -> Result<Self, Error> {
        let (config, _) = config.unexpired().await?;
        let dial = connect::Host::new(&config, target);
        let stream = dial.connect_again().await.map_err(|dial_error| dial_error.error)?;
        let link = link::open(target.to_string(), Box::new(dial), Box::new(stream));
        Ok(Self { link })
    }

    /// Begins a command that is a program. Its arguments are passed unchanged.
    pub fn exec(&self, program: impl AsRef<OsStr>) -> Command {
        Command::new(self.link.clone(), Mode::Exec, program.as_ref())
    }

    /// Begins a command that is one line for the shell of the remote user.
    pub fn shell(&self, line: impl AsRef<OsStr>) -> Command {
        Command::new(self.link.clone(), Mode::Shell, line.as_ref())
    }

    /// Begins a transfer of files: the host itself receives, sends or lists what stands at these paths, as the user that
    /// [`Command::user`] names. Relative paths begin at the home of that user.
    ///
    /// Standard input and output of what is spawned carry the protocol of transfers
    /// (`docs/transfer.md`), of which the caller is the other end; give it
    /// [`Stdio::Piped`](crate::Stdio::Piped) as standard input. A host that knows no transfers is never asked: the
    /// transfer ends as not started, kind `protocol`.
    pub fn transfer(
        &self,
        verb: TransferVerb,
        paths: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Command {
        let paths = paths.into_iter().map(|path| path.as_ref().as_bytes().to_vec());
        Command::of(self.link.clone(), Request::transfer(verb, paths))
    }

    /// Attaches to a command that was started before under a key that its caller chose, by any process of this
    /// identity, to get its output and its end. Starts nothing: a command that the host never started ends as
    /// `not_started`, and one that the host no longer knows as `unknown`.
    ///
    /// Of the methods of the returned command only [`Command::spawn`], [`Command::timestamps`] and
    /// [`Command::credit`] have an effect: the host has the rest.
    pub fn attach(&self, start: &StartId) -> Command {
        Command::attach(self.link.clone(), *start)
    }

    /// Informs the server that this process is about to be stopped, so that its silence does not count as a loss
    /// of the connection. The frame is sent when the runtime runs next: yield to it before the stop.
    pub fn suspend(&self) {
        self.link.order(Order::Suspend);
    }

    /// Informs the server that this process continues.
    pub fn resume(&self) {
        self.link.order(Order::Resume);
    }

    /// Sends the waiting frames, then closes TLS and TCP, within 3 s. Commands that still run, also those of
    /// clones, are cancelled and end as unknown.
    pub async fn close(self) {
        let (closed, wait) = oneshot::channel();
        self.link.order(Order::Close(closed));
        // An error means that the task has ended already.
        let _ = wait.await;
    }
}
