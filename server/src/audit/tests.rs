use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use rcmd_certs::{
    signature::{Signer, VerifyingKey},
    tls::ServerFiles,
};
use rcmd_protocol::ids::AuditHead;

use super::{
    Audit, AuditError, AuditFile, AuditSettings, chain,
    record::{Event, Lifecycle},
    server,
    show::{Filter, Show},
    text::Text,
    verify::{Defect, Expected, follow, verify},
};

struct Host {
    dir: tempfile::TempDir,
    files: ServerFiles,
    settings: AuditSettings,
}

impl Host {
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pair = rcgen::generate_simple_self_signed(vec!["host".to_owned()]).unwrap();
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        std::fs::write(&cert, pair.cert.pem()).unwrap();
        std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let settings =
            toml::from_str::<AuditFile>(config).unwrap().settings(dir.path().join("audit"));
        Self {
            files: ServerFiles {
                ca: cert.clone(),
                identity: dir.path().join("identity.toml"),
                cert,
                key,
            },
            settings,
            dir,
        }
    }

    fn open(&self) -> std::sync::Arc<Audit> {
        Audit::open(&self.settings, Signer::of(&self.files).unwrap()).unwrap()
    }

    fn folder(&self) -> &Path {
        &self.settings.folder
    }

    fn against(&self, head: Option<AuditHead>) -> Expected {
        Expected { keys: vec![VerifyingKey::of_certificate(&self.files.cert).unwrap()], head }
    }

    fn check(&self, head: Option<AuditHead>) -> super::verify::Verified {
        verify(self.folder(), &self.against(head)).unwrap_or_else(|finding| panic!("{finding}"))
    }

    fn read(&self) -> Vec<(String, Vec<u8>)> {
        let listed = super::files::list(self.folder()).unwrap();
        let read = |(number, path)| (super::files::name(number), std::fs::read(path).unwrap());
        listed.into_iter().map(read).collect()
    }
}

/// Writes a record, on this thread.
fn note(audit: &Audit, event: Event) -> AuditHead {
    audit.shared.write(|writer| writer.note(&event)).unwrap()
}

fn start(audit: &Audit, job: &str) -> AuditHead {
    let event = Event::Start {
        job: job.to_owned(),
        peer: "alice".to_owned(),
        user: Text::of(b"root"),
        program: Text::of(b"/bin/true"),
        cwd: Text::of(b"/\xff\n"),
        rules: vec![],
        request: None,
    };
    note(audit, event)
}

fn end(audit: &Audit, job: &str) -> AuditHead {
    note(audit, Event::lost(job.to_owned(), "test"))
}

/// Ends a log as a killed server would: its threads end, and nothing is recorded.
fn kill(audit: std::sync::Arc<Audit>) {
    audit.end_threads();
}

/// Makes a log of several files, with servers that were killed. Returns its head.
fn history(host: &Host) -> AuditHead {
    for round in 0..4 {
        let audit = host.open();
        for n in 0..8 {
            start(&audit, &format!("job{round}{n}"));
            if n % 3 > 0 {
                end(&audit, &format!("job{round}{n}"));
            }
        }
        kill(audit);
    }
    let audit = host.open();
    let head = start(&audit, "last");
    kill(audit);
    head
}

fn judge(files: &[(String, Vec<u8>)], against: &Expected) -> Result<(), Defect> {
    let readers = files.iter().map(|(name, bytes)| (name.clone(), Ok(&bytes[..])));
    follow(readers, against, Duration::ZERO).map(drop).map_err(|finding| finding.what)
}

#[test]
fn what_was_killed_is_ended_by_the_next_server_and_all_is_whole() {
    let host = Host::new("");
    let head = history(&host);
    let done = host.check(Some(head));
    assert_eq!((done.files, done.running, done.torn), (5, 1, 0));
    let audit = host.open();
    audit.close();
    let done = host.check(Some(head));
    assert_eq!(done.running, 0);
    assert_eq!(done.signed.map(|signed| signed + 1), done.head.map(|head| head.seq));
}

