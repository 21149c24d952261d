//! The readers of the audit under logs of any bytes: nothing panics, a log that fits is followed exactly as a
//! simple model of the chain predicts, and later changes are found.
//!
//! `server/tests/corpus.rs` does the same with every saved input, without cargo-fuzz.

use std::{collections::BTreeSet, io::BufRead, time::Duration};

use rcmd_protocol::ids::AuditHead;
use rcmd_server::audit::{
    show::{Filter, Show},
    verify::{AuditFinding, Expected, Verified, follow},
};
use sha2::{Digest as _, Sha256};

/// The log of a server that was killed while a command ran, and of the next server.
const WRITTEN: [&[u8]; 2] = [
    include_bytes!("../audit/audit-00000001.jsonl"),
    include_bytes!("../audit/audit-00000002.jsonl"),
];

/// Reads the first byte as the kind of the rest: the files of a log, with a NUL between them; events that a
/// server may or may not write, two bytes each; or one change of a log that a server wrote.
pub fn audit(data: &[u8]) {
    let [mode, rest @ ..] = data else { return };
    match mode % 3 {
        0 => any(rest),
        1 => chained(rest),
        _ => {
            let Some((change, _)) = rest.split_first_chunk() else { return };
            found(WRITTEN.map(<[u8]>::to_vec).to_vec(), *change);
        }
    }
}

fn judge(files: &[Vec<u8>], head: Option<AuditHead>) -> Result<Verified, Box<AuditFinding>> {
    let named = files.iter().enumerate();
    let readers =
        named.map(|(n, bytes)| (format!("audit-{:08}.jsonl", n + 1), Ok(bytes.as_slice())));
    follow(readers, &Expected { keys: Vec::new(), head }, Duration::ZERO)
}

/// Reads any bytes as a log. Both readers go to the end. A whole log is also whole under its own head, and
/// without its last line that head is missed.
fn any(data: &[u8]) {
    let files: Vec<_> = data.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect();
    shown(&files);
    match judge(&files, None) {
        Ok(verified) => {
            let lines = data.iter().filter(|&&byte| byte == b'\n').count();
            assert_eq!(verified.records, lines as u64);
            judge(&files, verified.head).unwrap();
        }
        Err(finding) => assert!(finding.line <= data.len() as u64 + 1),
    }
}

/// Checks what is shown to people: no control character but line ends, and no more text than the log could hold.
fn shown(files: &[Vec<u8>]) {
    for json in [false, true] {
        let mut out = Vec::new();
        let mut show = Show::new(Filter { json, ..Filter::default() }, &mut out);
        for mut file in files.iter().map(Vec::as_slice) {
            show.file(&mut file).unwrap();
            assert!(file.fill_buf().unwrap().is_empty());
        }
        show.end().unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        // A character becomes ten at most, and each line has a few words of its own.
        let held: usize = files.iter().map(|file| 1 + file.len()).sum();
        assert!(text.len() <= 512 + 64 * held, "{} of {held}", text.len());
    }
}

/// A log that is being written.
struct Log {
    files: Vec<Vec<u8>>,
    seq: u64,
    hash: [u8; 32],
    running: BTreeSet<String>,
}

