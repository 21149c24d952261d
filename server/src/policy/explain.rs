//! Explanations of a denial: principals that may do it, and a rule that would permit it.

use std::collections::BTreeSet;

use rcmd_protocol::{frame::Mode, request::Request};

use super::{
    access::{Access, Endpoint, FileFacts, SocketFacts},
    question::{HostFacts, action},
    rules::Rules,
    vocabulary::{Action, is_group, is_user},
};
use crate::trust::Principal;

impl Rules {
    /// Returns other principals that the rules name, each with a description: the same user in one
    /// more group, and other users.
    pub fn others(&self, principal: &Principal) -> Vec<(String, Principal)> {
        let named: Vec<_> =
            self.all().iter().flat_map(|rule| rule.policy.entity_literals()).collect();
        let names = |is_one: fn(&cedar_policy::EntityUid) -> bool| {
            let names = named.iter().filter(|uid| is_one(uid)).map(|uid| uid.id().unescaped());
            names.map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let groups = names(is_group).into_iter().filter(|group| !principal.groups.contains(group));
        let in_group = groups.map(|group| {
            let groups = principal.groups.iter().cloned().chain([group.clone()]).collect();
            (
                format!("{} in the group {group}", principal.user),
                Principal { user: principal.user.clone(), groups },
            )
        });
        let users = names(is_user).into_iter().filter(|user| *user != principal.user);
        let users = users.map(|user| (user.clone(), Principal { user, groups: Vec::new() }));
        in_group.chain(users).collect()
    }

    /// Returns the number of the line where a rule begins.
    pub fn line_of(&self, name: &str) -> Option<usize> {
        self.all().iter().find(|rule| rule.name() == name).map(|rule| rule.line)
    }
}

/// Returns a rule that permits exactly this request to this user and nothing else. Returns `None`
/// for a request that is not UTF-8, since no rule could distinguish it from others.
pub fn rule_for(user: &str, request: &Request, facts: &HostFacts) -> Option<String> {
    let account = facts.account.to_str()?;
    let words: Option<Vec<_>> =
        request.args().iter().map(|word| std::str::from_utf8(word).ok()).collect();
    let words = words?;
    let mut conditions = match request.mode() {
        // Its roots are judged, each by a rule of its own.
        Mode::Transfer => return None,
        Mode::Shell => vec![equal("line", words.first()?)],
        Mode::Exec => {
            let numbered = words.iter().enumerate().map(|(n, word)| quoted(&format!("{n}={word}")));
            let argv: Vec<_> = numbered.collect();
            let program = equal("program", facts.program.path.to_str()?);
            vec![program, format!("context.argv == [{}]", argv.join(", "))]
        }
    };
    conditions.push(equal("account", account));
    conditions.extend(request.lock().map(|lock| under(&lock.name)));
    Some(rule(user, action(request), &conditions))
}

/// Returns a rule that permits exactly this to this user and nothing else, but for the size: it
/// permits a smaller one too. Returns `None` if a fact is not UTF-8.
pub fn rule_for_access(user: &str, access: &Access) -> Option<String> {
    let owned = |owner: &str| vec![format!("context.owner == User::{}", quoted(owner))];
    let file = |facts: &FileFacts| -> Option<Vec<String>> {
        let (path, account) = (facts.path.to_str()?, facts.account.to_str()?);
        let lock = facts.lock.as_deref().map(under);
        Some([equal("path", path), equal("account", account)].into_iter().chain(lock).collect())
    };
    let conditions = match access {
        Access::Terminal(HostFacts { program, account, .. }) => vec![
            equal("program", program.path.to_str()?),
            equal("line", ""),
            equal("account", account.to_str()?),
        ],
        Access::Read(facts) => file(facts)?,
        Access::Write(facts) => {
            let mut conditions = file(facts)?;
            conditions.push(format!("context.size <= {}", facts.size));
            conditions
        }
        Access::Forward(facts) => socket(facts, true)?,
        Access::Listen(facts) => socket(facts, false)?,
        Access::Relay => Vec::new(),
        Access::Attach { owner } | Access::List { owner } | Access::Kill { owner } => owned(owner),
    };
    Some(rule(user, access.action(), &conditions))
}

/// Returns the conditions for exactly this endpoint.
fn socket(facts: &SocketFacts, has_host: bool) -> Option<Vec<String>> {
    let mut conditions = match &facts.endpoint {
        Endpoint::Port { host, address, port } => {
            let host = has_host.then(|| equal("host", host));
            let address = address
                .map(|address| format!("context.address == ip(\"{}\")", address.to_canonical()));
            let port = format!("context.port == {port}");
            host.into_iter().chain(address).chain([port]).collect()
        }
        Endpoint::Path(path) => vec![equal("path", path)],
    };
    conditions.push(equal("account", facts.account.to_str()?));
    Some(conditions)
}

/// Returns the condition for a request that takes exactly this lock.
fn under(lock: &str) -> String {
    format!("context has lock && {}", equal("lock", lock))
}

fn equal(attribute: &str, text: &str) -> String {
    format!("context.{attribute} == {}", quoted(text))
}

fn rule(user: &str, action: Action, conditions: &[String]) -> String {
    let scope = format!(
        "permit (\n  principal == User::{},\n  action == Action::\"{}\",\n  resource\n)",
        quoted(user),
        action.as_str()
    );
    match conditions {
        [] => format!("{scope};\n"),
        some => format!("{scope} when {{\n  {}\n}};\n", some.join(" &&\n  ")),
    }
}

/// Returns a text as a string literal of Cedar's.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => quoted.extend(letter.escape_unicode()),
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}
