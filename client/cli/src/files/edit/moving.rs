//! One transfer of a file that is edited, with signals and the live line.

use std::sync::Arc;
use std::time::Duration;

use rcmd_client::{Child, Config, Signal, WireError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::files::display::{self, Display};
use crate::files::errand::{Errands, Stage, Word};
use crate::files::local::Sources;
use crate::files::run::pace::Pace;
use crate::files::scratch::Scratch;
use crate::files::shown::Shown;
use crate::files::verdict::HostEnd;
use crate::settings::copy::CopyRun;
use crate::signals::interrupts::{Interrupt, Interrupts, until};
use crate::signals::{self, Action};

/// Between two states of the live line, which short transfers do not have.
const PAUSE: Duration = Duration::from_millis(500);

/// How a transfer ended, and whether a signal came.
pub(super) struct Moved {
    pub(super) end: HostEnd,
    pub(super) interrupted: Option<Signal>,
}

/// Carries out one transfer with one host. The first signal ends it in order, a second one at once.
///
/// # Errors
/// Signals can't be caught, or this machine has no thread left.
pub(super) async fn move_file(
    run: CopyRun,
    config: Config,
    scratch: Scratch,
) -> Result<Moved, WireError> {
    let mut interrupts = Interrupts::catch()?;
    let sources = Sources::find(&run, &scratch)?;
    let (display, feed) = Display::open(&run)?;
    let (words, word) = watch::channel(Word::default());
    let tallies = Arc::clone(&display.tallies);
    let (pace, folders, feeding) = (Pace::new(run.rate), Vec::new(), feed.clone());
    let run = Arc::new(run);
    let host = run.hosts.first().map(|host| host.name.clone()).unwrap_or_default();
    let errands =
        Errands { run, config, sources, scratch, folders, feed: feeding, tallies, pace, word };
    // A task of its own goes on in the moment before this process is stopped.
    let mut moving = JoinSet::new();
    moving.spawn(async move { errands.one().await });
    let mut ticks = interval_at(Instant::now() + PAUSE, PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut interrupted, mut leave_at) = (None, None);
    let end = loop {
        tokio::select! {
            // One that panicked has an end that is not known.
            end = moving.join_next() => break end.and_then(Result::ok),
            interrupt = interrupts.next() => match interrupt {
                Interrupt::Act(Action::Pass(signal)) => {
                    interrupted.get_or_insert(signal);
                    words.send_modify(|word| word.stage = word.stage.max(Stage::Stop));
                }
                Interrupt::Act(Action::Kill) => {
                    words.send_modify(|word| word.stage = Stage::Kill);
                    let last = Child::LAST_WORD * 2;
                    leave_at = leave_at.or_else(|| Instant::now().checked_add(last));
                }
                Interrupt::Act(Action::GiveUp(signal)) => {
                    interrupted.get_or_insert(signal);
                    break None;
                }
                Interrupt::Suspend => {
                    words.send_modify(|word| word.is_suspended = true);
                    display::hide(&feed).await;
                    signals::stop().await;
                    words.send_modify(|word| word.is_suspended = false);
                }
            },
            () = until(leave_at), if leave_at.is_some() => break None,
            _ = ticks.tick(), if display.has_live => {
                // What finds no room is out of date when it does.
                let _ = feed.try_send(Shown::Tick);
            }
        }
    };
    moving.shutdown().await;
    let end =
        end.unwrap_or_else(|| HostEnd::of(rcmd_client::Report::unconfirmed(&host, None), None, ""));
    display.finish(feed).await;
    Ok(Moved { end, interrupted })
}
