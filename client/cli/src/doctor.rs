//! The subcommand `doctor`: tests the steps of a connection one after the other, and advises on the one that fails.

use std::io;
use std::time::Duration;

use rcmd_certs::Identity;
use rcmd_certs::clock::{now_unix, span};
use rcmd_certs::text::{printable, sentence};
use rcmd_certs::tls::{ClientFiles, check_client, load_leaf};
use rcmd_certs::x509::Certificate;
use rcmd_client::renewal;
use rcmd_client::{Client, Config, ErrorKind, Outcome, WireError, connect};
use rustls::CommonState;
use serde::Serialize;
use tokio::time::{Instant, timeout};

use crate::arguments::DoctorArguments;
use crate::settings::Doctor;
use crate::{session, status, text};

/// The time limit for the hello, and for the command.
const ANSWER: Duration = Duration::from_secs(10);

/// The steps, in order.
const STEPS: [&str; 6] = ["certificate", "resolve", "tcp", "tls", "hello", "command"];

/// The advice if nothing listens at the address, or something between drops packets.
const TCP_HINT: &str = "On the host, check whether rcmd-server runs, and on which address and port \
    (`ss -ltn`, or `ss -lx` for Unix sockets); if it does, check the firewalls between.";

/// The advice if something answers, and only the host knows the reason of the failure.
const HOST_HINT: &str = "On the host, check which program listens there (`ss -ltnp`), and what the log of rcmd-server says \
    about this connection.";

/// The result of one step.
#[derive(Serialize)]
struct Step<'a> {
    step: &'a str,
    ok: bool,
    ms: f64,
    /// The finding, or the fault.
    detail: String,
    /// The advice on what to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// Examines a host and returns the exit status: 0 if all steps succeed, else 125.
///
/// # Errors
/// If the command line is wrong, or this machine fails.
pub(crate) fn doctor(typed: DoctorArguments) -> Result<u8, WireError> {
    let doctor = Doctor::resolve(typed)?;
    let runtime = session::runtime()?;
    let mut account = Account { json: doctor.json, next: 0, began: Instant::now(), well: true };
    let examined = runtime.block_on(account.examine(&doctor));
    runtime.shutdown_background();
    match examined {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(status::READER_GONE),
        Err(error) => {
            let message = format!("cannot write standard output: {error}");
            Err(WireError::new(ErrorKind::LocalIo, message))
        }
        Ok(()) if account.well => Ok(0),
        Ok(()) => Ok(status::NOT_STARTED),
    }
}

/// A reporter of the steps, each when it is over.
struct Account {
    json: bool,
    next: usize,
    began: Instant,
    well: bool,
}

impl Account {
    async fn examine(&mut self, doctor: &Doctor) -> io::Result<()> {
        let config = Config::from_dir(doctor.layout.dir()).map_err(WireError::from);
        // A fault of any of the files is a fault of this step.
        let usable = certificate(doctor).and_then(|found| match &config {
            Ok(_) => Ok(found),
            Err(failure) => Err(failure.clone()),
        });
        self.step(usable)?;
        let Ok(config) = config else { return self.rest() };
        let config = config.connect_timeout(doctor.connect_timeout);
        let target = &doctor.target;
        let deadline = Instant::now() + doctor.connect_timeout;

        let addresses = connect::resolve(target, deadline).await.map_err(WireError::from);
        let found = addresses.as_ref().map(|addresses| {
            let list: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
            match target.socket_path() {
                Some(_) => "a Unix socket of this machine: no name to look up".to_owned(),
                None => list.join(", "),
            }
        });
        self.step(found.map_err(WireError::clone))?;
        let Ok(addresses) = addresses else {
            return self.rest();
        };

        let socket = connect::socket(target, &addresses, deadline).await.map_err(WireError::from);
        self.step(socket.as_ref().map(connect::Socket::peer).map_err(WireError::clone))?;
        let Ok(socket) = socket else { return self.rest() };

        let tls = connect::tls(&config, target, socket, deadline).await.map_err(WireError::from);
        self.step(
            tls.as_ref().map(|stream| session(stream.get_ref().1)).map_err(WireError::clone),
        )?;
        let Ok(tls) = tls else { return self.rest() };

        let hello = connect::hello(&config, target, tls, Instant::now() + ANSWER).await;
        let hello = hello.map_err(WireError::from);
        self.step(hello.as_ref().map_err(WireError::clone).map(|hello| {
            let grace = hello.server.as_ref().map(|server| {
                let grace = Duration::from_millis(server.grace_ms);
                format!(
                    "; after a lost connection a command runs on for {}",
                    humantime::format_duration(grace)
                )
            });
            format!("{}{}", printable(&hello.agent), grace.unwrap_or_default())
        }))?;
        if hello.is_err() {
            return self.rest();
        }
        let ran = run_true(&config, doctor).await;
        self.step(ran)
    }

