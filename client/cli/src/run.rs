//! Runs one command on one host, to its end and to an exit status.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use rcmd_certs::files::shown;
use rcmd_client::membership::Renewed;
use rcmd_client::{Client, Command, Config, ErrorKind, Failure, Outcome, Report, Signal, Stdio};
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::arguments::{RunArguments, Words};
use crate::output::sink::{LAST_OUTPUT, Place};
use crate::output::writer::Screen;
use crate::settings::{Run, Volume, Work};
use crate::signals::{self, Insistence, Signals};
use crate::{commands, status, text};

mod attend;

pub(super) use attend::until;

/// How a run ended.
#[derive(Debug)]
struct Ended {
    report: Report,
    cause: Cause,
}

/// What the exit status hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// What the host says; or that it was never reached.
    Report,
    /// The reader of our standard output has gone.
    ReaderGone,
    /// Output could not be written here, or input not read.
    LocalIo,
    /// This signal of ours; the end that it brought did not come in time.
    GivenUp(Signal),
}

impl Ended {
    fn by_report(report: Report) -> Self {
        Self { report, cause: Cause::Report }
    }

    fn status(&self) -> u8 {
        match self.cause {
            Cause::Report => self.report.exit_status(),
            Cause::ReaderGone => status::READER_GONE,
            Cause::LocalIo => status::LOCAL_IO,
            Cause::GivenUp(signal) => signal.exit_status(),
        }
    }

    /// The same after something could not be written or read here.
    fn spoiled(self, failure: Failure) -> Self {
        let report = Report {
            outcome: Outcome::Unknown,
            code: None,
            signal: None,
            error: Some(failure),
            retry_safe: false,
            truncated: true,
            ..self.report
        };
        Self { report, cause: Cause::LocalIo }
    }
}

/// Runs what was typed and gives the exit status.
///
/// # Errors
/// When nothing was tried: the command line makes no sense, or this machine can't do it.
pub(crate) fn run(typed: RunArguments) -> Result<u8, Failure> {
    let run = Run::resolve(typed)?;
    let words = match &run.work {
        Work::One(words) => words,
        Work::Many(many) => return commands::run(&run, many),
    };
    if run.dry_run {
        return dry(&run, words);
    }
    // Before anything runs: a result that can't be written must not be found out afterwards.
    let result = run.result.as_deref().map(create).transpose()?;
    let runtime = crate::runtime()?;
    let status = runtime.block_on(carry_out(&run, words, result));
    // A look-up of a name may still hang in a thread of its own.
    runtime.shutdown_background();
    status
}

/// Asks the host instead of running anything.
fn dry(run: &Run, words: &Words) -> Result<u8, Failure> {
    let runtime = crate::runtime()?;
    let answer = runtime.block_on(async {
        let client = connect(run).await?;
        let answer = command(run, words, &client).dry_run().await;
        client.close().await;
        answer
    });
    runtime.shutdown_background();
    let host = run.target.to_string();
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

fn create(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|error| {
        Failure::new(ErrorKind::LocalIo, format!("cannot write {}: {error}", shown(path)))
            .hint("Nothing ran; name another file for --result.")
    })
}

async fn carry_out(run: &Run, words: &Words, result: Option<File>) -> Result<u8, Failure> {
    let host = run.target.to_string();
    let mut screen = Screen::open(run.form, &host);
    let (ended, client, signals) = match connect(run).await {
        Err(failure) => (Ended::by_report(not_started(&host, failure)), None, None),
        Ok(client) => {
            let (ended, signals) = attempt(run, words, &host, &client, &mut screen).await;
            (ended, Some(client), signals)
        }
    };
    let signals = client.as_ref().zip(signals);
    let ended = conclude(run, &host, ended, screen, result, signals).await;
    let client = client.filter(|_| !matches!(ended.cause, Cause::GivenUp(_)));
    leave(run, client).await;
    Ok(ended.status())
}

/// What is left to do when output and result are out. Nobody waits for what comes of the renewal.
pub(super) async fn leave(run: &Run, client: Option<Client>) {
    let tell = run.volume != Volume::Quiet && io::stderr().is_terminal();
    crate::enroll::renew_in_own_time(&run.layout, tell);
    if let Some(client) = client {
        client.close().await;
    }
}

/// Connects as the flags say.
///
/// # Errors
/// As [`Config::from_dir`] and [`Client::connect`].
pub(super) async fn connect(run: &Run) -> Result<Client, Failure> {
    Client::connect(&config(run).await?, &run.target).await
}

/// With which certificate: one that has ended costs its renewal here, any other is renewed afterwards.
async fn config(run: &Run) -> Result<Config, Failure> {
    let config = Config::from_dir(run.layout.dir())?;
    let config = config.connect_timeout(run.connect_timeout).compress(run.compress);
    let (config, renewed) = config.unexpired().await?;
    if let Renewed::Yes(Some(clock)) = renewed {
        text::say(&text::line(text::Tone::Notice, &clock.to_string()));
    }
    Ok(config)
}

