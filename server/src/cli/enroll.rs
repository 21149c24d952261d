//! The subcommand `rcmd-server enroll`.

use std::io::{IsTerminal as _, Write};

use anyhow::Result;
use rcmd_certs::{
    Layout,
    enroll::{
        EnrollError, EnrollmentOptions, Kind, enroll,
        token::{ON_COMMAND_LINE, Token},
    },
    files::shown,
    text::printable,
};

use super::EnrollOptions;

/// Makes a key, and fetches a certificate and the revocation list. Returns the exit status.
///
/// # Errors
/// The step that failed, and advice on what to do.
pub fn run(options: &EnrollOptions, out: &mut dyn Write) -> Result<u8> {
    let layout = Layout::for_host(options.dir.as_deref());
    let (word, file) = (options.token.as_ref(), options.token_file.as_deref());
    let mut told = std::io::stderr();
    match word {
        Some(word) if word.expose() != "-" => writeln!(told, "rcmd: {ON_COMMAND_LINE}")?,
        _ if file.is_none() && std::io::stdin().is_terminal() => {
            write!(told, "Token, as `rcmd-certs token server NAME` prints it: ")?;
        }
        _ => {}
    }
    let token = Token::given(word, file, std::io::stdin().lock())?;
    if token.kind != Kind::Server {
        return Err(EnrollError::WrongKind { is: token.kind, wanted: Kind::Server }.into());
    }
    let wish = EnrollmentOptions { name: options.name.clone(), ..EnrollmentOptions::default() };
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
        if let Some(refused) = fetched.lists {
            // The server itself asks again.
            writeln!(std::io::stderr(), "rcmd: no revocation list yet: {}", printable(&refused))?;
        }
        if !rcmd_certs::files::exists(&layout.policy()) {
            writeln!(out, "next: rcmd-server policy init{}", dir_flag(options))?;
        }
        writeln!(out, "next: rcmd-server{} --listen 0.0.0.0:7263", dir_flag(options))?;
        Ok(0)
    })
}

fn dir_flag(options: &EnrollOptions) -> String {
    options.dir.as_deref().map(|dir| format!(" --dir {}", shown(dir))).unwrap_or_default()
}

pub(super) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