    fn step(&mut self, found: Result<String, WireError>) -> io::Result<()> {
        let ms = self.began.elapsed().as_secs_f64() * 1000.0;
        let (ok, detail, hint) = match found {
            Ok(detail) => (true, detail, None),
            Err(failure) => (false, failure.message, failure.hint),
        };
        self.well &= ok;
        let step = STEPS.get(self.next).copied().unwrap_or_default();
        // A hint to run `doctor` is replaced, because that is what runs here.
        let sends_here = hint.as_deref().is_some_and(|hint| hint.contains("rcmd-client doctor"));
        let hint = match (ok, step) {
            (false, "tcp") => Some(TCP_HINT.to_owned()),
            (false, _) if sends_here => Some(HOST_HINT.to_owned()),
            _ => hint,
        };
        // Rounded to microseconds.
        let ms = (ms * 1000.0).round() / 1000.0;
        self.print(&Step { step, ok, ms, detail: text::escaped(&detail), hint })?;
        self.next += 1;
        self.began = Instant::now();
        Ok(())
    }

    /// Prints the steps that were not tried.
    fn rest(&mut self) -> io::Result<()> {
        if !self.json {
            for step in STEPS.iter().skip(self.next) {
                write_line(&format!("-     {step:<12}             not tried"))?;
            }
        }
        Ok(())
    }

    fn print(&self, step: &Step<'_>) -> io::Result<()> {
        if self.json {
            return write_line(&serde_json::to_string(step)?);
        }
        let mark = if step.ok { "ok" } else { "FAIL" };
        write_line(&format!("{mark:<5} {:<12} {:>7.1} ms  {}", step.step, step.ms, step.detail))?;
        match &step.hint {
            Some(hint) => write_line(&format!("      what to do: {}", text::escaped(hint))),
            None => Ok(()),
        }
    }
}

fn write_line(line: &str) -> io::Result<()> {
    use io::Write as _;
    writeln!(io::stdout(), "{line}")
}

/// Returns the identity of this client, and how long its certificate is valid.
fn certificate(doctor: &Doctor) -> Result<String, WireError> {
    let files = ClientFiles::from(&doctor.layout);
    let unusable =
        |error: rcmd_certs::tls::TlsError| WireError::new(ErrorKind::Tls, error.to_string());
    let leaf = load_leaf(&files.cert).map_err(unusable)?;
    if let Some(finding) = check_client(&files).map_err(unusable)?.into_iter().next() {
        let message = format!("{} {}", rcmd_certs::files::shown(&finding.path), finding.problem);
        return Err(WireError::new(ErrorKind::Tls, message).hint(sentence(finding.remedy)));
    }
    if let Some(failed) = renewal::last_failure(&doctor.layout) {
        let hint = "Try `rcmd-client enroll --renew`.";
        return Err(WireError::new(ErrorKind::Tls, failed).hint(hint));
    }
    let user = Identity::from_certificate(&leaf).map(|identity| identity.to_string());
    Ok(format!("{}, {}", user.unwrap_or_default(), validity(&leaf)))
}

fn validity(certificate: &Certificate) -> String {
    let left = certificate.not_after.saturating_sub(now_unix());
    let day = jiff::Timestamp::from_second(certificate.not_after)
        .map_or_else(|_| "?".to_owned(), |time| time.strftime("%Y-%m-%d").to_string());
    match u64::try_from(left) {
        Ok(left) => format!("valid until {day} ({} left)", span(left)),
        Err(_) => format!("expired on {day}"),
    }
}

/// Returns the result of the handshake: version, algorithms and peer.
fn session(tls: &CommonState) -> String {
    let suite = tls.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
    let group = tls.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name()));
    let version = tls.protocol_version().map(|version| match version {
        rustls::ProtocolVersion::TLSv1_3 => "TLS 1.3".to_owned(),
        other => format!("{other:?}"),
    });
    let leaf = tls.peer_certificates().and_then(<[_]>::first);
    let peer = leaf.and_then(|leaf| Certificate::parse(leaf).ok()).map(|leaf| {
        let addresses = leaf.names.addresses.iter().map(ToString::to_string);
        let names: Vec<_> = leaf.names.dns.iter().cloned().chain(addresses).collect();
        format!("{}, {}", names.join(" "), validity(&leaf))
    });
    let facts: Vec<_> = [version, group, suite, peer].into_iter().flatten().collect();
    facts.join(", ")
}

/// Runs `true` on the host. The time limit is also enforced here, in case the host does not.
async fn run_true(config: &Config, doctor: &Doctor) -> Result<String, WireError> {
    let client = Client::connect(config, &doctor.target).await?;
    let report = timeout(2 * ANSWER, async { client.exec("true").timeout(ANSWER).status().await });
    let report = report.await.map_err(|_| {
        let message = format!("`true` did not end on the host within {} s", 2 * ANSWER.as_secs());
        WireError::new(ErrorKind::Lost, message).hint(HOST_HINT)
    })??;
    client.close().await;
    match (report.outcome, report.code, report.error) {
        (Outcome::Exited, Some(0), _) => {
            Ok("`true` ran on the host and exited with status 0".to_owned())
        }
        (_, _, Some(failure)) => Err(failure),
        (outcome, ..) => Err(WireError::new(ErrorKind::Lost, format!("`true` ended as {outcome}"))
            .hint("Check the server's log.")),
    }
}
