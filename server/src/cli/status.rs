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

use super::{StatusOptions, enroll::block_on};
use crate::{
    audit::place::{self, Room},
    daemon::instance,
    trust::age,
};

/// The time for the authority's answer.
const ANSWER: Duration = Duration::from_secs(5);

/// A line of the report, or the fault that it reports.
type Finding = Result<String, String>;

/// Prints whether the server runs, and the state of audit, certificate, lists and authority.
/// Returns the exit status: 0 if all is well and a server runs, otherwise 1.
///
/// # Errors
/// If nothing can be printed.
pub fn run(options: &StatusOptions, out: &mut dyn Write) -> Result<u8> {
    let layout = Layout::for_host(options.dir.as_deref());
    let mut well = true;
    let mut report = |name: &str, findings: Vec<Finding>| {
        for (at, finding) in findings.into_iter().enumerate() {
            well &= finding.is_ok();
            let (Ok(said) | Err(said)) = finding;
            writeln!(out, "{:<12} {said}", if at == 0 { name } else { "" })?;
        }
        Ok::<_, std::io::Error>(())
    };
    let (runs, servers) = servers(&layout);
    report("server", servers)?;
    report("audit", vec![audit(&layout, runs)])?;
    report("certificate", certificate(&layout))?;
    match Member::load(&layout, Kind::Server) {
        Ok(member) => {
            report("list", vec![list(&layout, member.is_some())])?;
            report("authority", vec![authority(member)])?;
        }
        Err(error) => report("authority", vec![Err(format!("UNUSABLE: {error}"))])?,
    }
    Ok(u8::from(!well))
}

/// Reports the servers that run over this folder. Also returns whether any does.
fn servers(layout: &Layout) -> (bool, Vec<Finding>) {
    let servers = match instance::servers(layout) {
        Ok(servers) => servers,
        Err(error) => {
            return (false, vec![Err(format!("cannot find out whether a server runs: {error}"))]);
        }
    };
    if servers.is_empty() {
        return (false, vec![Err("not running".to_owned())]);
    }
    let said = servers.into_iter().map(|server| {
        let Some(server) = server else { return Ok("running, just started".to_owned()) };
        let listening: Vec<_> = server.listening.iter().map(ToString::to_string).collect();
        let (pid, since) = (server.pid, clock::date(server.since));
        Ok(format!("running, pid {pid}, since {since}, listening on {}", listening.join(", ")))
    });
    (true, said.collect())
}

/// Reports whether the audit can be written, and how much room there is for it.
fn audit(layout: &Layout, runs: bool) -> Finding {
    let folder = layout.server_dir().join("audit");
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
