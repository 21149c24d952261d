//! Stays with a running command: its streams, its end, our signals, the link.

use std::pin::pin;
use std::time::Duration;

use rcmd_client::{
    Child, ChildStdout, Client, ErrorKind, Failure, Outcome, Report, Signal, Started,
};
use rcmd_protocol::frame::Stream;
use rustix::process::{getpid, kill_process};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Cause, Ended, unwritten};
use crate::cli::input;
use crate::cli::news::News;
use crate::cli::render::Piece;
use crate::cli::screen::Screen;
use crate::cli::settings::{Run, Volume};
use crate::cli::signals::{Action, Caught, Insistence, Signals};
use crate::cli::sink::{Feed, Place};

/// For the word to the server that this process is about to be stopped.
const FAREWELL: Duration = Duration::from_millis(20);

/// What the host says about the command, in this order.
enum Step {
    Started(Option<Started>),
    Ended(Box<Report>),
}

/// Moves the streams until the command has ended and all is printed, or nobody waits any more.
pub(super) async fn attend(
    run: &Run,
    host: &str,
    client: &Client,
    mut child: Child,
    screen: &mut Screen,
) -> Ended {
    // Until here a signal simply ended us; from now on the command must hear of it.
    let mut signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(error) => {
            child.cancel();
            let failure = Failure::new(ErrorKind::Resources, format!("cannot catch signals: {error}"));
            return Ended::by_report(child.wait().await).spoiled(failure);
        }
    };
    let mut notices = child.notices();
    let mut stdin = child.stdin.take();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut output = pin!(async {
        tokio::join!(
            pump(Stream::Stdout, stdout, screen_feed(screen, Place::Stdout)),
            pump(Stream::Stderr, stderr, screen_feed(screen, Place::Stderr)),
        );
    });
    Ended::by_report(child.wait().await)
}

fn screen_feed(screen: &Screen, place: Place) -> Feed {
    match place {
        Place::Stdout => screen.stdout.clone(),
        Place::Stderr => screen.stderr.clone(),
    }
}
