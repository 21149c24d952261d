//! The subcommand `enroll`: from a token to an identity, and its renewal.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use rcmd_certs::Layout;
use rcmd_certs::enroll::token::{ON_COMMAND_LINE, Token};
use rcmd_certs::enroll::{EnrollError, EnrollmentOptions, Fetched, Kind, enroll as fetch};
use rcmd_certs::files::shown;
use rcmd_certs::text::printable;
use rcmd_client::renewal::{self, Renewed, When};
use rcmd_client::{ErrorKind, WireError};

use crate::arguments::EnrollArguments;
use crate::output;
use crate::session;
use crate::settings;
use crate::text::{self, Tone};

/// The time limit of a renewal.
const IN_OWN_TIME: Duration = Duration::from_secs(20);

/// Enrolls, or renews, and returns the exit status.
///
/// # Errors
/// If the authority refuses or this machine fails. The files of an identity are written whole or not at all.
pub(crate) fn enroll(typed: &EnrollArguments) -> Result<u8, WireError> {
    let layout = settings::layout(typed.dir.as_deref())?;
    let runtime = session::runtime()?;
    let done = runtime.block_on(async {
        match typed.renew || typed.in_own_time {
            true => renew(&layout, typed).await,
            false => fetch_identity(&layout, typed).await,
        }
    });
    runtime.shutdown_background();
    output::print(done?.as_bytes())
}

async fn fetch_identity(layout: &Layout, typed: &EnrollArguments) -> Result<String, WireError> {
    let fetched = token(typed).map(|token| async move {
        let options =
            EnrollmentOptions { name: typed.name.clone(), ..EnrollmentOptions::default() };
        fetch(&token, layout, &options).await
    });
    let fetched = match fetched {
        Ok(fetching) => fetching.await,
        Err(error) => Err(error),
    };
    let fetched = fetched.map_err(|error| WireError::new(ErrorKind::Tls, error.to_string()))?;
    Ok(report(layout, typed, &fetched))
}

fn token(typed: &EnrollArguments) -> Result<Token, EnrollError> {
    let (word, file) = (typed.token.as_ref(), typed.token_file.as_deref());
    match word {
        Some(word) if word.expose() != "-" => {
            text::say(&text::line(Tone::Notice, ON_COMMAND_LINE));
        }
        _ if file.is_none() && io::stdin().is_terminal() => {
            text::say("Token, as `rcmd-certs token client NAME` prints it: ");
        }
        _ => {}
    }
    let token = Token::given(word, file, io::stdin().lock())?;
    match token.kind {
        Kind::Client => Ok(token),
        is => Err(EnrollError::WrongKind { is, wanted: Kind::Client }),
    }
}

fn report(layout: &Layout, typed: &EnrollArguments, fetched: &Fetched) -> String {
    if let Some(clock) = fetched.clock {
        text::say(&text::line(Tone::Notice, &clock.to_string()));
    }
    if let Some(refused) = &fetched.lists {
        let text = format!("no revocation list yet: {}", printable(refused));
        text::say(&text::line(Tone::Notice, &text));
    }
    let names: Vec<_> = fetched.names.iter().map(|name| printable(name)).collect();
    let groups: Vec<_> = fetched.groups.iter().map(|group| printable(group)).collect();
    let groups = match groups.as_slice() {
        [] => String::new(),
        groups => format!(", groups {}", groups.join(" ")),
    };
    let dir = typed.dir.as_deref().map(|dir| format!(" --dir {}", shown(dir))).unwrap_or_default();
    format!(
        "enrolled as {}{groups}; the key stays in {}\nnext: rcmd-client{dir} HOST uname -a\n",
        names.join(" "),
        shown(&layout.client_key())
    )
}

async fn renew(layout: &Layout, typed: &EnrollArguments) -> Result<String, WireError> {
    if !rcmd_certs::files::exists(&layout.contact(Kind::Client)) {
        let missing =
            EnrollError::NotEnrolled { path: layout.contact(Kind::Client), kind: Kind::Client };
        return Err(WireError::new(ErrorKind::Tls, missing.to_string()));
    }
    let when = if typed.in_own_time { When::Due } else { When::Now };
    let renewed = tokio::time::timeout(IN_OWN_TIME, renewal::renew(layout, when)).await;
    let renewed = renewed
        .map_err(|_| WireError::new(ErrorKind::Tls, "the authority did not answer in time"))??;
    if let Renewed::Yes(Some(clock)) = renewed {
        text::say(&text::line(Tone::Notice, &clock.to_string()));
    }
    Ok(match renewed {
        Renewed::Yes(_) => format!("renewed {}\n", shown(&layout.client_cert())),
        Renewed::No => String::new(),
    })
}