async fn attempt(
    run: &Run,
    words: &Words,
    host: &str,
    client: &Client,
    screen: &mut Screen,
) -> (Ended, Option<(Signals, Insistence)>) {
    let mut child = match command(run, words, client).spawn().await {
        Err(failure) => return (Ended::by_report(not_started(host, failure)), None),
        Ok(child) => child,
    };
    // The start leaves before anything else is done here.
    yield_now().await;
    // Until here a signal simply ended us; from now on the command must hear of it.
    match Signals::catch() {
        Err(error) => {
            child.cancel();
            let message = format!("cannot catch signals: {error}");
            let failure = Failure::new(ErrorKind::LocalIo, message);
            (Ended::by_report(child.wait().await).spoiled(failure), None)
        }
        Ok(mut signals) => {
            let (ended, insistence) =
                attend::attend(run, host, client, child, screen, &mut signals).await;
            (ended, Some((signals, insistence)))
        }
    }
}

/// The command of these words, with everything that the flags say of it.
pub(super) fn command(run: &Run, words: &Words, client: &Client) -> Command {
    let mut command = match words {
        Words::Shell(line) => client.shell(line),
        Words::Exec { program, arguments } => {
            let mut command = client.exec(program);
            command.args(arguments);
            command
        }
    };
    for (name, value) in &run.env {
        command.env(name, value);
    }
    if let Some(user) = &run.user {
        command.user(user);
    }
    if let Some(dir) = &run.cwd {
        command.current_dir(dir);
    }
    if let Some(limit) = run.timeout {
        command.timeout(limit);
    }
    if let Some(key) = &run.key {
        command.key(key.as_encoded_bytes());
    }
    command.stdin(if run.input { Stdio::Piped } else { Stdio::Null });
    command.timestamps(run.form.timestamps());
    command.busy_wait(run.busy_wait);
    if let Some((name, wait)) = &run.lock {
        command.lock(name, *wait);
    }
    command
}

/// The report of a command that never reached its host.
pub(super) fn not_started(host: &str, failure: Failure) -> Report {
    Report::without_job(host, Outcome::NotStarted, failure)
}

fn unwritten(place: Place, error: &io::Error) -> Failure {
    Failure::new(ErrorKind::LocalIo, format!("cannot write {}: {error}", place.name()))
        .hint("The command was killed there; make room here, or send its output elsewhere.")
}

/// Prints and writes what remains.
async fn conclude(
    run: &Run,
    host: &str,
    mut ended: Ended,
    mut screen: Screen,
    result: Option<File>,
    signals: Option<(&Client, (Signals, Insistence))>,
) -> Ended {
    // A reader that went away ends everything quietly.
    if ended.cause != Cause::ReaderGone {
        for remark in remarks(&ended.report, run.volume) {
            screen.note(host, &remark);
        }
    }
    let finishing = screen.finish(&ended.report);
    let finished = match (ended.cause, signals) {
        // Whoever interrupted twice does not wait for a full pager either.
        (Cause::GivenUp(_), _) => timeout(LAST_OUTPUT, finishing).await.unwrap_or(Ok(())),
        (_, None) => finishing.await,
        (cause, Some((client, (mut signals, insistence)))) => {
            let finished =
                signals::unless_caught(&mut signals, insistence, client, finishing).await;
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

fn write(mut file: File, run: &Run, report: &Report) -> Result<(), Failure> {
    let line = serde_json::to_vec(report).map_err(io::Error::from);
    line.and_then(|mut line| {
        line.push(b'\n');
        file.write_all(&line)
    })
    .map_err(|error| {
        let path = run.result.as_deref().map(shown).unwrap_or_default();
        Failure::new(ErrorKind::LocalIo, format!("cannot write {path}: {error}"))
            .hint("The command has run; its result is lost.")
    })
}

/// The error to be told, if there is one. A reader that went away is none.
fn complaint(run: &Run, ended: &Ended) -> Option<Failure> {
    let report = &ended.report;
    match (ended.cause, &report.error, report.outcome) {
        (Cause::ReaderGone, ..) => None,
        (_, Some(failure), _) => Some(failure.clone()),
        (_, None, Outcome::TimedOut) => {
            let limit = run.timeout.map(humantime::format_duration);
            let limit = limit.map(|limit| format!(" after {limit}")).unwrap_or_default();
            Some(
                // The kind is not shown; the outcome says what happened.
                Failure::new(
                    ErrorKind::Lost,
                    format!("the command was ended{limit}, as --timeout says"),
                )
                .hint("Give it more time with --timeout, or leave that out."),
            )
        }
        _ => None,
    }
}

/// What a person would want to know of an end that is no error.
fn remarks(report: &Report, volume: Volume) -> Vec<String> {
    let mut remarks = Vec::new();
    if volume == Volume::Quiet {
        return remarks;
    }
    // As in a shell, an interrupt and a reader that went away are nobody's news.
    if let Some(signal) = report.signal.filter(|&signal| {
        report.outcome == Outcome::Signaled && signal != Signal::INT && signal != Signal::PIPE
    }) {
        remarks.push(format!("the command was ended by {signal}"));
    }
    if report.output_open {
        remarks.push(
            "something still held the output open when the command ended; it was killed".into(),
        );
    }
    if report.truncated && report.error.is_none() {
        remarks.push("the beginning of the output was no longer kept there".into());
    }
    if volume == Volume::Verbose {
        let code = report.code.map(|code| format!(" {code}")).unwrap_or_default();
        let time = report.duration_ms.map(|ms| format!(" after {ms} ms")).unwrap_or_default();
        let (out, err) = (report.stdout_bytes, report.stderr_bytes);
        remarks.push(format!(
            "{}{code}{time}; {out} bytes of standard output, {err} of standard error",
            report.outcome
        ));
    }
    remarks
}
