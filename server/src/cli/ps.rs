//! The subcommands `rcmd-server ps` and `rcmd-server kill`.

use std::{io::Write, path::PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use rcmd_certs::{Layout, clock::date, text::escaped};

use super::enroll::block_on;
use crate::{
    config::folders::ServerFolders,
    control::{ControlRequest, ControlResponse, ask},
    job::card::JobFacts,
};

/// The options of `rcmd-server ps`.
#[derive(Debug, Args)]
#[command(
    after_help = "KEPT is a command whose client is gone and may come back. For root and the server's \
    own user."
)]
pub struct PsOptions {
    /// Server's folder [default: $RCMD_DIR, /etc/rcmd]
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// Print each command as one line of JSON
    #[arg(long)]
    json: bool,
}

/// The options of `rcmd-server kill`.
#[derive(Debug, Args)]
#[command(
    after_help = "All processes of the command get SIGTERM, and SIGKILL after 5 s. The audit has your \
    user ID. For root and the server's own user."
)]
pub struct KillOptions {
    /// Server's folder [default: $RCMD_DIR, /etc/rcmd]
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// Job to end, as `rcmd-server ps` lists it
    #[arg(value_name = "JOB")]
    job: String,
}

/// Asks the server of a folder, and waits for its answer.
fn asked(dir: Option<&std::path::Path>, request: &ControlRequest) -> Result<ControlResponse> {
    let folders = ServerFolders::load(&Layout::for_host(dir))?;
    block_on(async { Ok(ask(&folders.run, request).await?) })
}

/// Prints the commands that run or wait. Returns the exit status.
///
/// # Errors
/// If no server answers.
pub fn ps(options: &PsOptions, out: &mut dyn Write) -> Result<u8> {
    let response = asked(options.dir.as_deref(), &ControlRequest::Snapshot)?;
    let ControlResponse::Snapshot(snapshot) = response else { return Err(unexpected()) };
    if options.json {
        for job in &snapshot.jobs {
            writeln!(out, "{}", serde_json::to_string(job)?)?;
        }
        return Ok(0);
    }
    writeln!(out, "{}", row(&HEADING.map(str::to_owned)))?;
    for job in &snapshot.jobs {
        writeln!(out, "{}", row(&cells(job)))?;
    }
    Ok(0)
}

/// Ends a job. Returns the exit status.
///
/// # Errors
/// If no server answers, or no such job runs or waits.
pub fn kill(options: &KillOptions, out: &mut dyn Write) -> Result<u8> {
    let job = &options.job;
    let request = ControlRequest::Kill { job: job.clone() };
    match asked(options.dir.as_deref(), &request) {
        Ok(ControlResponse::Killed { user, again }) => {
            let what = if again { "is being ended already" } else { "is being ended" };
            writeln!(out, "job {} of {} {what}", escaped(job), escaped(&user))?;
            Ok(0)
        }
        Ok(_) => Err(unexpected()),
        Err(error) => bail!("{} was not ended: {error:#}", escaped(job)),
    }
}

fn unexpected() -> anyhow::Error {
    anyhow::anyhow!(
        "the running server gave another answer than was asked for; restart it, so that both are of \
         the same version"
    )
}

const HEADING: [&str; 7] = ["JOB", "STATE", "USER", "ACCOUNT", "FROM", "SINCE", "COMMAND"];

fn cells(job: &JobFacts) -> [String; 7] {
    let since = i64::try_from(job.started_at.unwrap_or(job.asked_at) / 1000).unwrap_or(i64::MAX);
    let state = match job.kept {
        true => format!("{}, kept", job.state.as_str()),
        false => job.state.as_str().to_owned(),
    };
    let [id, user, account, from, command] =
        [&job.job, &job.user, &job.account, &job.address, &job.command].map(|cell| escaped(cell));
    [id, state, user, account, from, date(since), command]
}

/// Returns a line in columns. What follows the last column is the command, of any length.
fn row([job, state, user, account, from, since, command]: &[String; 7]) -> String {
    format!("{job:<16}  {state:<13}  {user:<12}  {account:<8}  {from:<21}  {since:<20}  {command}")
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::card::JobStage;

    #[test]
    fn a_row_says_whose_job_it_is_how_far_and_since_when() {
        let job = JobFacts {
            job: "0123456789abcdef".to_owned(),
            state: JobStage::Running,
            asked_at: 0,
            started_at: Some(1000),
            pid: Some(7),
            user: "alice".to_owned(),
            address: "192.0.2.7:50412".to_owned(),
            account: "root".to_owned(),
            kept: true,
            command: "sleep \u{1b}[2J 9".to_owned(),
        };
        let shown = row(&cells(&job));
        assert!(shown.starts_with("0123456789abcdef  running, kept  alice "), "{shown}");
        assert!(shown.contains("1970-01-01T00:00:01Z  sleep "), "{shown}");
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
        let waiting = JobFacts { state: JobStage::Queued, started_at: None, kept: false, ..job };
        assert!(row(&cells(&waiting)).contains("  queued         alice"), "{waiting:?}");
    }
}
