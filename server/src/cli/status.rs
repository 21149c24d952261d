//! The subcommand `rcmd-server status`.

use std::{io::Write, time::Duration};

use anyhow::Result;
use rcmd_certs::{
    Layout,
    clock::{self, span},
    crl::CrlSet,
    enroll::{EnrollError, Kind, Member},
    files::shown,
    text::printable,
    tls::{self, ServerFiles},
};

use serde::Serialize;

use super::{StatusOptions, enroll::block_on};
use crate::{
    audit::place::{self, Room},
    config::folders::ServerFolders,
    control::{AskError, ControlRequest, ControlResponse, ask},
    daemon::instance::{self, ServerInfo},
    state::Snapshot,
    trust::age,
};

/// The time for the authority's answer.
const ANSWER: Duration = Duration::from_secs(5);

/// The maximum number of users whose connections are told one by one.
const USERS: usize = 8;

/// A line of the report, or the fault that it reports.
type Finding = Result<String, String>;

/// A line of the report, as JSON has it.
#[derive(Debug, Serialize)]
struct Line {
    about: &'static str,
    well: bool,
    text: String,
}

/// The report, as JSON has it.
#[derive(Debug, Serialize)]
struct Report {
    well: bool,
    findings: Vec<Line>,
    /// The dates in Unix time at which the files of certificate and list expire.
    certificate_expiry: Option<i64>,
    list_expiry: Option<i64>,
    /// The servers that run.
    servers: Vec<Option<ServerInfo>>,
    /// The state of the server that answered.
    server: Option<Box<Snapshot>>,
}

/// Prints whether the server runs and what it does, and the state of audit, certificate, lists and
/// authority. Returns the exit status: 0 if all is well and a server runs, otherwise 1.
///
/// # Errors
/// If nothing can be printed.
pub fn run(options: &StatusOptions, out: &mut dyn Write) -> Result<u8> {
    let report = examine(&Layout::for_host(options.dir.as_deref()));
    if options.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        let mut before = "";
        for Line { about, text, .. } in &report.findings {
            let name = if before == *about { "" } else { about };
            writeln!(out, "{name:<12} {text}")?;
            before = about;
        }
    }
    Ok(u8::from(!report.well))
}

fn examine(layout: &Layout) -> Report {
    let mut findings = Vec::new();
    let mut report = |about: &'static str, found: Vec<Finding>| {
        findings.extend(found.into_iter().map(|finding| {
            let well = finding.is_ok();
            let (Ok(text) | Err(text)) = finding;
            Line { about, well, text }
        }));
    };
    let (mut servers, mut server) = (Vec::new(), None);
    match ServerFolders::load(layout) {
        Ok(folders) => {
            let said;
            (servers, said) = running(&folders);
            report("server", said);
            if !servers.is_empty() {
                let (answered, said) = asked(&folders);
                said.into_iter().for_each(|(about, found)| report(about, vec![found]));
                server = answered;
            }
            report("audit", vec![audit(&folders, !servers.is_empty())]);
        }
        Err(error) => report("server", vec![Err(format!("UNKNOWN: {error}"))]),
    }
    report("certificate", certificate(layout));
    match Member::load(layout, Kind::Server) {
        Ok(member) => {
            report("list", vec![list(layout, member.is_some())]);
            report("authority", vec![authority(member)]);
        }
        Err(error) => report("authority", vec![Err(format!("UNUSABLE: {error}"))]),
    }
    let leaf = tls::load_leaf(&layout.server_cert()).ok();
    let lists = CrlSet::load(&layout.server_list()).ok().flatten();
    Report {
        well: findings.iter().all(|line| line.well),
        findings,
        certificate_expiry: leaf.map(|leaf| leaf.not_after),
        list_expiry: lists.map(|lists| lists.next_update()),
        servers,
        server,
    }
}

/// Reports the servers that run over this folder, and returns them.
fn running(folders: &ServerFolders) -> (Vec<Option<ServerInfo>>, Vec<Finding>) {
    let servers = match instance::servers(folders) {
        Ok(servers) => servers,
        Err(error) => {
            let why = format!("cannot find out whether a server runs: {error}");
            return (Vec::new(), vec![Err(why)]);
        }
    };
    if servers.is_empty() {
        return (servers, vec![Err("not running".to_owned())]);
    }
    let said = servers.iter().map(|server| {
        let Some(server) = server else { return Ok("running, just started".to_owned()) };
        let listening: Vec<_> = server.listening.iter().map(ToString::to_string).collect();
        let (pid, since) = (server.pid, clock::date(server.since));
        Ok(format!("running, pid {pid}, since {since}, listening on {}", listening.join(", ")))
    });
    let said = said.collect();
    (servers, said)
}

