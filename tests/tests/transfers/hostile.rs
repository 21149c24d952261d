//! A client that may write, and says what no client says: nothing outside the place that it may write is touched, no
//! device is opened, and the process of the transfer ends.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};
use std::os::unix::net::UnixStream;

use rcmd_client::TransferVerb;
use rcmd_transfer::TransferError;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::ends::{Peer, described};
use crate::world_with;

fn message(kind: u8, fields: &[&[u8]]) -> Vec<u8> {
    let fields = fields.concat();
    let length = u32::try_from(fields.len() + 1).unwrap().to_be_bytes();
    [&length[..], &[kind], &fields].concat()
}

fn name(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

const TIME: [u8; 12] = [0, 0, 0, 0, 0x60, 0, 0, 0, 0, 0, 0, 0];

fn folder(named: &[u8]) -> Vec<u8> {
    message(2, &[&0o7777_u32.to_be_bytes(), &TIME, &name(named)])
}

/// A file with every bit of a mode.
fn file(named: &[u8], size: u64) -> Vec<u8> {
    message(4, &[&0o6755_u32.to_be_bytes(), &TIME, &size.to_be_bytes(), &[0, 0], &name(named)])
}

fn link(named: &[u8], to: &[u8]) -> Vec<u8> {
    message(5, &[&TIME, &name(to), &name(named)])
}

/// The whole content of a file.
fn content(index: u64, bytes: &[u8]) -> Vec<u8> {
    let size = bytes.len() as u64;
    let numbers = [index, 0, size, size].map(u64::to_be_bytes).concat();
    let digest = blake3::hash(bytes);
    [
        message(8, &[&numbers, &0o6755_u32.to_be_bytes(), &TIME]),
        message(10, &[bytes]),
        message(12, &[digest.as_bytes(), &[0]]),
    ]
    .concat()
}

#[test]
fn a_client_that_lies_touches_nothing_outside_and_ends() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    for folder in ["there", "outside"] {
        fs::create_dir(path(folder)).unwrap();
    }
    fs::write(path("outside/canary"), b"canary").unwrap();
    symlink("../outside", path("there/out")).unwrap();
    mknodat(CWD, path("there/pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let rules = r#"permit (principal, action in [Action::"read", Action::"write"], resource)
        when { context.path == "{}/there" || context.path like "{}/there/*" };"#;
    let world = world_with(rules, place.path());
    let before = described(&path("outside"));
    let leave = message(3, &[]);
    let finish = message(14, &[&[0; 8], &[0; 32], &[0]]);
    let many: Vec<u8> =
        (0..20_000).flat_map(|number: u64| file(&number.to_be_bytes(), 1)).collect();
    let scripts: [(&str, Vec<Vec<u8>>); 12] = [
        ("upwards", vec![file(b"../outside/canary", 3), content(0, b"bad")]),
        (
            "absolute",
            vec![file(path("outside/canary").to_str().unwrap().as_bytes(), 3), content(0, b"bad")],
        ),
        (
            "through a link that is there",
            vec![folder(b"out"), file(b"canary", 3), content(1, b"bad"), leave.clone()],
        ),
        (
            "through a link of its own",
            vec![
                link(b"l", b"../outside"),
                folder(b"l"),
                file(b"canary", 3),
                content(2, b"bad"),
                leave.clone(),
            ],
        ),
        ("onto a link", vec![link(b"c", b"../outside/canary"), file(b"c", 3), content(1, b"bad")]),
        ("into a pipe", vec![file(b"pipe", 3), content(0, b"bad")]),
        ("with bits of a mode", vec![folder(b"d"), file(b"s", 3), content(1, b"bad"), leave]),
        (
            "twice",
            vec![
                file(b"t", 3),
                file(b"t", 3),
                content(0, b"bad"),
                content(1, b"bad"),
                content(0, b"bad"),
            ],
        ),
        (
            "more than it said",
            vec![
                file(b"m", 3),
                message(
                    8,
                    &[
                        &[0_u64, 0, 3, 3].map(u64::to_be_bytes).concat(),
                        &0o644_u32.to_be_bytes(),
                        &TIME,
                    ],
                ),
                message(10, &[&vec![b'x'; 200_000]]),
            ],
        ),
        (
            "without end",
            vec![
                file(b"e", 1 << 62),
                message(
                    8,
                    &[
                        &[0_u64, 0, 1 << 62, 1 << 62].map(u64::to_be_bytes).concat(),
                        &0o644_u32.to_be_bytes(),
                        &TIME,
                    ],
                ),
            ],
        ),
        ("many", vec![many]),
        ("an end that is none", vec![finish]),
    ];
    let peer = Peer::of(&world);
    for (what, script) in scripts {
        // It chooses the options: trees, with modes and times.
        let options = [&[0, 0, 0, 3][..], &[0; 9], &[0; 2]].concat();
        let hello = message(1, &[b"rcft", &[0, 1, 1, 1], &options]);
        let said = [hello, script.concat()].concat();
        let verb = TransferVerb::Receive { is_itself: false, has_several: true, is_delta: false };
        let end = move |reader: UnixStream, mut writer: UnixStream, _: &mut _| {
            let writing = std::thread::spawn(move || {
                // The process may have heard enough.
                let _ = writer.write_all(&said);
                let _ = writer.shutdown(Shutdown::Write);
            });
            let mut heard = Vec::new();
            let _ = (&reader).read_to_end(&mut heard);
            writing.join().unwrap();
            Err(TransferError::Lost(std::io::ErrorKind::UnexpectedEof.into()))
        };
        let ended = peer.begin(peer.command(verb, &[&path("there")]), end).wait();
        assert_eq!(ended.report.code, Some(2), "{what}: {:?} {}", ended.report, ended.stderr);
        assert_eq!(described(&path("outside")), before, "{what}");
        assert!(path("there/pipe").symlink_metadata().unwrap().file_type().is_fifo(), "{what}");
        for entry in fs::read_dir(path("there")).unwrap().map(Result::unwrap) {
            let mode = entry.metadata().unwrap().mode();
            assert_eq!(mode & 0o6000, 0, "{what}: {:?} {mode:o}", entry.file_name());
        }
    }
    assert!(!path("there/c").is_symlink() && !path("there/l").is_symlink());
    // What it sent as a whole is there.
    assert_eq!(fs::read(path("there/d/s")).unwrap(), b"bad");
    assert_eq!(fs::metadata(path("there/d/s")).unwrap().mode() & 0o7777, 0o755);
}
