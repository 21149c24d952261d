//! Further names of files: nobody reads a file by a new name of it that may not read it by the one that it has.

use std::fs;
use std::path::Path;

use rcmd_transfer::TransferOptions;

use crate::ends::{Peer, tree_options};
use crate::world_with;

/// Makes the sender's tree, in which a file of one folder has a name in another, and the one of the host.
fn make(place: &Path, content: &[u8]) {
    for folder in ["t/private", "t/pub", "there/t/private", "there/t/pub"] {
        fs::create_dir_all(place.join(folder)).unwrap();
    }
    let (own, secret) = (place.join("t/private/key"), place.join("there/t/private/key"));
    fs::write(&own, content).unwrap();
    fs::hard_link(&own, place.join("t/pub/got")).unwrap();
    fs::write(&secret, b"TOPSECRET").unwrap();
    let time = fs::metadata(&secret).unwrap().modified().unwrap();
    fs::File::open(&own).unwrap().set_modified(time).unwrap();
}

#[test]
fn a_file_that_was_not_sent_gets_no_further_name_from_a_peer_that_may_not_read_it() {
    let write = r#"permit (principal, action == Action::"write", resource);
        permit (principal, action == Action::"read", resource)
        when { context.path like "{}/there/t/pub*" };"#;
    let read = r#"permit (principal, action, resource);
        permit (principal, action in [Action::"read", Action::"write"], resource);"#;
    let tree = tree_options;
    let newer = TransferOptions { update: true, ..tree() };
    let checksum = TransferOptions { checksum: true, ..tree() };
    for (rules, options, content, is_linked) in [
        (write, tree(), b"XXXSECRET", false),
        (write, TransferOptions { dry_run: true, ..tree() }, b"XXXSECRET", false),
        (write, newer.clone(), b"XXXSECRET", false),
        (read, tree(), b"XXXSECRET", true),
        (read, newer, b"XXXSECRET", true),
        (write, checksum, b"TOPSECRET", true),
    ] {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        make(place.path(), content);
        if options.update {
            let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
            fs::File::open(path("t/private/key")).unwrap().set_modified(old).unwrap();
        }
        let world = world_with(rules, place.path());
        let pushed = Peer::of(&world).with(options).push(&path("t"), &path("there"));
        let counts = pushed.agreed().counts;
        assert_eq!((counts.sent, counts.failed), (0, u64::from(!is_linked)), "{:?}", pushed.lines);
        let denied = pushed.lines.contains(&"Failed t/pub/got denied".to_owned());
        assert_eq!(denied, !is_linked, "{:?}", pushed.lines);
        let got = path("there/t/pub/got");
        assert_eq!(got.exists(), is_linked);
        assert_eq!(fs::read(path("there/t/private/key")).unwrap(), b"TOPSECRET");
    }
}

#[test]
fn a_file_that_is_sent_has_all_its_names_and_keeps_them() {
    let write = r#"permit (principal, action == Action::"write", resource);"#;
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::create_dir_all(path("t/b")).unwrap();
    fs::create_dir(path("there")).unwrap();
    fs::write(path("t/a"), b"content").unwrap();
    fs::hard_link(path("t/a"), path("t/b/a")).unwrap();
    let world = world_with(write, place.path());
    let peer = Peer::of(&world);
    let first = peer.push(&path("t"), &path("there")).complete();
    assert_eq!((first.counts.sent, first.counts.made), (1, 3));
    let again = peer.push(&path("t"), &path("there")).complete();
    assert_eq!((again.counts.sent, again.counts.made, again.counts.unchanged), (0, 0, 4));
}
