//! An end that lies: nothing outside the target is touched, memory and disk stay bounded, and the lie is named.

use std::{fs, os::unix::net::UnixStream, path::Path};

use rcmd_transfer::{Summary, Transfer, TransferError, TransferLimits};

use crate::ends::{Events, inside, scripted, scripted_receiver, source, tree_options};
use crate::script::{
    begin, data, end, file, folder, hard_link, hello, hole, leave, link, message, need, resume,
    unchanged,
};
use crate::tree::{Dice, describe, fill, partials};

/// Receives what a script says, into the folder `d`.
fn hear(place: &Path, messages: &[Vec<u8>]) -> (Result<Summary, TransferError>, Vec<String>) {
    hear_within(place, messages, TransferLimits::default())
}

fn hear_within(
    place: &Path,
    messages: &[Vec<u8>],
    limits: TransferLimits,
) -> (Result<Summary, TransferError>, Vec<String>) {
    let target = place.join("d");
    if !target.exists() {
        fs::create_dir(&target).unwrap();
    }
    let (near, far) = UnixStream::pair().unwrap();
    let mut script = hello(1);
    script.extend(messages.concat());
    let sender = scripted(far, script);
    let mut events = Events::default();
    let transfer = Transfer::with_options(tree_options()).limits(limits);
    let reader = near.try_clone().unwrap();
    let ended = transfer.receive(reader, near, inside(&target), &mut events);
    sender.join().unwrap();
    (ended, events.lines)
}

#[track_caller]
fn assert_protocol(ended: &Result<Summary, TransferError>) {
    assert!(matches!(ended, Err(TransferError::Protocol(_))), "{ended:?}");
}

#[test]
fn names_that_lead_out_of_the_target_are_refused_one_by_one() {
    let place = tempfile::tempdir().unwrap();
    let names: [&[u8]; 9] =
        [b"../x", b"/etc/x", b"", b".", b"..", b"a/../../x", b"a\0b", b"a/", b"x/y"];
    for name in names {
        let messages = [file(name, 0), folder(name), file(b"below", 0), leave(), link(name, b"t")];
        let (ended, events) = hear(place.path(), &messages);
        assert!(matches!(ended, Err(TransferError::Lost(_))), "{ended:?}");
        assert_eq!(events.len(), 4, "{events:?}");
        assert!(events.iter().all(|line| line.ends_with(" unsafe_path")), "{events:?}");
    }
    // The others go on.
    let (_, events) = hear(place.path(), &[file(b"..", 0), folder(b"good"), leave()]);
    assert_eq!(events, ["Failed .. unsafe_path", "Created good"]);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
}

#[test]
fn nothing_goes_through_a_link_that_came_before() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("canary")).unwrap();
    for target in ["../canary", ".", "..", "/"] {
        let messages = [
            link(b"a", target.as_bytes()),
            folder(b"a"),
            file(b"x", 0),
            folder(b"b"),
            link(b"c", b".."),
            folder(b"c"),
            file(b"y", 0),
            leave(),
            leave(),
            leave(),
        ];
        let (_, events) = hear(place.path(), &messages);
        let failed = events.iter().filter(|line| line.ends_with(" unsafe_path")).count();
        // The folder, and all that was said to be below it.
        assert_eq!(failed, 6, "{target}: {events:?}");
    }
    assert_eq!(fs::read_dir(place.path().join("canary")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(place.path().join("d")).unwrap().count(), 1);
}

#[test]
fn content_is_taken_only_as_announced() {
    let place = tempfile::tempdir().unwrap();
    let content = vec![b'x'; 1_000];
    let lies: [&[Vec<u8>]; 12] = [
        &[begin(0, 0, 10)],
        &[file(b"a", 10), begin(1, 0, 10)],
        &[file(b"a", 10), begin(0, 0, 10), data(&content)],
        &[file(b"a", 10), begin(0, 0, 10), hole(11)],
        &[file(b"a", 10), begin(0, 0, 10), hole(u64::MAX)],
        &[file(b"a", 10), begin(0, 5, 10)],
        &[file(b"a", 10), begin(0, 11, 10)],
        &[file(b"a", 10), begin(0, 0, 10), begin(0, 0, 10)],
        &[file(b"a", 10), begin(0, 0, 10), end(&[0; 32])],
        &[file(b"a", 10), data(b"content")],
        &[file(b"a", 10), end(&[0; 32])],
        &[file(b"a", 9), hard_link(b"b", 0)],
    ];
    for lie in lies {
        let (ended, _) = hear(place.path(), lie);
        assert_protocol(&ended);
        assert_eq!(fs::read_dir(place.path().join("d")).unwrap().count(), 0, "{lie:?}");
    }
}

