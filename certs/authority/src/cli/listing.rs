//! `list` and `revoke`: the members, and the end of a membership.

use std::io::Write;

use rcmd_authority::state::{
    AdminClient, AdminRequest, AdminResponse, Listing, MemberFacts, Revoked, TokenFacts,
    UnawareClients,
};
use rcmd_certs::{paths::Layout, text::printable};

use super::{error::Error, options::Reason};

/// Lists members, tokens, and how old the revocation lists are.
pub(super) async fn list(layout: &Layout, json: bool, out: &mut impl Write) -> Result<(), Error> {
    let AdminResponse::Listing(listing) =
        AdminClient::open(layout).await?.request(AdminRequest::Listing).await?
    else {
        return Err(Error::Response);
    };
    if json {
        serde_json::to_writer(&mut *out, &listing).map_err(std::io::Error::from)?;
        return Ok(writeln!(out)?);
    }
    let Listing { members, tokens, list } = listing;
    let mut rows =
        vec![["KIND", "NAMES", "GROUPS", "STANDING", "UNTIL", "SERIAL"].map(String::from)];
    rows.extend(members.iter().map(member));
    table(&rows, out)?;
    if !tokens.is_empty() {
        let mut rows =
            vec![["TOKEN", "KIND", "NAMES", "STANDING", "UNTIL", "USES"].map(String::from)];
        rows.extend(tokens.iter().map(token));
        writeln!(out)?;
        table(&rows, out)?;
    }
    writeln!(out)?;
    match list {
        Some(list) => writeln!(
            out,
            "revocation lists: number {}, of {}, good until {}",
            list.number, list.this_update, list.next_update
        )?,
        None => writeln!(out, "revocation lists: none yet; `rcmd-certs serve` signs them")?,
    }
    Ok(())
}

fn member(facts: &MemberFacts) -> [String; 6] {
    [
        facts.kind.to_string(),
        printable(&facts.names.join(",")),
        or_dash(&facts.groups.join(",")),
        facts.standing.to_string(),
        facts.not_after.clone(),
        facts.serial.clone(),
    ]
}

fn token(facts: &TokenFacts) -> [String; 6] {
    [
        facts.id.clone(),
        facts.kind.to_string(),
        printable(&facts.names),
        facts.standing.to_string(),
        facts.expires_at.clone(),
        format!("{} of {} left", facts.left, facts.uses),
    ]
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".into() } else { printable(text) }
}

fn table(rows: &[[String; 6]], out: &mut impl Write) -> Result<(), Error> {
    let mut widths = [0; 6];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Revokes the members, certificates or tokens of this name.
pub(super) async fn revoke(
    layout: &Layout,
    what: &str,
    reason: Reason,
    unlisted: bool,
    out: &mut impl Write,
) -> Result<(), Error> {
    let mut admin_client = AdminClient::open(layout).await?;
    let request = AdminRequest::Revoke { what: what.to_owned(), reason: reason.into(), unlisted };
    let AdminResponse::Revoked(Revoked { members, serials, tokens, clients }) =
        admin_client.request(request).await?
    else {
        return Err(Error::Response);
    };
    for member in members {
        writeln!(out, "revoked {}", printable(&member))?;
    }
    for token in tokens {
        writeln!(out, "revoked token {token}")?;
    }
    for serial in serials {
        writeln!(out, "on the list: {serial}")?;
    }
    if let Some(UnawareClients { until, by_command }) = clients {
        let known = match until {
            Some(until) => {
                format!("clients learn of it when they renew, the last of them by {until}")
            }
            None => "every client that enrolled learns of it before it connects again".to_owned(),
        };
        writeln!(out, "{known}")?;
        if by_command > 0 {
            writeln!(
                out,
                "{by_command} clients of `rcmd-certs issue` never renew: copy {} into the folder `client` of \
                 each, or they still accept what was revoked",
                rcmd_certs::files::shown(&layout.authority_list())
            )?;
        }
    }
    if matches!(admin_client, AdminClient::Local(_)) {
        writeln!(
            out,
            "no `rcmd-certs serve` is running here: servers learn of it once one runs, or from {}",
            rcmd_certs::files::shown(&layout.authority_list())
        )?;
    }
    Ok(())
}
