//! Runs one command on one host, to its end and to an exit status.
#![expect(clippy::disallowed_methods, reason = "programs that serve nobody")]

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use rcmd_certs::clock::milliseconds;
use rcmd_certs::files::shown;
use rcmd_client::{Client, Command, ErrorKind, Outcome, Report, Signal, WireError};
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::arguments::words::CommandSpec;
use crate::output::sink::Place;
use crate::output::writer::OutputWriter;
use crate::settings::{Run, Verbosity};
use crate::signals::LAST_OUTPUT;
use crate::signals::interrupts::Interrupts;
use crate::{session, text};

mod attend;
mod ended;

use ended::{Cause, Ended, LocalFailure, unwritten};

/// Runs a command, or asks whether it would be permitted, and returns the exit status.
///
/// # Errors
/// If this machine fails before anything is tried.
pub(crate) fn run(run: &Run, words: &CommandSpec) -> Result<u8, WireError> {
    if run.dry_run {
        return dry_run(run, words);
    }
    // The file is created before anything runs, so that an error is found in time.
    let result = run.output.result.as_deref().map(create).transpose()?;
    let runtime = session::runtime()?;
    let status = runtime.block_on(carry_out(run, words, result));
    // A thread may still hang in a look-up of a name.
    runtime.shutdown_background();
    status
}

/// Asks the host whether the command would be permitted.
fn dry_run(run: &Run, words: &CommandSpec) -> Result<u8, WireError> {
    let runtime = session::runtime()?;
    let answer = runtime.block_on(async {
        let client = session::connect(run).await?;
        let answer = command(run, words, &client).dry_run().await;
        client.close().await;
        answer.map_err(WireError::from)
    });
    runtime.shutdown_background();
    let host = run.connect.target.to_string();
    match answer {
        Ok(note) => {
            text::say(&text::line(text::Tone::Notice, &format!("{host}: {note}")));
            Ok(0)
        }
        Err(failure) => {
            text::say(&text::failure(Some(&host), &failure));
            Ok(failure.kind.not_started_status())
        }
    }
}

fn command(run: &Run, words: &CommandSpec, client: &Client) -> Command {
    session::command(&run.command, run.output.form.timestamps(), words, client)
}

fn create(path: &Path) -> Result<File, WireError> {
    File::create(path).map_err(|error| {
        WireError::new(ErrorKind::LocalIo, format!("cannot write {}: {error}", shown(path)))
            .hint("Nothing ran; name another file for --result.")
    })
}

async fn carry_out(run: &Run, words: &CommandSpec, result: Option<File>) -> Result<u8, WireError> {
    let host = run.connect.target.to_string();
    let mut writer = OutputWriter::open(run.output.form, &host);
    let (mut ended, client, interrupts) = match session::connect(run).await {
        Err(failure) => (Ended::by_report(session::not_started(&host, failure)), None, None),
        Ok(client) => {
            let (ended, interrupts) = attempt(run, words, &host, &client, &mut writer).await;
            (ended, Some(client), interrupts)
        }
    };
    let interrupts = client.as_ref().zip(interrupts);
    explain(&mut ended.report, words);
    let ended = conclude(run, words, &host, ended, writer, result, interrupts).await;
    let client = client.filter(|_| !matches!(ended.cause, Cause::GivenUp(_)));
    session::finish(run, client).await;
    Ok(ended.status(run.statuses))
}

/// Adds advice to the report if the program looks like a misplaced option.
fn explain(report: &mut Report, words: &CommandSpec) {
    let Some(error) = &mut report.error else { return };
    if let Some(hint) = words.misplaced()
        && matches!(error.kind, ErrorKind::NotFound | ErrorKind::Denied)
    {
        error.hint = Some(hint);
    }
}

async fn attempt(
    run: &Run,
    words: &CommandSpec,
    host: &str,
    client: &Client,
    writer: &mut OutputWriter,
) -> (Ended, Option<Interrupts>) {
    // Until here a signal ended this process; from now on it concerns the command, which has not been sent yet.
    let mut interrupts = match Interrupts::catch() {
        Err(failure) => return (Ended::by_report(session::not_started(host, failure)), None),
        Ok(interrupts) => interrupts,
    };
    let child = match command(run, words, client).spawn().await {
        Err(failure) => {
            let ended = Ended::by_report(session::not_started(host, failure));
            return (ended, Some(interrupts));
        }
        Ok(child) => child,
    };
    // Send the start before anything else is done here.
    yield_now().await;
    let ended = attend::attend(run, host, client, child, writer, &mut interrupts).await;
    (ended, Some(interrupts))
}