#[test]
fn content_with_another_digest_gets_no_name() {
    let place = tempfile::tempdir().unwrap();
    for size in [10, 300_000] {
        let content = vec![b'x'; size];
        let mut messages = vec![file(b"a", size as u64), begin(0, 0, size as u64)];
        messages.extend(content.chunks(100_000).map(data));
        messages.push(end(blake3::hash(b"other").as_bytes()));
        let (_, events) = hear(place.path(), &messages);
        assert_eq!(events, ["Failed a corrupt"]);
        assert_eq!(fs::read_dir(place.path().join("d")).unwrap().count(), 0);
    }
}

#[test]
fn what_is_larger_or_more_than_allowed_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let limits = TransferLimits { file_bytes: 100, bytes: 1_000, entries: 3 };
    // One that says less than it has is found out when it begins.
    let messages = [file(b"a", 101), file(b"b", 5), begin(1, 0, 101)];
    let (_, events) = hear_within(place.path(), &messages, limits);
    assert_eq!(events, ["Failed a too_big", "Failed b too_big"]);
    let (ended, _) = hear_within(
        place.path(),
        &[folder(b"a"), leave(), link(b"b", b"x"), link(b"c", b"x"), link(b"d", b"x")],
        limits,
    );
    assert!(matches!(ended, Err(TransferError::Local(_))), "{ended:?}");
    // A file that the disk has no room for is refused before it is written.
    let enormous = 1 << 60;
    let (_, events) = hear(place.path(), &[file(b"e", enormous), begin(0, 0, enormous)]);
    assert_eq!(events, ["Failed e no_space"]);
}

#[test]
fn what_has_no_end_is_ended() {
    let place = tempfile::tempdir().unwrap();
    // More files than the window has room for, none of which comes.
    let many: Vec<_> = (0..10_000).map(|number| file(format!("{number}").as_bytes(), 1)).collect();
    assert_protocol(&hear(place.path(), &many).0);
    assert!(fs::read_dir(place.path().join("d")).unwrap().next().is_none());
    // Folders in folders in folders.
    let deep: Vec<_> = (0..3_000).map(|_| folder(b"d")).collect();
    let (_, events) = hear(place.path(), &deep);
    assert_eq!(events.iter().filter(|line| line.starts_with("Created")).count(), 1_024);
    assert!(events.last().unwrap().ends_with("too_big"));
    // The same where none of them can be made, with names that are longer than any.
    let name = [b"../", &[b'x'; 4_000][..]].concat();
    let deep: Vec<_> = (0..1_500).map(|_| folder(&name)).collect();
    let (ended, events) = hear(place.path(), &deep);
    assert_protocol(&ended);
    assert_eq!(events.len(), 1_025);
    let longest = events.iter().map(String::len).max().unwrap();
    assert!(longest < 300_000, "{longest}");
}

#[test]
fn the_window_has_room_for_so_many_entries_and_for_none_more() {
    let place = tempfile::tempdir().unwrap();
    let mut messages: Vec<_> =
        (0..4_096).map(|number| file(format!("{number}").as_bytes(), 1)).collect();
    let one_more = || file(b"one more", 1);
    let (ended, _) = hear(place.path(), &messages);
    assert!(matches!(ended, Err(TransferError::Lost(_))), "{ended:?}");
    assert_protocol(&hear(place.path(), &[&messages[..], &[one_more()]].concat()).0);
    // A file whose content is coming counts as well, and none that is there.
    messages.push(begin(0, 0, 1));
    assert_protocol(&hear(place.path(), &[&messages[..], &[one_more()]].concat()).0);
    let content = [data(b"x"), end(blake3::hash(b"x").as_bytes()), one_more()];
    let (ended, _) = hear(place.path(), &[&messages[..], &content].concat());
    assert!(matches!(ended, Err(TransferError::Lost(_))), "{ended:?}");
}

