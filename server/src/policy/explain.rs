//! Explanations of a denial: principals that may do it, and a rule that would permit it.

use std::collections::BTreeSet;

use rcmd_protocol::{frame::Mode, request::Request};

use super::{
    question::HostFacts,
    rules::Rules,
    vocabulary::{is_group, is_user},
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
    let (action, what) = match request.mode() {
        Mode::Shell => ("shell", format!("context.line == {}", quoted(words.first()?))),
        Mode::Exec => {
            let numbered = words.iter().enumerate().map(|(n, word)| quoted(&format!("{n}={word}")));
            let argv: Vec<_> = numbered.collect();
            let program = quoted(facts.program.path.to_str()?);
            let what =
                format!("context.program == {program} &&\n  context.argv == [{}]", argv.join(", "));
            ("run", what)
        }
    };
    let (user, account) = (quoted(user), quoted(account));
    let lock = request
        .lock()
        .map(|lock| format!(" &&\n  context has lock && context.lock == {}", quoted(&lock.name)));
    let lock = lock.unwrap_or_default();
    Some(format!(
        "permit (\n  principal == User::{user},\n  action == Action::\"{action}\",\n  resource\n) \
         when {{\n  {what} &&\n  context.account == {account}{lock}\n}};\n"
    ))
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
