//! The rules that vocabulary 2 would widen: permits that do not name their action.

use std::collections::HashSet;

use super::{
    rule::Rule,
    rules::Rules,
    vocabulary::{Action, TYPES, Vocabulary, schema, uid},
};

/// A permit that covers more actions under vocabulary 2 than under vocabulary 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Widened {
    /// The rule's name.
    pub name: String,
    /// The line where the rule begins, from 1.
    pub line: usize,
    /// The actions that it covers under vocabulary 2 only.
    pub actions: Vec<Action>,
}

impl Rules {
    /// Returns the rules that vocabulary 2 would widen, in the order of the text. Checks the types
    /// of each permit that does not name its action again, once for each action.
    pub fn widened(&self) -> Vec<Widened> {
        let open = self.all().iter().filter(|rule| rule.is_open());
        let widened = open.map(|rule| {
            let (name, line) = (rule.name().to_owned(), rule.line);
            Widened { name, line, actions: further_actions(rule) }
        });
        widened.filter(|rule| !rule.actions.is_empty()).collect()
    }
}

/// Returns the actions that an open permit covers under vocabulary 2 only: those for which Cedar
/// does not find that the conditions never hold.
fn further_actions(rule: &Rule) -> Vec<Action> {
    let possible = rule.policy.get_valid_request_envs(schema());
    let possible: HashSet<_> = possible.map(|asked| asked.action().clone()).collect();
    let is_further = |action: &Action| {
        !Vocabulary::One.covers(*action) && possible.contains(&uid(&TYPES.action, action.as_str()))
    };
    Action::ALL.into_iter().filter(is_further).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Host;

    /// Returns the actions by which vocabulary 2 would widen a permit with this scope of actions
    /// and these conditions.
    fn widened(scope: &str, conditions: &str) -> Vec<&'static str> {
        let text = format!("permit (principal, {scope}, resource) {conditions};");
        let rules = Rules::parse(&text, Host::default(), Vocabulary::One)
            .unwrap_or_else(|wrong| panic!("{}", wrong[0]));
        let found = rules.widened();
        assert_eq!(rules.under(Vocabulary::Two).widened(), found, "by either vocabulary");
        found.iter().flat_map(|rule| &rule.actions).map(|action| action.as_str()).collect()
    }

    const NEW: [&str; 8] =
        ["terminal", "read", "write", "forward", "listen", "relay", "list", "kill"];

    #[test]
    fn a_permit_that_names_no_action_is_widened_by_those_that_it_could_permit() {
        for (conditions, actions) in [
            ("", &NEW[..]),
            ("when { context.source.isLoopback() }", &NEW),
            ("when { principal in Group::\"x\" } // the end", &NEW),
            ("unless { resource in Label::\"prod\" }", &NEW),
            ("when { context has program && context.program == \"/bin/x\" }", &["terminal"]),
            ("when { context has owner && context.owner == principal }", &["list", "kill"]),
            (
                "when { context has path } unless { action == Action::\"write\" }",
                &["read", "forward", "listen"],
            ),
            ("when { action == Action::\"read\" }", &["read"]),
            ("when { action in [Action::\"run\", Action::\"shell\"] }", &[]),
            ("when { action == Action::\"run\" && context.argc == 1 }", &[]),
            ("when { false }", &[]),
        ] {
            assert_eq!(widened("action", &format!("{conditions}\n")), actions, "{conditions}");
        }
    }

    #[test]
    fn a_permit_that_names_its_actions_is_not_widened() {
        for scope in
            ["action == Action::\"run\"", "action in [Action::\"shell\", Action::\"read\"]"]
        {
            assert_eq!(widened(scope, ""), [""; 0], "{scope}");
        }
        let forbid = "forbid (principal, action, resource);";
        let rules = Rules::parse(forbid, Host::default(), Vocabulary::One).unwrap();
        assert_eq!(rules.widened(), []);
    }
}