#[test]
fn a_message_is_read_only_up_to_its_limit() {
    let place = tempfile::tempdir().unwrap();
    let raw = |bytes: &[u8]| vec![bytes.to_vec()];
    let lies = [
        raw(&[0xff, 0xff, 0xff, 0xff, 2]),
        raw(&[0, 0, 0, 0, 2]),
        raw(&[0x7f, 0xff, 0xff, 0xff, 10]),
        vec![message(99, &[])],
        vec![message(2, &[b"short"])],
        vec![message(3, &[b"long"])],
        vec![leave()],
        vec![hello(1)],
        vec![message(2, &[&[0xff; 4], &[0; 12], &[0, 1, b'a']])],
        vec![message(2, &[&[0; 4], &[0xff; 12], &[0, 1, b'a']])],
        vec![message(2, &[&[0; 4], &[0; 12], &[0xff, 0xff, b'a']])],
    ];
    for lie in lies {
        let (ended, _) = hear(place.path(), &lie);
        assert_protocol(&ended);
    }
}

#[test]
fn a_hello_of_another_kind_is_refused() {
    for wrong in [
        hello(2),
        hello(3),
        message(1, &[b"rcft", &[0, 2, 1, 0]]),
        message(1, &[b"http", &[0, 1, 1, 0]]),
        message(1, &[b"rcft", &[0, 1, 1, 1], &[0; 4], &[0xff; 40]]),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        let place = tempfile::tempdir().unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        let other = scripted(far, wrong.clone());
        let reader = near.try_clone().unwrap();
        let transfer = Transfer::with_options(tree_options());
        let mut events = Events::default();
        let ended = transfer.receive(reader, near, inside(place.path()), &mut events);
        assert!(matches!(ended, Err(TransferError::Protocol(_))), "{wrong:?}: {ended:?}");
        other.join().unwrap();
    }
}

#[test]
fn an_option_of_a_later_release_is_refused_in_words_for_both_ends() {
    let place = tempfile::tempdir().unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    let later = message(1, &[b"rcft", &[0, 1, 1, 1], &[0, 0, 0x80, 3], &[0; 9], &[0; 2]]);
    let sender = scripted(far, later);
    let reader = near.try_clone().unwrap();
    let mut events = Events::default();
    let transfer = Transfer::with_peers_options();
    let ended = transfer.receive(reader, near, inside(place.path()), &mut events);
    let says = "its release does not know an option of this transfer";
    assert!(ended.unwrap_err().to_string().contains(says));
    let heard = sender.join().unwrap();
    // An abort, behind the hello.
    assert_eq!(heard[hello(2).len() + 4], 38);
    assert!(heard.windows(says.len()).any(|part| part == says.as_bytes()), "{heard:?}");
}

#[test]
fn a_hello_of_another_kind_is_refused_by_a_sender_that_did_not_wait_for_it() {
    let place = tempfile::tempdir().unwrap();
    let from = place.path().join("f");
    fs::write(&from, b"content").unwrap();
    let options = message(1, &[b"rcft", &[0, 1, 2, 1], &[0; 13], &[0; 2]]);
    for wrong in [hello(1), options, message(32, &[&[0; 8]])] {
        let (near, far) = UnixStream::pair().unwrap();
        let receiver = scripted_receiver(far, wrong.clone(), vec![]);
        let mut events = Events::default();
        let reader = near.try_clone().unwrap();
        let to_close = near.try_clone().unwrap();
        let sender = Transfer::with_options(tree_options());
        let ended = sender.send(reader, near, vec![source(&from)], &mut events);
        to_close.shutdown(std::net::Shutdown::Both).unwrap();
        assert!(matches!(ended, Err(TransferError::Protocol(_))), "{wrong:?}: {ended:?}");
        receiver.join().unwrap();
    }
}