/// Prints the remaining output and messages, and writes the result.
async fn conclude(
    run: &Run,
    words: &CommandSpec,
    host: &str,
    mut ended: Ended,
    mut writer: OutputWriter,
    result: Option<File>,
    interrupts: Option<(&Client, Interrupts)>,
) -> Ended {
    // If the reader went away, nothing is printed.
    if ended.cause != Cause::ReaderGone {
        for remark in remarks(&ended.report, run.output.verbosity) {
            writer.note(host, &remark);
        }
        // A line went to the shell, whose message about an unknown command does not explain the mistake.
        if let (Some(1..), Some(hint)) = (ended.report.code, words.misplaced())
            && run.output.verbosity > Verbosity::Quiet
        {
            writer.note(host, &hint);
        }
    }
    let finishing = writer.finish(&ended.report);
    let finished = match (ended.cause, interrupts) {
        // After two interrupts, do not wait for a full pager either.
        (Cause::GivenUp(_), _) => timeout(LAST_OUTPUT, finishing).await.unwrap_or(Ok(())),
        (_, None) => finishing.await,
        (cause, Some((client, interrupts))) => {
            let finished = interrupts.unless_caught(Some(client), finishing).await;
            finished.unwrap_or_else(|signal| {
                if cause == Cause::Report {
                    ended.cause = Cause::GivenUp(signal);
                }
                Ok(())
            })
        }
    };
    match finished {
        Err((Place::Stdout, error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ended.cause = Cause::ReaderGone;
        }
        Err((place, error)) if error.kind() != io::ErrorKind::BrokenPipe => {
            ended = ended.spoiled(unwritten(place, &error));
        }
        _ => {}
    }
    if let Some(Err(failure)) = result.map(|file| write(file, run, &ended.report)) {
        ended = ended.spoiled(failure);
    }
    if let Some(failure) = complaint(run, &ended) {
        text::say(&text::failure(Some(host), &failure));
    }
    ended
}

fn write(mut file: File, run: &Run, report: &Report) -> Result<(), LocalFailure> {
    let line = serde_json::to_vec(report).map_err(io::Error::from);
    line.and_then(|mut line| {
        line.push(b'\n');
        file.write_all(&line)
    })
    .map_err(|error| {
        let path = run.output.result.as_deref().map(shown).unwrap_or_default();
        LocalFailure {
            message: format!("cannot write {path}: {error}"),
            loss: ", and its result is lost",
            remedy: "make room here, or name another file with --result",
        }
    })
}

/// Returns the error to print, if any. A reader that went away is not an error.
fn complaint(run: &Run, ended: &Ended) -> Option<WireError> {
    let report = &ended.report;
    match (ended.cause, &report.error, report.outcome) {
        (Cause::ReaderGone, ..) => None,
        (Cause::Report, Some(failure), Outcome::Unknown) => {
            Some(with_job(failure.clone(), report.job.as_deref()))
        }
        (_, Some(failure), _) => Some(failure.clone()),
        (_, None, Outcome::TimedOut) => {
            let limit = run.command.timeout.map(humantime::format_duration);
            let limit = limit.map(|limit| format!(" after {limit}")).unwrap_or_default();
            Some(
                // The kind is not printed; the outcome says what happened.
                WireError::new(
                    ErrorKind::Lost,
                    format!("the command was ended{limit}, the time limit of --timeout"),
                )
                .hint("Set a longer time with --timeout, or leave the option out."),
            )
        }
        _ => None,
    }
}

/// Returns a failure with a hint to the audit of the host.
fn with_job(failure: WireError, job: Option<&str>) -> WireError {
    let Some(job) = job else { return failure };
    let look =
        format!("On the host, `rcmd-server audit show --job {job}` shows what is known about it.");
    let hint = failure.hint.as_ref().map(|hint| format!("{hint} {look}")).unwrap_or(look);
    failure.hint(hint)
}

/// Returns remarks for people about an end that is not an error.
fn remarks(report: &Report, verbosity: Verbosity) -> Vec<String> {
    let mut remarks = Vec::new();
    if verbosity == Verbosity::Quiet {
        return remarks;
    }
    // As in a shell, SIGINT and SIGPIPE are not reported.
    if let Some(signal) = report.signal.filter(|&signal| {
        report.outcome == Outcome::Signaled && signal != Signal::INT && signal != Signal::PIPE
    }) {
        remarks.push(format!("the command was ended by {signal}"));
    }
    if report.output_open {
        remarks.push(
            "a process still held the output open when the command ended, and was killed".into(),
        );
    }
    if report.truncated && report.error.is_none() {
        remarks.push("the beginning of the output is missing: the host no longer had it".into());
    }
    if verbosity == Verbosity::Verbose {
        let code = report.code.map(|code| format!(" {code}")).unwrap_or_default();
        let time =
            report.duration_ms.map(|ms| format!(" after {}", milliseconds(ms))).unwrap_or_default();
        let (out, err) = (report.stdout_bytes, report.stderr_bytes);
        remarks.push(format!(
            "{}{code}{time}; {out} bytes of standard output, {err} of standard error",
            report.outcome
        ));
    }
    remarks
}