#[test]
fn a_thousand_random_changes_are_all_found() {
    let host = Host::new("");
    let against = host.against(Some(history(&host)));
    let files = host.read();
    judge(&files, &against).unwrap();
    let found = std::cell::Cell::new(0);
    let config = ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() };
    proptest!(config, |(change: [prop::sample::Index; 3], kind in 0..10, byte: u8)| {
        let mut changed = files.clone();
        let [file, first, second] = change;
        let file = file.index(files.len());
        let bytes = &mut changed[file].1;
        let lines: Vec<Vec<u8>> = bytes.split_inclusive(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
        let (at, line, other) = (first.index(bytes.len()), first.index(lines.len()), second.index(lines.len()));
        let mut lines = lines;
        match kind {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            2 => drop(bytes.remove(at)),
            3 => { lines.remove(line); *bytes = lines.concat(); }
            4 => { lines.swap(line, other); *bytes = lines.concat(); }
            5 => { let twice = lines[line].clone(); lines.insert(other, twice); *bytes = lines.concat(); }
            6 => bytes.truncate(at),
            7 => drop(changed.remove(file)),
            8 => { let other = second.index(files.len()); let one = changed[file].1.clone();
                   changed[file].1 = std::mem::replace(&mut changed[other].1, one); }
            _ => changed.truncate(file),
        }
        // Cutting off nothing, or swapping a line with itself, is not a change.
        prop_assume!(changed != files);
        prop_assert!(judge(&changed, &against).is_err(), "{} of file {}", kind, file);
        found.set(found.get() + 1);
    });
    assert!(found.get() >= 1000, "{found:?}");
}

