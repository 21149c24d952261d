//! Tests of policies from the time when requests asked for nothing but `run`, `shell` and `attach`.

use super::*;

#[test]
fn policies_from_before_load_as_they_are() {
    for text in [
        "permit (principal, action in [Action::\"read\", Action::\"write\"], resource)
         when { context.path like \"/srv/*\" && context.account == \"app\" && context.uid > 0 && context.text };",
        "permit (principal, action == Action::\"forward\", resource)
         when { context.host == \"db1\" && context.port == 5432 };",
        "permit (principal, action in [Action::\"attach\", Action::\"list\", Action::\"kill\"], resource)
         when { context.owner == principal };",
        "forbid (principal, action in [Action::\"shell\", Action::\"terminal\"], resource)
         when { context.line != \"\" && context.tty };",
        "permit (principal, action, resource) when { context has uid && context.uid == 0 };",
        "forbid (principal, action, resource) unless { context.source.isLoopback() };",
    ] {
        for vocabulary in [Vocabulary::One, Vocabulary::Two] {
            assert_eq!(rules(text).under(vocabulary).warnings(), [], "{text}");
        }
    }
}

/// A rule from the time when each action had an owner, an account or a port.
const SPLIT: &str = r#"@id("split") forbid (principal, action, resource) when {
  if context has owner then false
  else if context has account then context.account == "x" && context.text
  else context.port == 22
};"#;

const BOTH: &str = r#"@id("both") permit (
  principal, action in [Action::"run", Action::"forward", Action::"relay"], resource
);"#;

#[test]
fn a_rule_that_was_valid_before_is_kept_with_a_warning() {
    let rules = rules(&format!("{BOTH}\n{SPLIT}"));
    let [warning] = rules.warnings() else { panic!("{:?}", rules.warnings()) };
    assert_eq!(warning.line, 7, "{warning}");
    assert!(warning.message.contains("port") && warning.message.contains("is kept"), "{warning}");
    // What was asked before is judged as before.
    let al = who("al", &[]);
    assert!(asked(&rules, &al, &exec(&[b"id"])).is_ok());
    // What the rule can't be evaluated for is denied, though it is a forbid.
    let relay = authorize_access(&rules.slice(&al), &Access::Relay, noon()).unwrap_err();
    assert_eq!((relay.kind, relay.rules), (DenialKind::Error, vec!["split".to_owned()]));
}

#[test]
fn a_rule_that_is_not_valid_any_more_is_refused_by_vocabulary_2() {
    let [error] = &Rules::parse(SPLIT, host(), Vocabulary::Two).unwrap_err()[..] else { panic!() };
    assert!(error.message.contains("port") && !error.message.contains("kept"), "{error}");
    assert!(Rules::parse(BOTH, host(), Vocabulary::Two).is_ok());
}

#[test]
fn a_rule_that_never_was_valid_is_refused_by_both() {
    for wrong in [
        "permit (principal, action, resource) when { context.port == 22 };",
        "permit (principal, action, resource) when { context.way == 1 };",
        "permit (principal, action == Action::\"reed\", resource);",
    ] {
        for vocabulary in [Vocabulary::One, Vocabulary::Two] {
            let parsed = Rules::parse(&format!("{SPLIT}\n{wrong}"), host(), vocabulary);
            let errors = parsed.unwrap_err();
            assert!(errors.iter().any(|error| error.line == 6), "{vocabulary:?}: {errors:?}");
        }
    }
}
