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
//! | `asked` | which names were asked for |
//! | `local` | what lies here: sources, destinations, standard input as a file |
//! | `shown`, `display`, `live`, `events`, `words` | what people and programs see |
//! | `tally` | how far each host is |
//! | `list`, `edit` | `ls` and `edit` |

use std::sync::Arc;

use rcmd_client::{Config, WireError};

use crate::session;
use crate::settings::copy::CopyRun;

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
mod shown;
mod tally;
mod verdict;
mod watcher;
mod words;

use display::Display;
use local::Sources;

pub(crate) use edit::edit;
pub(crate) use list::list;

/// Copies files, and returns the exit status.
///
/// # Errors
/// A failure when nothing was tried.
pub(crate) fn copy(run: CopyRun) -> Result<u8, WireError> {
    let config = Config::from_dir(run.layout.dir())?;
    let config = config.connect_timeout(run.connect_timeout).compress(run.compress);
    let runtime = session::runtime()?;
    let (config, _) = runtime.block_on(config.unexpired())?;
    // What is not here is told before any host is asked for anything.
    let sources = Sources::find(&run)?;
    let (layout, verbosity) = (run.layout.clone(), run.show.verbosity);
    let (display, feed) = Display::open(&run)?;
    let run = Arc::new(run);
    let status = runtime.block_on(run::carry_out(run, config, sources, display, feed));
    session::renew_in_own_time(&layout, verbosity);
    // A look-up of a name may still hang in a thread of its own.
    runtime.shutdown_background();
    status
}
