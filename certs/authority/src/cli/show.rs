//! `show`: certificates and revocation lists for people, or as JSON.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use rcmd_certs::{
    clock::{self, date},
    crl::{self, Crl, CrlSet},
    files::{self, shown},
    identity::Identity,
    paths::Layout,
    text::printable,
    tls,
    x509::{Certificate, UsageSet},
};
use serde::Serialize;

use super::error::Error;

/// The form in which certificates are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
}

impl Form {
    pub(super) fn new(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}

/// Shows the files, or those of the layout. For a file that cannot be read there is a complaint, and the
/// others are shown; the exit status is then 1.
pub(super) fn show(
    chosen: &[PathBuf],
    layout: &Layout,
    form: Form,
    out: &mut impl Write,
) -> Result<ExitCode, Error> {
    let standard = [
        layout.ca(),
        layout.server_cert(),
        layout.client_cert(),
        layout.authority_list(),
        layout.server_list(),
    ];
    let all: Vec<PathBuf> = if chosen.is_empty() {
        let there: Vec<_> = standard.into_iter().filter(|path| files::exists(path)).collect();
        // If none exists, the complaint about ca.pem has the remedy.
        if there.is_empty() { vec![layout.ca()] } else { there }
    } else {
        chosen.to_vec()
    };
    let mut status = ExitCode::SUCCESS;
    for file in &all {
        let pem = files::read_shown(file, crl::MAX_LIST_FILE);
        if let Ok(Ok(lists)) = pem.as_deref().map(CrlSet::from_pem) {
            for list in lists.all() {
                write_list(file, list, form, out)?;
            }
            continue;
        }
        let certificates = match pem {
            Ok(pem) => tls::shown_certificates(file, &pem),
            // Its error has the remedy for a missing file.
            Err(_) => tls::load_certificates(file),
        };
        match certificates {
            Ok(certificates) => {
                for (index, facts) in certificates.iter().enumerate() {
                    write_one(file, index + 1, facts, form, out)?;
                }
            }
            Err(error) => {
                let _ = writeln!(io::stderr(), "rcmd: {error}");
                status = ExitCode::FAILURE;
            }
        }
    }
    out.flush()?;
    Ok(status)
}

fn write_list(file: &Path, list: &Crl, form: Form, out: &mut impl Write) -> Result<(), Error> {
    let (issued, next) = (date(list.this_update), date(list.next_update));
    if form == Form::Json {
        let record = serde_json::json!({
            "file": shown(file),
            "issuer": printable(&list.issuer),
            "number": list.number,
            "this_update": issued,
            "next_update": next,
            "revoked": list.revoked,
        });
        return Ok(writeln!(out, "{record}")?);
    }
    writeln!(out, "{}", shown(file))?;
    let mut line = |label: &str, value: &str| writeln!(out, "  {label:<12}{value}");
    line("list", &format!("number {}, of {issued}, good until {next}", list.number))?;
    line("issuer", &printable(&list.issuer))?;
    line("revoked", &or_none(&list.revoked))?;
    Ok(())
}

fn write_one(
    file: &Path,
    number: usize,
    facts: &Certificate,
    form: Form,
    out: &mut impl Write,
) -> Result<(), Error> {
    match form {
        Form::Text => {
            let which = if number > 1 { format!(" (certificate {number})") } else { String::new() };
            writeln!(out, "{}{which}", shown(file))?;
            describe(facts, out)
        }
        Form::Json => {
            let record = Record::new(file, number, facts);
            serde_json::to_writer(&mut *out, &record).map_err(io::Error::from)?;
            Ok(writeln!(out)?)
        }
    }
}

/// Writes the facts of one certificate, a line each.
pub(super) fn describe(facts: &Certificate, out: &mut impl Write) -> Result<(), Error> {
    let mut line = |label: &str, value: &str| writeln!(out, "  {label:<12}{value}");
    line("subject", &printable(&facts.subject))?;
    match Identity::from_certificate(facts) {
        Ok(identity) => {
            line("user", identity.user())?;
            line("groups", &or_none(identity.groups()))?;
            if identity.is_break_glass() {
                line("break-glass", "for an emergency: taken without a revocation list")?;
            }
        }
        // The certificate of a server or an authority names no user, and need not.
        Err(error) if for_client_only(facts) => line("user", &format!("none: {error}"))?,
        Err(_) => {}
    }
    let names = names(facts);
    if !names.is_empty() {
        line("names", &names.join(", "))?;
    }
    line("issuer", &printable(&facts.issuer))?;
    line("serial", &facts.serial)?;
    line("usage", &usages(facts).join(", "))?;
    let dates = format!("{} to {}", date(facts.not_before), date(facts.not_after));
    line("valid", &format!("{dates}, {}", standing(facts)))?;
    line("fingerprint", &format!("sha256:{}", facts.fingerprint))?;
    line("key", &facts.key.to_string())?;
    Ok(())
}

#[derive(Serialize)]
struct Record {
    file: String,
    number: usize,
    subject: String,
    user: Option<String>,
    groups: Vec<String>,
    names: Vec<String>,
    uris: Vec<String>,
    issuer: String,
    serial: String,
    usage: Vec<&'static str>,
    not_before: String,
    not_after: String,
    standing: String,
    fingerprint: String,
    key: String,
    break_glass: bool,
}

impl Record {
    fn new(file: &Path, number: usize, facts: &Certificate) -> Self {
        let identity = Identity::from_certificate(facts).ok();
        Self {
            file: shown(file),
            number,
            subject: printable(&facts.subject),
            break_glass: identity.as_ref().is_some_and(Identity::is_break_glass),
            user: identity.as_ref().map(|identity| identity.user().to_owned()),
            groups: identity.map(|identity| identity.groups().to_vec()).unwrap_or_default(),
            names: names(facts),
            uris: facts.names.uris.iter().map(|uri| printable(uri)).collect(),
            issuer: printable(&facts.issuer),
            serial: facts.serial.clone(),
            usage: usages(facts),
            not_before: date(facts.not_before),
            not_after: date(facts.not_after),
            standing: standing(facts),
            fingerprint: format!("sha256:{}", facts.fingerprint),
            key: facts.key.to_string(),
        }
    }
}

fn names(facts: &Certificate) -> Vec<String> {
    let addresses = facts.names.addresses.iter().map(ToString::to_string);
    facts.names.dns.iter().map(|name| printable(name)).chain(addresses).collect()
}

fn usages(facts: &Certificate) -> Vec<&'static str> {
    if facts.is_ca {
        return vec!["authority"];
    }
    let mut usages = Vec::new();
    if facts.usage.allows_server() {
        usages.push("server");
    }
    if facts.usage.allows_client() {
        usages.push("client");
    }
    if usages.is_empty() { vec!["neither server nor client"] } else { usages }
}

fn for_client_only(facts: &Certificate) -> bool {
    !facts.is_ca && facts.usage == UsageSet::Only { server: false, client: true }
}

fn standing(facts: &Certificate) -> String {
    match tls::date_problem(facts, clock::now_unix()) {
        Some(problem) => problem.to_string(),
        None => {
            format!("expires in {}", clock::span(facts.not_after.abs_diff(clock::now_unix())))
        }
    }
}

fn or_none(all: &[String]) -> String {
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}