#[test]
fn findings_name_what_was_done_and_where() {
    let host = Host::new("");
    let against = host.against(Some(history(&host)));
    let files = host.read();
    let changed = |change: fn(&mut Vec<Vec<u8>>)| {
        let mut changed = files.clone();
        let bytes = &mut changed[1].1;
        let mut lines: Vec<Vec<u8>> =
            bytes.split_inclusive(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
        change(&mut lines);
        *bytes = lines.concat();
        let readers = changed.iter().map(|(name, bytes)| (name.clone(), Ok(&bytes[..])));
        follow(readers, &against, Duration::ZERO).unwrap_err().to_string()
    };
    let edited = changed(|lines| lines[3][60] ^= 1);
    assert!(edited.starts_with("audit-00000002.jsonl:4: edited: "), "{edited}");
    let deleted = changed(|lines| drop(lines.drain(3..5)));
    assert!(deleted.starts_with("audit-00000002.jsonl:4: deleted: records "), "{deleted}");
    let moved = changed(|lines| lines.swap(3, 6));
    assert!(moved.starts_with("audit-00000002.jsonl:4: moved: record "), "{moved}");
    let cut = changed(|lines| lines.truncate(6));
    assert!(cut.starts_with("audit-00000003.jsonl:1: cut: "), "{cut}");
}

#[test]
fn a_line_that_a_kill_left_unfinished_is_no_alarm_wherever_it_was_cut() {
    let host = Host::new("");
    let audit = host.open();
    start(&audit, "one");
    kill(audit);
    let (name, whole) = host.read().pop().unwrap();
    let last = whole.trim_ascii_end().iter().rposition(|&b| b == b'\n').unwrap() + 1;
    for cut in (last..whole.len()).step_by(7) {
        let copy = Host {
            dir: tempfile::tempdir().unwrap(),
            files: host.files.clone(),
            settings: AuditSettings {
                folder: host.dir.path().join(format!("copy{cut}")),
                ..host.settings.clone()
            },
        };
        std::fs::create_dir(copy.folder()).unwrap();
        std::fs::write(copy.folder().join(&name), &whole[..cut]).unwrap();
        assert_eq!(copy.check(None).torn, (cut - last) as u64);
        copy.open().close();
        copy.check(None);
        // The unfinished bytes are part of the log from now on.
        if cut > last {
            std::fs::write(copy.folder().join(&name), &whole[..cut - 1]).unwrap();
            let finding = verify(copy.folder(), &copy.against(None)).unwrap_err();
            assert!(matches!(finding.what, Defect::Seam(_)), "{finding}");
        }
    }
}

#[test]
fn a_line_of_an_earlier_version_that_is_too_long_is_stepped_over() {
    let host = Host::new("");
    let audit = host.open();
    start(&audit, "runs");
    kill(audit);
    let head = host.check(None).head.unwrap();
    let word = "a".repeat(5 << 20);
    let mut long = format!(
        "{{\"seq\":{},\"time\":\"2026-01-31T20:00:00.000000Z\",\"event\":\"attempt\",\"args\":[\"{word}\"]}}",
        head.seq + 1
    )
    .into_bytes();
    let hash = chain::close(&head.hash, &mut long);
    let (name, before) = host.read().pop().unwrap();
    let path = host.folder().join(name);
    std::fs::write(&path, [&before[..], &long].concat()).unwrap();
    assert_eq!(host.check(None).head, Some(AuditHead { seq: head.seq + 1, hash }));
    for changed in [b"b", b"\""] {
        let at = before.len() + long.len() / 2;
        let mut edited = [&before[..], &long].concat();
        edited[at..=at].copy_from_slice(changed);
        std::fs::write(&path, edited).unwrap();
        assert!(matches!(judge(&host.read(), &host.against(None)), Err(Defect::Edited(_))));
    }
    // A kill may have cut the line.
    let torn = [&before[..], &long[..long.len() - 9]].concat();
    std::fs::write(&path, &torn).unwrap();
    assert_eq!(host.check(None).torn, (torn.len() - before.len()) as u64);
    host.open().close();
    assert_eq!(host.check(None).running, 0);
    for path in super::files::list(host.folder()).unwrap() {
        std::fs::remove_file(path.1).unwrap();
    }
    std::fs::write(&path, [&before[..], &long].concat()).unwrap();
    host.open().close();
    let done = host.check(Some(AuditHead { seq: head.seq + 1, hash }));
    assert_eq!((done.running, done.torn), (0, 0));
    let mut out = Vec::new();
    let mut show = Show::new(Filter::default(), &mut out);
    for (_, bytes) in host.read() {
        show.file(&mut &bytes[..]).unwrap();
    }
    assert_eq!(show.end().unwrap(), 0);
    let shown = String::from_utf8(out).unwrap();
    assert!(shown.contains("a record that is too long to be shown"), "{shown}");
}

#[test]
fn a_log_whose_file_or_folder_goes_is_gone_on_with_and_the_gap_is_shown() {
    let host = Host::new("sync = \"each\"");
    let audit = host.open();
    let moved = host.dir.path().join("moved");
    let first = host.folder().join(super::files::name(1));
    start(&audit, "one");
    std::fs::rename(&first, &moved).unwrap();
    // Noticed at the next sync at the latest.
    let deadline = Instant::now() + Duration::from_secs(60);
    while !host.folder().join(super::files::name(2)).exists() {
        assert!(Instant::now() < deadline);
        note(&audit, server_line());
        std::thread::yield_now();
    }
    end(&audit, "one");
    let what = judge(&host.read(), &host.against(None)).unwrap_err();
    assert!(matches!(what, Defect::Beginning(..)), "{what}");
    std::fs::rename(&moved, &first).unwrap();
    host.check(None);

    // All at once, so that nothing is added to the folder that is being removed.
    std::fs::rename(host.folder(), &moved).unwrap();
    let head = start(&audit, "two");
    audit.close();
    drop(audit);
    let what = judge(&host.read(), &host.against(None)).unwrap_err();
    assert!(matches!(what, Defect::Beginning(..)), "{what}");
    let files = host.read();
    let text = String::from_utf8_lossy(&files[0].1);
    assert!(
        text.contains("\"reason\":\"lost\"") && text.contains(&format!("\"seq\":{}", head.seq))
    );
    host.open().close();
    let what = judge(&host.read(), &host.against(None)).unwrap_err();
    assert!(matches!(what, Defect::Beginning(..)), "{what}");
}

/// Returns a record of which there may be many.
fn server_line() -> Event {
    Event::Reload { what: "nothing".to_owned(), failure: None }
}

#[test]
fn files_rotate_and_old_ones_go_and_say_so() {
    let host = Host::new("rotate_size = \"4 KiB\"\nkeep = \"0s\"");
    let audit = host.open();
    let deadline = Instant::now() + Duration::from_secs(60);
    start(&audit, "long");
    for n in 0.. {
        start(&audit, &format!("job{n}"));
        end(&audit, &format!("job{n}"));
        if !host.folder().join(super::files::name(3)).exists() && n > 100 {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
        if host.folder().join(super::files::name(4)).exists() {
            break;
        }
    }
    end(&audit, "long");
    audit.close();
    let done = host.check(None);
    assert!(!host.folder().join(super::files::name(1)).exists());
    assert_eq!(done.running, 0);
    let files = host.read();
    if files.len() > 1 {
        let what = judge(&files[1..], &host.against(None)).unwrap_err();
        assert!(matches!(what, Defect::Beginning(..)), "{what}");
    }
}

#[test]
fn a_log_made_anew_with_another_key_is_not_this_hosts() {
    let (host, other) = (Host::new(""), Host::new(""));
    let head = history(&host);
    history(&other);
    let against = host.against(None);
    assert!(matches!(judge(&other.read(), &against), Err(Defect::Unsigned)));
    assert!(matches!(
        judge(&other.read(), &Expected { head: Some(head), ..Expected::default() }),
        Err(Defect::Rewritten(_))
    ));
}

#[test]
fn a_folder_has_one_server() {
    let host = Host::new("");
    let audit = host.open();
    let second = Audit::open(&host.settings, Signer::of(&host.files).unwrap());
    assert!(matches!(second, Err(AuditError::Locked(_))));
    audit.close();
    drop(audit);
    host.open().close();
}

#[test]
fn lines_are_signed_soon_and_when_the_server_ends() {
    let host = Host::new("");
    let audit = host.open();
    for n in 0..600 {
        start(&audit, &format!("job{n}"));
        end(&audit, &format!("job{n}"));
    }
    note(&audit, server(Lifecycle::Started));
    audit.close();
    let done = host.check(None);
    assert!(done.checkpoints >= 2, "{done:?}");
}