#[test]
fn a_receiver_that_lies_is_found_out() {
    let place = tempfile::tempdir().unwrap();
    let from = place.path().join("f");
    fs::write(&from, vec![b'x'; 300_000]).unwrap();
    let done = message(37, &[&[0; 72], &[0; 32], &[0]]);
    let lies: [&[Vec<u8>]; 10] = [
        &[need(1)],
        &[need(0), need(0)],
        &[unchanged(1)],
        &[unchanged(0), unchanged(0)],
        &[resume(0, 100, 0, 1)],
        &[resume(0, 100, 10, 9)],
        &[resume(0, u64::MAX, 1, 5_000)],
        std::slice::from_ref(&done),
        &[unchanged(0), done.clone()],
        &[message(34, &[&[0; 8], &[8, 0, 0, 0]])],
    ];
    for lie in lies {
        let (near, far) = UnixStream::pair().unwrap();
        let receiver = scripted_receiver(far, hello(2), vec![(4, lie.concat())]);
        let mut events = Events::default();
        let reader = near.try_clone().unwrap();
        let to_close = near.try_clone().unwrap();
        let sender = Transfer::with_options(tree_options());
        let ended = sender.send(reader, near, vec![source(&from)], &mut events);
        to_close.shutdown(std::net::Shutdown::Both).unwrap();
        let told = matches!(ended, Err(TransferError::Protocol(_) | TransferError::Differs(_)));
        assert!(told, "{lie:?}: {ended:?}");
        receiver.join().unwrap();
    }
}

#[test]
fn a_part_that_a_receiver_invents_is_not_gone_on_with() {
    let place = tempfile::tempdir().unwrap();
    let from = place.path().join("f");
    fs::write(&from, vec![b'x'; 300_000]).unwrap();
    for part in [resume(0, 200_000, 1 << 20, 1), resume(0, 1 << 40, 1 << 30, 1_024)] {
        let (near, far) = UnixStream::pair().unwrap();
        let receiver = scripted_receiver(far, hello(2), vec![(4, part)]);
        let mut events = Events::default();
        let reader = near.try_clone().unwrap();
        let to_close = near.try_clone().unwrap();
        let sender = Transfer::with_options(tree_options());
        let _ = sender.send(reader, near, vec![source(&from)], &mut events);
        let _ = to_close.shutdown(std::net::Shutdown::Both);
        let heard = receiver.join().unwrap();
        let expected = begin(0, 0, 300_000);
        // Up to the mode and time, which are the file's own.
        let expected = &expected[..5 + 24];
        assert!(heard.windows(expected.len()).any(|part| part == expected));
    }
}

#[test]
fn changed_bytes_of_a_transfer_do_no_harm() {
    let place = tempfile::tempdir().unwrap();
    let (from, target) = (place.path().join("from"), place.path().join("d"));
    fs::create_dir(place.path().join("canary")).unwrap();
    fill(&from, 21);
    let before = describe(&from);
    let recorded = record(&from, &place.path().join("first"));
    let mut dice = Dice::new(9);
    for _ in 0..150 {
        let mut script = recorded.clone();
        for _ in 0..1 + dice.roll(4) {
            // The names and numbers are at the beginning.
            let below = [script.len() as u64, 4_000][dice.roll(2) as usize];
            let at = dice.roll(below) as usize;
            script[at] = dice.roll(256) as u8;
        }
        let _ = fs::remove_dir_all(&target);
        fs::create_dir(&target).unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        let sender = scripted(far, script);
        let mut events = Events::default();
        let reader = near.try_clone().unwrap();
        let transfer = Transfer::with_peers_options();
        let _ = transfer.receive(reader, near, inside(&target), &mut events);
        sender.join().unwrap();
    }
    assert_eq!(describe(&from), before);
    assert_eq!(fs::read_dir(place.path().join("canary")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 4);
    assert!(partials(&from).is_empty());
}

/// Returns what a sender says in a whole transfer.
fn record(from: &Path, to: &Path) -> Vec<u8> {
    struct Copy(UnixStream, std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
    impl std::io::Write for Copy {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let count = self.0.write(bytes)?;
            self.1.lock().unwrap().extend_from_slice(&bytes[..count]);
            Ok(count)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            self.0.flush()
        }
    }
    let said = std::sync::Arc::<std::sync::Mutex<Vec<u8>>>::default();
    let copy = std::sync::Arc::clone(&said);
    let sender = Transfer::with_options(tree_options());
    let receiver = Transfer::with_peers_options();
    fs::create_dir(to).unwrap();
    crate::ends::run(sender, receiver, vec![source(from)], inside(to), |stream| Copy(stream, copy))
        .summary();
    let said = said.lock().unwrap();
    said.clone()
}
