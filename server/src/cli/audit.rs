//! The subcommand `rcmd-server audit`: showing and verifying the audit.

use std::{
    io::{BufReader, IsTerminal as _, Write as _, stdout},
    path::PathBuf,
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use rcmd_certs::{Layout, clock, signature::VerifyingKey, terminal};
use rcmd_protocol::ids::AuditHead;

use crate::{
    audit::{
        files,
        show::{Filter, Show},
        verify::{Expected, verify},
    },
    cli::moment,
    config::folders::ServerFolders,
};

/// The subcommands of `rcmd-server audit`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Verify that no record was changed, removed, moved or cut off
    Verify(VerifyOptions),
    /// Show who ran what and when, and how it ended
    Show(ShowOptions),
}

impl AuditCommand {
    /// Returns the place of the option `--dir`.
    pub(super) fn dir(&mut self) -> &mut Option<PathBuf> {
        match self {
            Self::Verify(options) => &mut options.location.dir,
            Self::Show(options) => &mut options.location.dir,
        }
    }
}

/// The options that say where the log is.
#[derive(Debug, Args)]
pub struct LogLocation {
    /// Server's folder [default: $RCMD_DIR, /etc/rcmd]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Folder of the log, or of a copy [default: as server.toml says, DIR/server/audit]
    #[arg(long, value_name = "FOLDER")]
    files: Option<PathBuf>,
}

/// The options of `audit verify`.
#[derive(Debug, Args)]
pub struct VerifyOptions {
    #[command(flatten)]
    location: LogLocation,
    /// Certificate of the host, also a former one; repeatable [default: DIR/server/cert.pem]
    #[arg(long, value_name = "FILE")]
    cert: Vec<PathBuf>,
    /// Record that must be there, from `audit` of a result
    #[arg(long, value_name = "SEQ:HASH", value_parser = head)]
    head: Option<AuditHead>,
}

/// The options of `audit show`.
#[derive(Debug, Args)]
pub struct ShowOptions {
    #[command(flatten)]
    location: LogLocation,
    /// Only commands of this user
    #[arg(long = "as", value_name = "USER")]
    peer: Option<String>,
    /// Only this job, as results and messages of the client name it
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
    /// Only the last 1h, 7d, or since a time in UTC, as 2026-11-21 or 2026-11-21T06:00
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Timestamp>,
    /// Print each record as one line of JSON
    #[arg(long)]
    json: bool,
}

impl AuditCommand {
    /// Carries out the subcommand, and prints the result.
    ///
    /// # Errors
    /// The first fault of the log, or the reason why it can't be read.
    pub fn run(self) -> Result<()> {
        match self {
            Self::Verify(options) => options.run(),
            Self::Show(options) => options.run(),
        }
    }
}

impl LogLocation {
    fn layout(&self) -> Layout {
        Layout::for_host(self.dir.as_deref())
    }

    fn folder(&self) -> Result<PathBuf> {
        match &self.files {
            Some(folder) => Ok(folder.clone()),
            None => Ok(ServerFolders::load(&self.layout())?.audit()),
        }
    }
}

impl VerifyOptions {
    fn run(self) -> Result<()> {
        let mut certs = self.cert;
        if certs.is_empty() {
            certs.push(self.location.layout().server_cert());
        }
        let keys = certs.iter().map(|path| VerifyingKey::of_certificate(path));
        let expected = Expected { keys: keys.collect::<Result<_, _>>()?, head: self.head };
        let folder = self.location.folder()?;
        let done = match verify(&folder, &expected) {
            Ok(done) => done,
            Err(finding) => bail!("{}: {finding}", folder.display()),
        };
        let mut out = stdout();
        writeln!(
            out,
            "the audit is whole: {} records in {} files, {} checkpoints",
            done.records, done.files, done.checkpoints
        )?;
        if let (Some(head), Some(signed)) = (done.head, done.signed) {
            writeln!(out, "signed by this host's key up to record {signed} of {}", head.seq)?;
            writeln!(out, "head {head}")?;
        }
        if done.running > 0 {
            writeln!(out, "{} commands have no end yet", done.running)?;
        }
        if done.torn > 0 {
            writeln!(
                out,
                "the last line is not whole ({} bytes): a server that was killed leaves that; a \
                 cut does too, which only --head can tell",
                done.torn
            )?;
        }
        Ok(())
    }
}

impl ShowOptions {
    fn run(self) -> Result<()> {
        let folder = self.location.folder()?;
        let listed = files::list(&folder).with_context(|| folder.display().to_string())?;
        let Self { peer, job, since, json, .. } = self;
        let filter = Filter { peer, job, since, json };
        let mut show = Show::new(filter, stdout().lock());
        let out = stdout();
        if out.is_terminal() {
            show = show.at_terminal(terminal::columns(&out));
        }
        let shown = listed.iter().try_for_each(|(_, path)| {
            let file = files::open(path)?;
            show.file(&mut BufReader::with_capacity(1 << 16, file))
        });
        match shown.and_then(|()| show.end()) {
            Ok(0) => Ok(()),
            Ok(lines) => {
                bail!("{lines} lines of the log are not records; run `rcmd-server audit verify`")
            }
            // The reader has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(error).with_context(|| folder.display().to_string()),
        }
    }
}

fn head(text: &str) -> Result<AuditHead, String> {
    AuditHead::parse(text).ok_or_else(|| "write SEQ:HASH, as `audit` of a result has it".to_owned())
}

fn since(text: &str) -> Result<Timestamp, String> {
    if let Some(time) = moment(text) {
        return Ok(time);
    }
    let span = clock::parse_span(text)
        .map_err(|error| format!("{error}, or a day or time in UTC, such as 2026-11-21"))?;
    Timestamp::now().checked_sub(span).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_span_a_day_or_a_time_in_utc() {
        let at = |text| since(text).unwrap().to_string();
        assert_eq!(at("2026-11-21"), "2026-11-21T00:00:00Z");
        assert_eq!(at("2026-11-21T06:00"), "2026-11-21T06:00:00Z");
        assert_eq!(at("2026-11-21 06:00:30"), "2026-11-21T06:00:30Z");
        assert_eq!(at("2026-11-21T06:00:00+02:00"), "2026-11-21T04:00:00Z");
        let hour = Timestamp::now() - since("1h").unwrap();
        assert!((3500..=3600).contains(&hour.get_seconds()));
        for text in ["", "yesterday", "2026-13-01", "21.11.2026", "-1h", "99999999y"] {
            assert!(since(text).is_err(), "{text}");
        }
    }
}
