//! A rule on the size of a file that is read holds for the file that is read then.

use std::fs;
use std::sync::mpsc;

use rcmd_tests::{World, eventually, proc};

use crate::ends::Peer;

#[test]
fn a_file_that_grew_past_what_a_rule_permits_is_denied_when_it_is_opened() {
    let place = tempfile::tempdir().unwrap();
    let here = place.path().canonicalize().unwrap();
    let (small, into) = (here.join("small"), here.join("into"));
    fs::create_dir(&into).unwrap();
    fs::write(&small, b"small").unwrap();
    let mut world = World::builder().prepare();
    let rules = r#"permit (principal, action == Action::"read", resource)
        when { context.size <= 100 };"#;
    fs::write(world.dir().join("policy.cedar"), rules).unwrap();
    world.start_server();
    let peer = Peer::of(&world);
    for (grown, is_sent) in [(100, true), (101, false)] {
        fs::write(&small, b"small").unwrap();
        let (go, wait) = mpsc::channel();
        let running = peer.begin_fetch_when(&[&small], &into, wait);
        eventually("the process of the transfer is there", || {
            proc::descendants(world.pid()).iter().any(|process| {
                let line = fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
                line.split(|byte| *byte == 0).nth(1) == Some(&b"_transfer"[..])
            })
        });
        // It was judged as it was; the other end has not asked for anything yet.
        fs::write(&small, vec![b'x'; grown]).unwrap();
        go.send(()).unwrap();
        let ended = running.wait();
        let counts = ended.agreed().counts;
        assert_eq!((counts.sent, counts.failed), (u64::from(is_sent), u64::from(!is_sent)));
        let denied = ended.lines.contains(&"Failed small denied".to_owned());
        assert_eq!(denied, !is_sent, "{:?}", ended.lines);
        assert_eq!(fs::read(into.join("small")).unwrap().len(), 100);
    }
    assert_eq!(peer.fetch(&[&small], &into).refusal(), "denied");
}