/// The answer of a running server, and what is reported of it.
type Answer = (Option<Box<Snapshot>>, Vec<(&'static str, Finding)>);

/// Asks the running server what it does.
fn asked(folders: &ServerFolders) -> Answer {
    let response = block_on(async { Ok(ask(&folders.run, &ControlRequest::Snapshot).await) });
    match response {
        Ok(Ok(ControlResponse::Snapshot(snapshot))) => {
            let said = told(&snapshot);
            (Some(snapshot), said)
        }
        Ok(Err(error @ AskError::NotPermitted(_))) => {
            (None, vec![("commands", Ok(format!("not shown: {error}")))])
        }
        Ok(Err(error)) => (None, vec![("commands", Err(format!("UNKNOWN: {error}")))]),
        Ok(Ok(_)) => (None, vec![("commands", Err("UNKNOWN: another answer came".to_owned()))]),
        Err(error) => (None, vec![("commands", Err(format!("UNKNOWN: {error:#}")))]),
    }
}

/// Reports what a server does.
fn told(of: &Snapshot) -> Vec<(&'static str, Finding)> {
    let mut said = Vec::new();
    if of.draining {
        said.push(("server", Err("STOPPING: it starts no further command".to_owned())));
    }
    let mut commands = format!(
        "{} running of {}, {} waiting of {}",
        of.running, of.limits.running, of.queued, of.limits.queued
    );
    match of.kept {
        0 => {}
        kept => commands += &format!("; {kept} kept for clients that are gone"),
    }
    said.push(("commands", Ok(commands)));
    let peers = of.peers.iter().take(USERS);
    let mut users: Vec<_> =
        peers.map(|peer| format!("{} {}", printable(&peer.user), peer.connections)).collect();
    match of.peers.len().saturating_sub(USERS) {
        0 => {}
        more => users.push(format!("{more} more users")),
    }
    let mut connections = format!("{} of {}", of.connections, of.limits.connections);
    if !users.is_empty() {
        connections += &format!(": {}", users.join(", "));
    }
    said.push(("connections", Ok(connections)));
    said
}

/// Reports whether the audit can be written, and how much room there is for it.
fn audit(folders: &ServerFolders, runs: bool) -> Finding {
    let folder = folders.audit();
    let room = match Room::of(&folder) {
        Ok(room) => room,
        Err(error) if runs => {
            return Err(format!("NOT WRITTEN: cannot examine {}: {error}", shown(&folder)));
        }
        Err(_) => return Ok("none yet".to_owned()),
    };
    let free = format!("{} MiB free", room.free >> 20);
    match place::is_failing(&folder) {
        Ok(true) => Err(format!("NOT WRITTEN: no command starts, the log says why; {free}")),
        Err(error) if runs => Err(format!("NOT WRITTEN: {error}; {free}")),
        _ if room.is_scarce() => {
            Err(format!("NEARLY FULL: {free} for the audit in {}; make room there", shown(&folder)))
        }
        _ => Ok(format!("good, {free}")),
    }
}

fn certificate(layout: &Layout) -> Vec<Finding> {
    let leaf = match tls::load_leaf(&layout.server_cert()) {
        Ok(leaf) => leaf,
        Err(error) => return vec![Err(format!("UNUSABLE: {error}"))],
    };
    let left = leaf.not_after.saturating_sub(clock::now_unix());
    let subject = printable(&leaf.subject);
    let mut said = vec![match u64::try_from(left) {
        Ok(left) => Ok(format!("{subject}, {} left", span(left))),
        Err(_) => Err(format!("{subject}, EXPIRED {} ago", span(left.unsigned_abs()))),
    }];
    match tls::check_server(&ServerFiles::from(layout)) {
        Ok(findings) => said.extend(findings.iter().map(|finding| Err(finding.to_string()))),
        Err(error) => said.push(Err(error.to_string())),
    }
    said
}

fn list(layout: &Layout, is_member: bool) -> Finding {
    let lists = match CrlSet::load(&layout.server_list()) {
        Ok(Some(lists)) => lists,
        Ok(None) if is_member => {
            return Err("NONE: no client is let in until the authority sends one".to_owned());
        }
        Ok(None) => return Ok("not needed: this server did not enroll with a token".to_owned()),
        Err(error) => return Err(format!("UNUSABLE: {error}")),
    };
    let left = lists.next_update().saturating_sub(clock::now_unix());
    let trusted = tls::crl_issuers(layout, Kind::Server)
        .map_err(anyhow::Error::from)
        .and_then(|known| Ok(lists.clone().known(&known)?));
    let age = age(&lists);
    match (trusted, u64::try_from(left)) {
        (Err(error), _) => Err(format!("{age}, UNUSABLE: {error}")),
        (_, Ok(left)) => Ok(format!("{age}, valid for {}", span(left))),
        (_, Err(_)) => {
            Err(format!("{age}, EXPIRED {} ago: no client is let in", span(left.unsigned_abs())))
        }
    }
}

fn authority(member: Option<Member>) -> Finding {
    let Some(member) = member else {
        return Ok(
            "none: this server did not enroll with a token (`rcmd-server enroll`)".to_owned()
        );
    };
    let address = printable(&member.contact().addresses.join(", "));
    let asked = block_on(async { Ok(tokio::time::timeout(ANSWER, member.fetch_lists(0)).await) });
    let failure = match asked {
        Ok(Ok(Ok(_))) => return Ok(format!("{address}, reached")),
        Ok(Ok(Err(error))) => match error {
            EnrollError::Unreachable(_) => format!("NOT REACHED: {error}"),
            EnrollError::Refused { message, .. } => format!("REFUSED: {message}"),
            error => format!("REACHED, BUT: {error}"),
        },
        Ok(Err(_)) => format!("NOT REACHED: no answer in {} s", ANSWER.as_secs()),
        Err(error) => format!("NOT ASKED: {error:#}"),
    };
    Err(format!("{address}, {failure}"))
}
