//! `rcmd-server status`.

use std::{io::Write, time::Duration};

use anyhow::{Context as _, Result};
use rcmd_certs::{
    Layout,
    clock::{self, span},
    crl::CrlSet,
    enroll::{Kind, Member},
    text::printable,
    tls::{self, ServerFiles},
};

use super::{StatusOptions, enroll::block_on};
use crate::{daemon::instance, trust::age};

/// Time for the authority's answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Prints whether the server runs, and the state of certificate, lists and authority. Returns the
/// exit status: 0 when all is well, else 1.
///
/// # Errors
/// When the state can't be determined.
pub fn run(options: &StatusOptions, out: &mut dyn Write) -> Result<u8> {
    let layout = Layout::for_host(options.dir.as_deref());
    let mut well = true;
    print_servers(&layout, out)?;
    let leaf = tls::load_leaf(&layout.server_cert())?;
    let left = leaf.not_after.saturating_sub(clock::now_unix());
    let life = match u64::try_from(left) {
        Ok(left) => format!("{} left", span(left)),
        Err(_) => format!("ENDED {} ago", span(left.unsigned_abs())),
    };
    writeln!(out, "certificate  {}, {life}", printable(&leaf.subject))?;
    for finding in tls::check_server(&ServerFiles::from(&layout))? {
        well = false;
        writeln!(out, "             {finding}")?;
    }
    let member = Member::load(&layout, Kind::Server)?;
    match CrlSet::load(&layout.server_list()) {
        Ok(Some(lists)) => {
            let left = lists.next_update().saturating_sub(clock::now_unix());
            let trusted = tls::crl_issuers(&ServerFiles::from(&layout))
                .map_err(anyhow::Error::from)
                .and_then(|known| Ok(lists.clone().known(&known)?));
            let standing = match (trusted, u64::try_from(left)) {
                (Err(error), _) => Err(error.to_string()),
                (_, Ok(left)) => Ok(format!("good for {}", span(left))),
                (_, Err(_)) => {
                    Err(format!("ENDED {} ago: nobody is let in", span(left.unsigned_abs())))
                }
            };
            well &= standing.is_ok();
            let (Ok(standing) | Err(standing)) = standing;
            writeln!(out, "list         {}, {standing}", age(&lists))?;
        }
        Ok(None) if member.is_some() => {
            well = false;
            writeln!(out, "list         NONE: nobody is let in until the authority gives one")?;
        }
        Ok(None) => writeln!(out, "list         none is needed: this server never enrolled")?,
        Err(error) => {
            well = false;
            writeln!(out, "list         UNUSABLE: {error}")?;
        }
    }
    match member {
        None => writeln!(out, "authority    none to ask; renew with `rcmd-certs issue server`")?,
        Some(member) => {
            let address = member.contact().addresses.join(", ");
            let asked =
                block_on(async { Ok(tokio::time::timeout(ANSWER, member.fetch_lists(0)).await) })?;
            let said = match asked {
                Ok(Ok(_)) => "reached".to_owned(),
                Ok(Err(error)) => {
                    well = false;
                    format!("NOT REACHED: {error}")
                }
                Err(_) => {
                    well = false;
                    "NOT REACHED: no answer in 5 s".to_owned()
                }
            };
            writeln!(out, "authority    {}, {said}", printable(&address))?;
        }
    }
    Ok(u8::from(!well))
}

/// Prints which servers run over this folder. None is no fault: the folder may be kept in stock.
fn print_servers(layout: &Layout, out: &mut dyn Write) -> Result<()> {
    let servers = instance::servers(layout);
    let servers = servers.context("whether the server runs can't be seen")?;
    if servers.is_empty() {
        writeln!(out, "server       not running")?;
    }
    for server in servers {
        let Some(server) = server else {
            writeln!(out, "server       running, it has just begun")?;
            continue;
        };
        let listening: Vec<_> = server.listening.iter().map(ToString::to_string).collect();
        writeln!(
            out,
            "server       running, pid {}, since {}, listening on {}",
            server.pid,
            clock::date(server.since),
            listening.join(", ")
        )?;
    }
    Ok(())
}
