//! Locks that transfers take: a rule about files that does not look at them permits none.

use rcmd_client::TransferVerb;

use crate::ends::Peer;
use crate::{place, world_with};

const RULES: &str = r#"@id("reads") permit (principal, action == Action::"read", resource)
    when { context.path like "{}/*" };
@id("releases") permit (principal, action == Action::"write", resource)
    when { context.path like "{}/*" && context has lock && context.lock == "deploy" };
@id("deploys") permit (principal, action == Action::"run", resource)
    when { context has lock && context.lock == "deploy" };"#;

#[test]
fn a_transfer_with_a_lock_is_denied_where_no_rule_looks_at_it() {
    let place = place();
    let world = world_with(RULES, place.path());
    let (tree, there) = (place.path().join("tree"), place.path().join("there"));
    let (plain, locked) = (Peer::of(&world), Peer::of(&world).under("deploy"));
    plain.fetch(&[&tree.join("-rf")], &there).complete();
    let denied = locked.fetch(&[&tree.join("-rf")], &there);
    assert_eq!(denied.refusal(), "denied");
    let message = denied.report.error.unwrap().message;
    assert!(message.contains("the rule \"reads\" names no lock"), "{message}");
    world.exec(["true"]).options(["--lock", "deploy"]).run().assert_code(0);
    // One that looks at it is asked with it, for each folder too.
    assert_eq!(plain.push(&tree, &there).refusal(), "denied");
    assert_eq!(Peer::of(&world).under("other").push(&tree, &there).refusal(), "denied");
    locked.push(&tree, &there).complete();
    // A dry run is judged in the same way.
    for (peer, read, write) in [(&plain, true, false), (&locked, false, true)] {
        let send = TransferVerb::Send { is_literal: true };
        let receive =
            TransferVerb::Receive { is_itself: false, has_several: false, is_delta: false };
        for (verb, permitted) in [(send, read), (receive, write)] {
            let asked = peer.runtime.block_on(peer.command(verb, &[&tree]).dry_run());
            assert_eq!(asked.is_ok(), permitted, "{verb:?}: {asked:?}");
        }
    }
}
