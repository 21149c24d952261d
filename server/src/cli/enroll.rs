//! `rcmd-server enroll` and `rcmd-server status`.

use std::{io::Write, time::Duration};

use anyhow::{Context as _, Result, bail};
use rcmd_certs::{
    Layout,
    clock::{self, span},
    crl::CrlSet,
    enroll::{EnrollError, Kind, Member, Options, enroll, token::Token},
    files::shown,
    text::printable,
    tls::{self, ServerFiles},
};

use crate::trust::age;
use crate::{
    cli::{EnrollOptions, StatusOptions},
    daemon::instance,
};

/// Time for the authority's answer to `status`.
const ANSWER: Duration = Duration::from_secs(5);

/// Makes a key and fetches a certificate and the revocation list. Gives the exit status.
///
/// # Errors
/// What keeps it from it, and what to do.
pub fn run_enroll(options: &EnrollOptions, out: &mut dyn Write) -> Result<u8> {
    let layout = Layout::for_host(options.dir.as_deref());
    let token: Token = match (&options.token, &options.token_file) {
        (_, Some(file)) => Token::load(file)?,
        (Some(text), None) => text.parse()?,
        (None, None) => bail!("there is no token; `rcmd-certs token server NAME` prints one"),
    };
    if token.kind != Kind::Server {
        return Err(EnrollError::WrongKind { is: token.kind, wanted: Kind::Server }.into());
    }
    let wish = Options { name: options.name.clone(), ..Options::default() };
    block_on(async {
        let fetched = enroll(&token, &layout, &wish).await?;
        let names: Vec<_> = fetched.names.iter().map(|name| printable(name)).collect();
        writeln!(
            out,
            "enrolled as {}; the key stays in {}",
            names.join(" "),
            shown(&layout.server_key())
        )?;
        if let Some(clock) = fetched.clock {
            writeln!(std::io::stderr(), "rcmd: {clock}")?;
        }
        let member = Member::load(&layout, Kind::Server)?.context("the new identity is gone")?;
        match member.fetch_lists(0).await {
            Ok(Some(lists)) => {
                let known = tls::crl_issuers(&ServerFiles::from(&layout))?;
                lists.accept(None, &known, clock::now_unix())?.write(&layout.server_list())?;
            }
            Ok(None) => {}
            // The server itself asks again.
            Err(error) => writeln!(std::io::stderr(), "rcmd: no revocation list yet: {error}")?,
        }
        if !layout.policy().exists() {
            writeln!(out, "next: rcmd-server policy init{}", dir_flag(options))?;
        }
        writeln!(out, "next: rcmd-server{} --listen 0.0.0.0:7263", dir_flag(options))?;
        Ok(0)
    })
}

fn dir_flag(options: &EnrollOptions) -> String {
    options.dir.as_deref().map(|dir| format!(" --dir {}", shown(dir))).unwrap_or_default()
}

/// Says whether the server runs and how the certificate, the lists and the authority are. Gives 0
/// when all is well, else 1.
///
/// # Errors
/// When it can't be said.
pub fn run_status(options: &StatusOptions, out: &mut dyn Write) -> Result<u8> {
    let layout = Layout::for_host(options.dir.as_deref());
    let mut well = true;
    tell_of_servers(&layout, out)?;
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

/// Whether a server runs over this folder. That none does is no fault: it may be kept in stock.
fn tell_of_servers(layout: &Layout, out: &mut dyn Write) -> Result<()> {
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

fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
