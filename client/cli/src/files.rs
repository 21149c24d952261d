//! The subcommands `cp`, `ls` and `edit`: files to hosts and from them.
//!
//! The engine of transfers blocks, so that each host has a thread for it (`engine`), joined to the streams of the
//! host's command by two bounded pipes (`pipe`).
//!
//! ```text
//! disk -> engine (thread) -> pipe -> ChildStdin -> host
//!            |      ^------- pipe <- ChildStdout <- host
//!            v
//!         watcher -> display (thread) -> standard output, standard error
//! ```
//!
//! | module | holds |
//! | --- | --- |
//! | `run` | all hosts: whose turn it is, signals, the account; the rate of all together |
//! | `errand` | one host, from its connection to its end |
//! | `verdict` | how a transfer ended, and with which exit status |
//! | `engine`, `pipe` | the thread that transfers, and what joins it to a host |
//! | `watcher` | what the engine tells of each file; what may be taken from a host |
//! | `aside` | work on a thread of its own |
//! | `asked` | which names were asked for |
//! | `local` | what lies here: sources, destinations, standard input as a file |
//! | `scratch` | private folders, and their removal |
//! | `shown`, `sides`, `display`, `live`, `events`, `words` | what people and programs see |
//! | `tally` | how far each host is |
//! | `list`, `edit` | `ls` and `edit` |

use std::sync::Arc;

use rcmd_client::{ErrorKind, WireError};

use crate::session;
use crate::settings::copy::CopyRun;
use crate::signals::interrupts::{Interrupt, Interrupts};
use crate::signals::{self, Action};
use crate::text::{self, Tone};

mod aside;
mod asked;
mod display;
mod edit;
mod engine;
mod errand;
mod events;
mod list;
mod live;
mod local;
mod pipe;
mod run;
mod scratch;
mod shown;
mod sides;
mod tally;
mod verdict;
mod watcher;
mod words;

use aside::aside;
use display::Display;
use local::Sources;
use run::Carrying;
use scratch::Scratch;

pub(crate) use edit::edit;
pub(crate) use list::list;

/// Copies files, and returns the exit status.
///
/// # Errors
/// A failure when nothing was tried.
pub(crate) fn copy(run: CopyRun) -> Result<u8, WireError> {
    let runtime = session::runtime()?;
    let config = session::config(&run.layout, run.connect_timeout, run.compress, None);
    let config = runtime.block_on(config)?;
    let (layout, verbosity) = (run.layout.clone(), run.show.verbosity);
    let run = Arc::new(run);
    let scratch = Scratch::default();
    let status = runtime.block_on(async {
        let mut interrupts = Interrupts::catch()?;
        // What is not here is told before any host is asked for anything.
        let sources = match sources(&run, &scratch, &mut interrupts).await? {
            Ok(sources) => sources,
            Err(status) => return Ok(status),
        };
        let (display, feed) = Display::open(&run)?;
        let end = Carrying { run, config, sources, scratch: scratch.clone(), display, feed };
        Ok(end.carry_out(interrupts).await)
    });
    session::renew_in_own_time(&layout, verbosity);
    scratch.remove();
    // A look-up of a name may still hang in a thread of its own.
    runtime.shutdown_background();
    status
}

/// Finds the sources, which takes as long as standard input does if that is one.
///
/// # Errors
/// Standard input can't be kept; or, within, the exit status of a signal.
async fn sources(
    run: &Arc<CopyRun>,
    scratch: &Scratch,
    interrupts: &mut Interrupts,
) -> Result<Result<Sources, u8>, WireError> {
    let (run, scratch) = (Arc::clone(run), scratch.clone());
    let mut finding = aside("sources", move || Sources::find(&run, &scratch))?;
    loop {
        tokio::select! {
            found = &mut finding => {
                let failed = |_| WireError::new(ErrorKind::LocalIo, "cannot read the sources");
                return found.map_err(failed)?.map(Ok);
            }
            interrupt = interrupts.next() => match interrupt {
                Interrupt::Act(Action::Pass(signal) | Action::GiveUp(signal)) => {
                    let message = "interrupted while standard input was read; nothing was sent";
                    text::say(&text::line(Tone::Error, message));
                    return Ok(Err(signal.exit_status()));
                }
                Interrupt::Act(Action::Kill) => {}
                Interrupt::Suspend => signals::stop().await,
            }
        }
    }
}
