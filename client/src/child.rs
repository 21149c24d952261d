//! A command that was sent off.

use std::{fmt, time::Duration};

use rcmd_protocol::{
    outcome::{ErrorKind, Failure},
    signal::Signal,
};
use tokio::sync::{mpsc, watch};

use crate::{
    link::{Handle, Order},
    report::Report,
    stdin::ChildStdin,
    stream::{ChildStderr, ChildStdout},
};

/// That the process runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Started {
    /// The job's name on the host.
    pub job: String,
    /// What the user should know, such as a home folder that is missing.
    pub note: Option<String>,
    /// When the process started, in milliseconds since 1970 by the host's clock.
    pub started_at: u64,
}

/// What happened on the way, for a person who waits. It has no bearing on the end.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// The host has no room, or another command holds the lock; so many wait before this one.
    Queued(u64),
    /// The host is busy, for this reason, and will be asked again.
    Busy(String),
    /// The connection was lost, for this reason, and is being made anew.
    Lost(String),
    /// The command was taken up again, this long after the loss.
    Resumed(Duration),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queued(position) => {
                write!(f, "waiting for its turn, {position} before this command")
            }
            Self::Busy(why) => write!(f, "busy ({why}); trying again"),
            Self::Lost(why) => write!(f, "connection lost ({why}); connecting again"),
            Self::Resumed(after) => write!(f, "resumed after {:.1} s", after.as_secs_f32()),
        }
    }
}

/// The notices of a child.
#[derive(Debug)]
pub struct Notices(Option<mpsc::Receiver<Notice>>);

impl Notices {
    /// The next notice; none when the command has ended.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub async fn next(&mut self) -> Option<Notice> {
        self.0.as_mut()?.recv().await
    }
}

/// How far a child is; written by the link.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) started: Option<Started>,
    /// What the host would do, after a dry run of a command that it would permit.
    pub(crate) permitted: Option<String>,
    pub(crate) report: Option<Report>,
}

impl Progress {
    fn has_ended(&self) -> bool {
        self.permitted.is_some() || self.report.is_some()
    }
}

/// A command that was sent off.
///
/// Take its streams or drop them: output that nobody takes holds the command up once 1 MiB of it
/// waits, and [`Child::wait`] with it. Dropping the child before its end kills the command.
#[derive(Debug)]
pub struct Child {
    /// Standard input, if it was asked for.
    pub stdin: Option<ChildStdin>,
    /// Standard output.
    pub stdout: Option<ChildStdout>,
    /// Standard error.
    pub stderr: Option<ChildStderr>,
    pub(crate) id: u64,
    pub(crate) link: Handle,
    pub(crate) progress: watch::Receiver<Progress>,
    pub(crate) notices: Option<mpsc::Receiver<Notice>>,
}

impl Child {
    /// Waits for the start; none when it ended without one.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub async fn started(&mut self) -> Option<Started> {
        let seen = self.progress.wait_for(|now| now.started.is_some() || now.report.is_some());
        seen.await.ok().and_then(|now| now.started.clone())
    }

    /// Waits for the end. It closes [`Child::stdin`] first if that is still here.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped, and it may be called again.
    pub async fn wait(&mut self) -> Report {
        drop(self.stdin.take());
        let ended = self.progress.wait_for(|now| now.report.is_some()).await;
        match ended.ok().and_then(|now| now.report.clone()) {
            Some(report) => report,
            None => self.link.abandoned(),
        }
    }

    /// Waits for the answer to a dry run: what the host would do, for people.
    ///
    /// # Errors
    /// Why the command would not start, or why there is no answer.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub(crate) async fn permitted(&mut self) -> Result<String, Failure> {
        let answer = match self.progress.wait_for(Progress::has_ended).await {
            Ok(now) => (now.permitted.clone(), now.report.clone()),
            Err(_) => (None, None),
        };
        match answer {
            (Some(note), _) => Ok(note),
            (None, report) => {
                let report = report.unwrap_or_else(|| self.link.abandoned());
                Err(report.error.unwrap_or_else(|| Failure::new(ErrorKind::Lost, "no answer came")))
            }
        }
    }

    /// Sends a signal to the process group of the command.
    pub fn signal(&self, signal: Signal) {
        self.link.order(Order::Signal { id: self.id, signal });
    }

    /// Kills the command's whole tree at once.
    pub fn cancel(&self) {
        self.link.order(Order::Cancel { id: self.id });
    }

    /// What happens on the way. Only the first call gives any.
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
