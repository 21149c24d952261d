//! A file that is written over in place: a peer that may not read it is told nothing of what is in it.

use std::fs;

use rcmd_transfer::TransferOptions;

use crate::ends::{Peer, tree_options};
use crate::{transfer_record, world_with};

const MIB: usize = 1 << 20;

#[test]
fn which_part_is_there_is_told_only_where_a_rule_lets_the_file_be_read() {
    let both = r#"permit (principal, action in [Action::"read", Action::"write"], resource);"#;
    let write = r#"permit (principal, action == Action::"write", resource);"#;
    let none_of_it = r#"forbid (principal, action == Action::"read", resource)
        when { context.path like "*/f" };"#;
    let small_ones = r#"permit (principal, action == Action::"read", resource)
        when { context.size < 100 };"#;
    for (rules, is_told) in [
        (both.to_owned(), true),
        (write.to_owned(), false),
        (format!("{both}\n{none_of_it}"), false),
        (format!("{write}\n{small_ones}"), false),
    ] {
        let place = tempfile::tempdir().unwrap();
        let (from, there) = (place.path().join("f"), place.path().join("there"));
        fs::create_dir(&there).unwrap();
        let content: Vec<u8> = (0..4 * MIB).map(|at| (at % 251).to_le_bytes()[0]).collect();
        fs::write(&from, &content).unwrap();
        fs::write(there.join("f"), &content[..3 * MIB]).unwrap();
        let world = world_with(&rules, place.path());
        let options = TransferOptions { in_place: true, ..tree_options() };
        let pushed = Peer::of(&world).with(options).push(&from, &there).complete();
        let expected = if is_told { MIB } else { 4 * MIB };
        assert_eq!(pushed.crossed, expected as u64, "{rules}");
        assert_eq!(fs::read(there.join("f")).unwrap(), content);
        // What was not told is nothing that the peer asked for.
        assert_eq!(transfer_record(&world).get("denied"), None);
    }
}