impl Log {
    fn new() -> Self {
        let mut log =
            Self { files: vec![Vec::new()], seq: 0, hash: [0; 32], running: BTreeSet::new() };
        log.line(r#""event":"open","reason":"start","running":[]"#);
        log
    }

    /// Writes a line under the next number, with its hash.
    fn line(&mut self, members: &str) {
        self.seq += 1;
        let body = format!(r#"{{"seq":{},"time":"now",{members}"#, self.seq);
        self.hash = Sha256::new().chain_update(self.hash).chain_update(&body).finalize().into();
        let line = format!("{body},\"hash\":\"{}\"}}\n", hex::encode(self.hash));
        self.files.last_mut().unwrap().extend_from_slice(line.as_bytes());
    }

    fn rotate(&mut self) {
        let (file, seq, hash) = (self.files.len(), self.seq, hex::encode(self.hash));
        let running: Vec<_> = self.running.iter().map(|job| format!("{job:?}")).collect();
        self.files.push(Vec::new());
        self.line(&format!(
            r#""event":"open","reason":"rotation","previous":{{"file":"audit-{file:08}.jsonl","seq":{seq},"hash":"{hash}"}},"running":[{}]"#,
            running.join(",")
        ));
    }

    /// Writes an event. Returns whether a server may write it there.
    fn event(&mut self, [kind, which]: [u8; 2]) -> bool {
        let job = format!("j{}", which % 8);
        match kind % 8 {
            0 | 1 => {
                self.line(&format!(
                    r#""event":"start","job":"{job}","peer":"p","user":"u","program":"/p","cwd":"/""#
                ));
                self.running.insert(job)
            }
            2 | 3 => {
                self.line(&format!(
                    r#""event":"end","job":"{job}","outcome":"exited","code":{which},"stdout_bytes":0,"stderr_bytes":0"#
                ));
                self.running.remove(&job)
            }
            4 => {
                self.rotate();
                true
            }
            5 => {
                self.line(r#""event":"server","state":"started","version":"0","pid":1"#);
                self.running.is_empty()
            }
            6 => {
                self.line(&format!(r#""event":"reload","what":"\u{which:04x}\u202e""#));
                true
            }
            // An event of a later version.
            _ => {
                self.line(&format!(r#""event":"later","of":{which}"#));
                true
            }
        }
    }

    fn head(&self) -> AuditHead {
        AuditHead { seq: self.seq, hash: self.hash }
    }
}

/// Checks events in a chain that fits, and a change of it that the end of the input chooses.
fn chained(data: &[u8]) {
    let Some((events, change)) = data.split_last_chunk() else { return };
    let mut log = Log::new();
    let pairs = events.chunks_exact(2).take(200);
    let fits = pairs.map(|pair| [pair[0], pair[1]]).all(|pair| log.event(pair));
    shown(&log.files);
    let judged = judge(&log.files, Some(log.head()));
    assert_eq!(judged.is_ok(), fits, "{judged:?}");
    let Ok(verified) = judged else { return };
    assert_eq!(verified.records, log.seq);
    assert_eq!(verified.running, log.running.len());
    assert_eq!(verified.head, Some(log.head()));
    found(log.files, *change);
}

/// Checks that a change of a whole log is found by whoever kept the last head.
fn found(mut files: Vec<Vec<u8>>, change: [u8; 6]) {
    let head = judge(&files, None).unwrap().head;
    let before = files.clone();
    let [kind, file, rest @ ..] = change;
    let [first, second] = [[rest[0], rest[1]], [rest[2], rest[3]]]
        .map(|bytes| usize::from(u16::from_be_bytes(bytes)));
    let (file, count) = (usize::from(file) % files.len(), files.len());
    let bytes = &mut files[file];
    let mut lines: Vec<_> =
        bytes.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    let (at, line, other) = (first % bytes.len(), first % lines.len(), second % lines.len());
    match kind % 10 {
        0 => bytes[at] = rest[3],
        1 => bytes.insert(at, rest[3]),
        2 => drop(bytes.remove(at)),
        3 => drop(bytes.drain(at..(at + 1 + second).min(bytes.len()))),
        4 => bytes.truncate(at),
        5 => drop(files.remove(file)),
        6 => files.swap(file, second % count),
        kind => {
            match kind {
                7 => drop(lines.remove(line)),
                8 => lines.swap(line, other),
                _ => lines.insert(other, lines[line].clone()),
            }
            files[file] = lines.concat();
        }
    }
    if files != before {
        shown(&files);
        assert!(judge(&files, head).is_err(), "{change:?} is not found");
    }
}
