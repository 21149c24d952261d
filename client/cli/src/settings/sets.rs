//! The hosts of a set on the command line.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rcmd_certs::files::shown;
use rcmd_client::hosts::{
    Evaluation, Expression, HostSet, HostTarget, HostsError, MAX_LIST, read_list,
};
use rcmd_client::inventory::Inventory;
use rcmd_client::{ErrorKind, WireError};

use super::no_target;
use crate::arguments::sets::SetOptions;

/// A set, with notices about it.
pub(crate) struct Chosen {
    pub(crate) set: HostSet,
    pub(crate) notices: Vec<String>,
}

/// Returns the hosts of [`choose`] with their addresses, and notices.
///
/// # Errors
/// As of [`choose`]; also if the expression names a user, or a host is invalid.
pub(crate) fn targets(
    expression: Option<&str>,
    typed: &SetOptions,
    inventory: &Inventory,
) -> Result<(Vec<HostTarget>, Vec<String>), WireError> {
    expression.map_or(Ok(()), refuse_user)?;
    let chosen = choose(expression, typed, inventory)?;
    let targets = chosen.set.targets(inventory).map_err(|error| no_target(&error))?;
    Ok((targets, chosen.notices))
}

/// Refuses `USER@HOST`: -l or hosts.toml names the user.
fn refuse_user(expression: &str) -> Result<(), WireError> {
    // The `@` of a group begins its part; text before an `@` is a user.
    let user = expression
        .split([',', '!', '&', '^'])
        .find(|part| part.split_once('@').is_some_and(|(before, _)| !before.trim().is_empty()));
    match user.and_then(|part| part.split_once('@')) {
        None => Ok(()),
        Some((user, _)) => {
            let message = "a set of hosts cannot name a user";
            Err(WireError::new(ErrorKind::Usage, message).hint(format!(
                "Name the user with -l: `rcmd-client -l {} HOSTS COMMAND...`.",
                user.trim()
            )))
        }
    }
}

/// Chooses hosts: those of the expression and of the files, without excluded ones; of the rest those with all
/// labels; of these the given number, at random.
///
/// # Errors
/// A usage error if an expression is invalid, or no host is left.
pub(crate) fn choose(
    expression: Option<&str>,
    typed: &SetOptions,
    inventory: &Inventory,
) -> Result<Chosen, WireError> {
    let mut evaluation = Evaluation::new(inventory);
    let mut set = HostSet::default();
    if let Some(text) = expression {
        set = evaluate(&mut evaluation, text).map_err(|error| usage(None, &error))?;
    }
    for path in &typed.hosts_file {
        let file = Some(path.as_path()).filter(|path| path.as_os_str() != "-");
        let text = read(file)?;
        read_list(&text, file, &mut evaluation, &mut set).map_err(|error| usage(None, &error))?;
    }
    if set.is_empty() {
        let what = match (expression, &typed.hosts_file[..]) {
            (Some(text), []) => format!("no host is left in `{text}`"),
            (None, [file]) => format!("{} names no host", shown(file)),
            _ => "neither the expression nor the files name a host".to_owned(),
        };
        return Err(empty(what));
    }
    let mut notices: Vec<_> = evaluation
        .idle_exclusions()
        .into_iter()
        .map(|idle| {
            format!("`!{}` excludes nothing: none of these hosts comes before it", idle.text)
        })
        .collect();
    for text in &typed.exclude {
        let failed = |error| usage(Some("--exclude"), &error);
        let excluded = evaluate(&mut evaluation, text).map_err(failed)?;
        let before = set.len();
        for name in excluded.iter() {
            set.remove(name);
        }
        if set.len() == before {
            notices.push(format!(
                "`--exclude {text}` excludes nothing: none of these hosts is in the set"
            ));
        }
        if set.is_empty() {
            return Err(empty(format!("no host is left without `{text}`")));
        }
    }
    for condition in &typed.having {
        let (label, value) = condition.split_once('=').unwrap_or_default();
        if label.is_empty() || value.is_empty() {
            let message = format!("`--where {condition}` is not a valid condition");
            return Err(WireError::new(ErrorKind::Usage, message)
                .hint("Write --where LABEL=VALUE, as in --where role=web."));
        }
        set.retain(|name| {
            let entry = inventory.entry(name);
            entry.and_then(|entry| entry.labels.get(label)).is_some_and(|found| found == value)
        });
        if set.is_empty() {
            return Err(empty(format!("no host of the set has the label `{condition}`")));
        }
    }
    if let Some(count) = typed.pick {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        set.pick(count).map_err(|error| {
            WireError::new(
                ErrorKind::Resources,
                format!("the operating system gave no random numbers: {error}"),
            )
            .hint("Nothing ran; try again, or leave --pick out.")
        })?;
    }
    Ok(Chosen { set, notices })
}

fn evaluate(evaluation: &mut Evaluation<'_>, text: &str) -> Result<HostSet, HostsError> {
    evaluation.evaluate(&Expression::parse(text)?)
}

/// Returns the error of an invalid expression.
fn usage(option: Option<&str>, error: &HostsError) -> WireError {
    let message = match option {
        Some(option) => format!("{option}: {error}"),
        None => error.to_string(),
    };
    WireError::new(ErrorKind::Usage, message).hint(error.fault.hint())
}

fn empty(message: String) -> WireError {
    WireError::new(ErrorKind::Usage, message)
        .hint("Check each part of the set: `rcmd-client hosts EXPR` lists its hosts.")
}

/// Reads a file of expressions, or standard input.
#[expect(clippy::disallowed_methods, reason = "programs that serve nobody")]
fn read(file: Option<&Path>) -> Result<String, WireError> {
    let name = file.map_or("standard input".to_owned(), shown);
    let failed = |why: String, remedy: &str| {
        WireError::new(ErrorKind::Usage, format!("cannot read {name}: {why}")).hint(remedy)
    };
    let mut bytes = Vec::new();
    let read = match file {
        Some(file) => {
            File::open(file).and_then(|file| file.take(MAX_LIST + 1).read_to_end(&mut bytes))
        }
        None => io::stdin().lock().take(MAX_LIST + 1).read_to_end(&mut bytes),
    };
    read.map_err(|error| {
        failed(error.to_string(), "Check the path after --hosts-file; - stands for standard input.")
    })?;
    if bytes.len() as u64 > MAX_LIST {
        let message = format!("{name} has more than {MAX_LIST} bytes");
        return Err(WireError::new(ErrorKind::Usage, message)
            .hint("Split the list over several files; --hosts-file can be repeated."));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        let remedy = "Save the file as UTF-8, with one expression on each line.";
        failed(format!("line {line} is not UTF-8"), remedy)
    })
}
