//! A command that was sent to its host.

use std::{sync::Arc, time::Duration};

use rcmd_protocol::{
    frame::Stream,
    limits::CREDIT,
    outcome::{ErrorKind, WireError},
    signal::Signal,
};
use tokio::sync::{Semaphore, watch};

use crate::{
    link::{
        notices::{Notice, NoticeReader},
        order::{Handle, NewChannel, Order, Purpose},
        progress::{Progress, Reporter, Started},
        start::StartSource,
    },
    report::Report,
    stdin::ChildStdin,
    stream::{self, ChildStderr, ChildStdout},
};

/// The notices of a child. At most one of each kind comes in a second, and the newest replaces one that was not
/// taken, whatever the server sends.
#[derive(Debug)]
pub struct Notices(Option<NoticeReader>);

impl Notices {
    /// Waits for the next notice; `None` when the command has ended.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Notice> {
        self.0.as_mut()?.next().await
    }
}

/// A command that was sent to its host.
///
/// Take its streams or drop them: a command whose output nobody reads is held up once 1 MiB of it waits, and
/// [`Child::wait`] with it. Dropping the child before its end kills the command.
#[derive(Debug)]
pub struct Child {
    /// The writer of standard input; `None` if the command's input does not come from the caller.
    pub stdin: Option<ChildStdin>,
    /// The reader of standard output, until it is taken.
    pub stdout: Option<ChildStdout>,
    /// The reader of standard error, until it is taken.
    pub stderr: Option<ChildStderr>,
    id: u64,
    link: Handle,
    progress: watch::Receiver<Progress>,
    notices: Option<NoticeReader>,
}

/// Sends a command, again for at most the given time while the host is busy.
pub(crate) fn start(
    link: &Handle,
    start: StartSource,
    purpose: Purpose,
    busy_wait: Duration,
) -> Child {
    let id = link.next_id();
    let (reporter, progress, notices) = Reporter::new();
    let credit = start.body().credit();
    let (out_feed, stdout) = stream::output(id, Stream::Stdout, link.clone(), credit);
    let (err_feed, stderr) = stream::output(id, Stream::Stderr, link.clone(), credit);
    let room = Arc::new(Semaphore::new(usize::try_from(CREDIT).unwrap_or_default()));
    let stdin = start.body().stdin().then(|| ChildStdin::new(id, link.clone(), Arc::clone(&room)));
    let child = Child {
        stdin,
        stdout: Some(stdout),
        stderr: Some(stderr),
        id,
        link: link.clone(),
        progress,
        notices: Some(notices),
    };
    link.start(NewChannel {
        id,
        start,
        purpose,
        reporter,
        stdout: out_feed,
        stderr: err_feed,
        room,
        busy_wait,
    });
    child
}

impl Child {
    /// The time from TERM to the kill, for callers that end a command.
    pub const PATIENCE: Duration = Duration::from_secs(5);

    /// The time that a host has after [`Child::cancel`] to confirm the end of the command, for callers that do
    /// not wait for ever.
    pub const LAST_WORD: Duration = Duration::from_secs(2);

    /// Waits for the start; `None` if the command ended without one.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub async fn started(&mut self) -> Option<Started> {
        let seen = self.progress.wait_for(|now| now.started().is_some() || now.report().is_some());
        seen.await.ok().and_then(|now| now.started().cloned())
    }

    /// Waits for the end. Closes [`Child::stdin`] first, if it was not taken.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped; the method can be called again.
    pub async fn wait(&mut self) -> Report {
        drop(self.stdin.take());
        let ended = self.progress.wait_for(|now| now.report().is_some()).await;
        match ended.ok().and_then(|now| now.report().cloned()) {
            Some(report) => report,
            None => self.link.abandoned(),
        }
    }

    /// Waits for the answer to a dry run: a text for people on what the host would do.
    ///
    /// # Errors
    /// The reason why the command would not start, or why there is no answer.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub(crate) async fn permitted(&mut self) -> Result<String, WireError> {
        let report = match self.progress.wait_for(Progress::has_ended).await.as_deref() {
            Ok(Progress::Permitted(note)) => return Ok(note.clone()),
            Ok(Progress::Ended { report, .. }) => Report::clone(report),
            Ok(Progress::Waiting | Progress::Running(_)) | Err(_) => self.link.abandoned(),
        };
        let no_answer = || WireError::new(ErrorKind::Lost, "no answer came");
        Err(report.error.unwrap_or_else(no_answer))
    }

    /// Sends a signal to the process group of the command.
    pub fn signal(&self, signal: Signal) {
        self.link.order(Order::Signal { id: self.id, signal });
    }

    /// Kills all processes of the command at once.
    pub fn cancel(&self) {
        self.link.order(Order::Cancel { id: self.id });
    }

    /// Takes the notices about the connection and the queue. Only the first call returns them.
    pub fn notices(&mut self) -> Notices {
        Notices(self.notices.take())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.progress.borrow().has_ended() {
            self.link.order(Order::Abandon { id: self.id });
        }
    }
}
