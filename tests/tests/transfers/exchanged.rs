//! A local user who exchanges what lies in a folder of theirs for links, all the time, while root writes there for them
//! and reads: nothing outside is written or read.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use rcmd_tests::World;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::ends::{Peer, described};
use crate::world_with;

/// The rules of these tests: what lies in the user's folder may be read and written.
const RULES: &str = r#"permit (principal, action in [Action::"read", Action::"write"], resource)
    when { context.path == "{}/own" || context.path like "{}/own/*" };"#;

/// Exchanges names for as long as it lives.
struct Exchange {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Exchange {
    fn of(pairs: &[(PathBuf, PathBuf)]) -> Self {
        let (stop, pairs) = (Arc::<AtomicBool>::default(), pairs.to_vec());
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for (one, other) in &pairs {
                    // Where one is missing for the moment the next round does it.
                    let _ = renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// How many rounds there are: `RCMD_TRANSFER_ROUNDS`, or a few.
fn rounds() -> usize {
    let set = std::env::var("RCMD_TRANSFER_ROUNDS");
    set.map_or(40, |rounds| rounds.parse().expect("RCMD_TRANSFER_ROUNDS is a number"))
}

/// A world, a folder `own` of the user, and one outside with a secret in it.
fn prepared(place: &Path) -> World {
    for folder in ["own", "outside/e", "s/d/e"] {
        fs::create_dir_all(place.join(folder)).unwrap();
    }
    for name in ["outside/f", "outside/e/f"] {
        fs::write(place.join(name), b"secret").unwrap();
    }
    world_with(RULES, place)
}

#[test]
fn root_writes_nothing_outside_the_folder_of_a_user_who_exchanges_it_for_links() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    let world = prepared(place.path());
    let before = described(&path("outside"));
    fs::create_dir_all(path("own/s/d/e")).unwrap();
    fs::create_dir(path("own/drop")).unwrap();
    symlink("../../outside", path("own/s/l")).unwrap();
    symlink("../outside", path("own/drop-link")).unwrap();
    let _exchange = Exchange::of(&[
        (path("own/s/d"), path("own/s/l")),
        (path("own/drop"), path("own/drop-link")),
    ]);
    let peer = Peer::of(&world);
    let mut landed = 0;
    for round in 0..rounds() {
        for name in ["f", "e/f", "e/g"] {
            fs::write(path("s/d").join(name), format!("round {round}")).unwrap();
        }
        // What is below the place, and the place itself.
        peer.push(&path("s"), &path("own")).agreed();
        let ended = peer.push(&path("s/d/f"), &path("own/drop"));
        landed += u64::from(ended.summary.is_ok_and(|summary| summary.counts.sent == 1));
        assert_eq!(described(&path("outside")), before, "round {round}");
    }
    assert!(landed > 0, "it never went where it may");
}

#[test]
fn root_reads_nothing_outside_the_folder_of_a_user_who_exchanges_it_for_links() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    let world = prepared(place.path());
    fs::create_dir_all(path("own/s/d/e")).unwrap();
    for name in ["own/s/f", "own/s/d/f", "own/s/d/e/f"] {
        fs::write(path(name), b"plain").unwrap();
    }
    symlink("../../outside", path("own/s/dl")).unwrap();
    symlink("../../outside/f", path("own/s/fl")).unwrap();
    let _exchange =
        Exchange::of(&[(path("own/s/d"), path("own/s/dl")), (path("own/s/f"), path("own/s/fl"))]);
    let peer = Peer::of(&world);
    let secret = blake3::hash(b"secret").to_string();
    let mut plain = 0;
    for round in 0..rounds() {
        let into = path(&format!("into{round}"));
        fs::create_dir(&into).unwrap();
        peer.fetch(&[&path("own/s")], &into).agreed();
        // Links in what was typed are followed: the rules say no to where these lead.
        for (number, name) in ["own/s/f", "own/s/d/f", "own/s/d/e"].into_iter().enumerate() {
            let typed = into.join(number.to_string());
            fs::create_dir(&typed).unwrap();
            peer.fetch(&[&path(name)], &typed);
            plain += fs::read_dir(&typed).unwrap().count();
        }
        let lines = described(&into);
        assert!(lines.iter().all(|line| !line.contains(&secret)), "round {round}: {lines:?}");
        fs::remove_dir_all(&into).unwrap();
    }
    assert!(plain > 0, "it never read what it may");
}
