//! Tests of locks that transfers take: whether a rule has thought of them.

use super::{super::access::FileFacts, *};

/// Returns the facts of a file in a transfer that takes this lock, or none.
fn file(lock: Option<&str>) -> FileFacts {
    let (account, uid) = ("app".into(), Uid::from_raw(1000));
    FileFacts { path: "/srv/data".into(), account, uid, size: 10, lock: lock.map(str::to_owned) }
}

fn accessed(rules: &Rules, access: &Access) -> Result<Authorization, Denial> {
    authorize_access(&rules.slice(&who("al", &[])), access, noon())
}

#[test]
fn a_transfer_that_takes_a_lock_needs_a_rule_that_looks_at_it() {
    let permit = |id: &str, when: &str| {
        format!(
            "@id(\"{id}\") permit (principal, action in [Action::\"read\", Action::\"write\"], \
             resource) when {{ {when} }};"
        )
    };
    let bare = permit("bare", "context.path like \"/srv/*\" // context.lock\n");
    let named = permit("named", "context has lock && context.lock == \"deploy\"");
    let any = permit("any", "context has lock");
    let none = permit("none", "!(context has lock)");
    let no = "@id(\"no\") forbid (principal, action, resource) when \
              { context has lock && context.lock != \"deploy\" };"
        .to_owned();
    let short = "\"bare\" names no lock";
    for (text, lock, by) in [
        (vec![&bare], None, Ok("bare")),
        (vec![&bare], Some("deploy"), Err(short)),
        (vec![&named], None, Err("no rule permits it")),
        (vec![&named], Some("deploy"), Ok("named")),
        (vec![&named], Some("other"), Err("no rule permits it")),
        (vec![&bare, &named], Some("deploy"), Ok("named")),
        (vec![&bare, &named], Some("other"), Err(short)),
        (vec![&any], Some("other"), Ok("any")),
        (vec![&none], None, Ok("none")),
        (vec![&none], Some("other"), Err("no rule permits it")),
        // A forbid that looks at locks permits none.
        (vec![&bare, &no], Some("deploy"), Err(short)),
        (vec![&bare, &any, &no], Some("deploy"), Ok("any")),
        (vec![&bare, &any, &no], Some("other"), Err("the rule \"no\" forbids it")),
    ] {
        let text: String = text.into_iter().map(String::as_str).collect();
        let rules = rules(&text);
        let facts = file(lock);
        for access in [Access::Read(facts.clone()), Access::Write(facts)] {
            match (accessed(&rules, &access), by) {
                (Ok(judged), Ok(by)) => assert_eq!(judged.rules, [by], "{lock:?}: {text}"),
                (Err(denial), Err(says)) => assert!(denial.reason.contains(says), "{denial}"),
                (judged, _) => panic!("{lock:?}: {judged:?} by {text}"),
            }
        }
    }
    let denial = accessed(&rules(&bare), &Access::Read(file(Some("deploy")))).unwrap_err();
    assert!(denial.reason.starts_with("al may not read /srv/data as app with the lock deploy on"));
    assert!(denial.hint.contains("context.lock == \"deploy\""), "{}", denial.hint);
}

#[test]
fn the_lock_of_a_transfer_is_judged_for_each_folder_that_it_enters() {
    let root = Access::Write(file(Some("deploy")));
    let entered = root.on("/srv/data/sub".into(), 0).unwrap();
    assert_eq!(entered.file().unwrap().lock.as_deref(), Some("deploy"));
}
