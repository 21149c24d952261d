//! The instrument behind `docs/performance.md`: rcmd beside its peers and the machine's own limits.
//!
//! A *row* measures one thing. In a round every *contestant* of a row runs once, so that whatever else
//! the machine does meets all of them; what counts is the median over the rounds, and a ratio is the
//! median of the ratios within the rounds.
//!
//! | module | holds |
//! | --- | --- |
//! | `measure` | rounds, medians, processor time |
//! | `tree` | what a program and all that it starts take |
//! | `stage` | rcmd's server and the peers, started when a row first asks for them |
//! | `bed` | a server of a row's own, with a configuration of its own |
//! | `corpus` | files and trees to be copied |
//! | `peers` | OpenSSH, dropbear, asyncssh, and what runs a line on many hosts by ssh |
//! | `limits` | what the machine does without rcmd |
//! | `rows` | what is measured |
//! | `table`, `document` | text, JSON, Markdown |

mod bed;
mod corpus;
mod document;
mod limits;
mod machine;
mod measure;
pub(crate) mod peers;
mod rate;
mod rows;
mod stage;
mod table;
mod tree;

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use document::Document;
use stage::Stage;

use crate::proc::raise_descriptors;

/// The choice of rows to measure, and the effort for each.
#[derive(Debug, Clone, clap::Parser)]
#[command(
    name = "bench",
    about = "Measures rcmd beside OpenSSH, dropbear, asyncssh and the machine's own limits",
    after_help = rows::listing()
)]
pub struct Options {
    /// Rows to measure; without any, all but those that are measured only when they are named.
    #[arg(value_name = "ROW")]
    pub rows: Vec<String>,
    /// Runs few rounds on little data, to see that everything works; the figures mean little.
    #[arg(long)]
    pub quick: bool,
    /// Prints JSON instead of text.
    #[arg(long)]
    pub json: bool,
    /// Replaces the tables between the markers in this file.
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Chooses the markers of this section for `--write`.
    #[arg(long, value_name = "NAME", requires = "write")]
    pub section: Option<String>,
    /// Rounds of each row, 5 by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: Option<u32>,
    /// MiB that a throughput row moves, 1024 by default.
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub size: Option<u64>,
    /// The measuring process itself, below the one that clears up.
    #[arg(long, hide = true)]
    pub inner: bool,
}

impl Options {
    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 2 } else { 5 }) as usize
    }

    /// Returns the number of bytes that a throughput row moves.
    fn bytes(&self) -> u64 {
        self.size.unwrap_or(if self.quick { 256 } else { 1024 }) << 20
    }

    /// Returns `full`, or `quick` where that is asked for.
    fn count(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }
}

/// Measures and reports. Contestants that fail are named, and make it fail at the end.
///
/// # Errors
///
/// When a row does not exist, a server does not start, a contestant failed, or the report can't be
/// written.
pub fn run(options: &Options) -> Result<()> {
    let chosen = rows::choose(&options.rows)?;
    // Ten thousand connections are as many descriptors, here and in the server, which inherits the limit. Where it can't
    // be raised, the rows that need many say so.
    raise_descriptors();
    let stage = Stage::new(options)?;
    let mut document = Document::new(options);
    for row in chosen {
        say(&format!("bench: {}", row.name));
        match (row.run)(&stage) {
            Ok(tables) => document.tables.extend(tables),
            Err(error) => document.failures.push(format!("{}: {error:#}", row.name)),
        }
    }
    document.missing = stage.missing();
    drop(stage);
    let text = if options.json { document.json()? } else { document.text() };
    std::io::stdout().write_all(text.as_bytes())?;
    if let Some(file) = &options.write {
        document.write_into(file).with_context(|| format!("can't write {}", file.display()))?;
    }
    let failures = document.all_failures();
    if !failures.is_empty() {
        bail!("not everything could be measured:\n  {}", failures.join("\n  "));
    }
    Ok(())
}

/// Writes a text to standard error, and ignores that its reader may be gone.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
