//! The steps of every subcommand that connects to a host: the runtime, connecting, the command, closing.

use std::io::{self, IsTerminal as _};
use std::process::{self, Stdio};
use std::time::Duration;

use rcmd_certs::Layout;
use rcmd_client::renewal::{self, Renewed, When};
use rcmd_client::{AddressFamily, Client, Command, Config, ErrorKind, Outcome, Report, WireError};
use tokio::runtime::{Builder, Runtime};

use crate::arguments::elsewhere;
use crate::arguments::words::CommandSpec;
use crate::settings::{CommandInput, CommandOptions, ConnectOptions, Run, Statuses, Verbosity};
use crate::text::{self, Tone};

/// Makes a runtime of one thread. Blocking work has other threads.
///
/// # Errors
/// If the kernel has no descriptors left.
pub(crate) fn runtime() -> Result<Runtime, WireError> {
    Builder::new_current_thread().enable_all().build().map_err(|error| {
        WireError::new(ErrorKind::Resources, format!("cannot start: {error}"))
            .hint("Nothing ran; check the limits of this shell with `ulimit -a`.")
    })
}

/// Finishes a run after output and result were written: starts a renewal that is due, and closes the connection.
pub(crate) async fn finish(run: &Run, client: Option<Client>) {
    renew_in_own_time(&run.connect.layout, run.output.verbosity);
    if let Some(client) = client {
        client.close().await;
    }
}

/// Connects according to the options.
///
/// # Errors
/// As of [`Config::from_dir`] and [`Client::connect`].
pub(crate) async fn connect(run: &Run) -> Result<Client, WireError> {
    connect_with(run).await.map(|(client, _)| client)
}

/// Connects as [`connect`] does, and also returns the configuration, for further connections.
///
/// # Errors
/// As of [`connect`].
pub(crate) async fn connect_with(run: &Run) -> Result<(Client, Config), WireError> {
    let ConnectOptions { layout, timeout, compress, family, .. } = &run.connect;
    let config = config(layout, *timeout, *compress, *family).await?;
    let target = &run.connect.target;
    let meant = elsewhere::meant(&target.host).filter(|_| run.statuses == Statuses::Own);
    let connected = Client::connect(&config, target).await;
    connected.map(|client| (client, config)).map_err(|error| {
        let failure = WireError::from(error);
        match meant.filter(|_| failure.kind == ErrorKind::Unreachable) {
            None => failure,
            Some(name) => {
                let hint = format!(
                    "`{}` is not a subcommand and was used as a host; did you mean `rcmd-client {name}`?",
                    target.host
                );
                failure.hint(hint)
            }
        }
    })
}

/// Reads the certificate. One that has expired is renewed first, which may show that a clock is wrong; any other is
/// renewed after the command.
///
/// # Errors
/// As of [`Config::from_dir`] and [`Config::unexpired`].
pub(crate) async fn config(
    layout: &Layout,
    connect_timeout: Duration,
    compress: bool,
    family: Option<AddressFamily>,
) -> Result<Config, WireError> {
    let config = Config::from_dir(layout.dir())?;
    let config = config.connect_timeout(connect_timeout).compress(compress).address_family(family);
    let (config, renewed) = config.unexpired().await?;
    if let Renewed::Yes(Some(clock)) = renewed {
        text::say(&text::line(Tone::Notice, &clock.to_string()));
    }
    Ok(config)
}

/// Builds a command from its words and options.
pub(crate) fn command(
    options: &CommandOptions,
    timestamps: bool,
    words: &CommandSpec,
    client: &Client,
) -> Command {
    let mut command = match words {
        CommandSpec::Shell(line) => client.shell(line),
        CommandSpec::Exec { program, arguments } => {
            let mut command = client.exec(program);
            command.args(arguments);
            command
        }
    };
    for (name, value) in &options.env {
        command.env(name, value);
    }
    if let Some(user) = &options.user {
        command.user(user);
    }
    if let Some(dir) = &options.cwd {
        command.current_dir(dir);
    }
    if let Some(limit) = options.timeout {
        command.timeout(limit);
    }
    if let Some(key) = &options.key {
        command.key(key.as_encoded_bytes());
    }
    command.stdin(match options.input {
        CommandInput::Sent => rcmd_client::Stdio::Piped,
        CommandInput::Empty => rcmd_client::Stdio::Null,
    });
    command.timestamps(timestamps);
    command.busy_wait(options.busy_wait);
    if let Some((name, wait)) = &options.lock {
        command.lock(name, *wait);
    }
    command
}

/// Returns the report of a command that did not reach its host.
pub(crate) fn not_started(host: &str, failure: impl Into<WireError>) -> Report {
    Report::without_job(host, Outcome::NotStarted, failure.into())
}

/// Starts a renewal that is due in another process, and does not wait for it. If none is due, this costs only a
/// look at two files.
pub(crate) fn renew_in_own_time(layout: &Layout, verbosity: Verbosity) {
    if !renewal::is_time(layout, When::Due) {
        return;
    }
    let tell = verbosity != Verbosity::Quiet && io::stderr().is_terminal();
    if tell && let Some(failure) = renewal::last_failure(layout) {
        text::say(&text::line(Tone::Error, &failure));
    }
    let Ok(mut program) = std::env::current_exe() else { return };
    // The program `rcmd-ssh` has no subcommands; `rcmd-client` lies beside it.
    if program.ends_with("rcmd-ssh") {
        program.set_file_name("rcmd-client");
    }
    let mut command = process::Command::new(program);
    command.arg("enroll").arg("--in-own-time").arg("--dir").arg(layout.dir());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // In another process group, which signals of the terminal do not reach.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    // A failed renewal is reported at the next run; a failed start is ignored.
    let _started = command.spawn();
}
