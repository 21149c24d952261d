//! The subcommand `hosts`: lists the hosts of an expression.

use std::collections::BTreeMap;

use rcmd_client::hosts::{HostSet, HostTarget};
use rcmd_client::inventory::Value;
use rcmd_client::{ErrorKind, WireError};
use serde::Serialize;

use crate::arguments::hosts::HostsArguments;
use crate::output;
use crate::settings::{self, sets};
use crate::text::{self, Tone};

/// Prints a set of hosts and returns the exit status.
///
/// # Errors
/// If the expression is invalid, or the set is empty.
pub(crate) fn hosts(typed: &HostsArguments) -> Result<u8, WireError> {
    let layout = settings::layout(typed.dir.as_deref())?;
    let (inventory, passed_over) = settings::inventory_with(&layout, &typed.set)?;
    let chosen = sets::choose(typed.expression.as_deref(), &typed.set, &inventory)?;
    let targets = chosen.set.targets(&inventory).map_err(|error| settings::no_target(&error))?;
    let notices = chosen.notices.iter().filter(|_| !typed.quiet);
    let passed_over = passed_over.iter().filter(|_| typed.verbose);
    for notice in notices.chain(passed_over) {
        text::say(&text::line(Tone::Notice, notice));
    }
    output::print(shape(typed, &chosen.set, &targets)?.as_bytes())
}

/// A host as `--json` prints it.
#[derive(Serialize)]
struct Shown<'a> {
    host: &'a str,
    /// The place in the set, from 0.
    index: usize,
    address: &'a str,
    port: u16,
    /// The name that the certificate must have.
    certificate: &'a str,
    user: Option<&'a str>,
    labels: BTreeMap<&'a str, &'a str>,
    /// The variables that templates can use, as text in the file.
    vars: BTreeMap<&'a str, &'a str>,
}

impl<'a> From<&'a HostTarget> for Shown<'a> {
    fn from(host: &'a HostTarget) -> Self {
        let vars = host.vars().into_iter().flatten().filter_map(|(name, value)| match value {
            Value::Text(text) => Some((name.as_str(), text.as_str())),
            Value::Structure => None,
        });
        Self {
            host: &host.name,
            index: host.index,
            address: &host.target.host,
            port: host.target.port,
            certificate: host.target.certificate_name(),
            user: host.user(),
            labels: host.labels().collect(),
            vars: vars.collect(),
        }
    }
}

/// Returns the output.
fn shape(
    typed: &HostsArguments,
    set: &HostSet,
    targets: &[HostTarget],
) -> Result<String, WireError> {
    if typed.fold {
        return Ok(set.fold() + "\n");
    }
    if typed.count {
        return Ok(format!("{}\n", set.len()));
    }
    let mut text = String::new();
    for host in targets {
        match typed.json {
            false => text.push_str(&host.name),
            true => {
                let line = serde_json::to_string(&Shown::from(host));
                text.push_str(&line.map_err(|error| {
                    WireError::new(ErrorKind::LocalIo, format!("cannot write JSON: {error}"))
                })?);
            }
        }
        text.push('\n');
    }
    Ok(text)
}
