//! The limits on what anybody with a certificate can make the audit hold: little, and never what
//! its readers can't read.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rcmd_tests::audit::{assert_whole, events, folder, records};
use rcmd_tests::authority::Serving;
use rcmd_tests::membership::enrolled_client;
use rcmd_tests::pki::{Authority, Leaf};
use rcmd_tests::raw::{Dial, RawPeer, Start, frame, hello};
use rcmd_tests::{World, binaries, eventually};
use rustix::fs::OFlags;
use rustix::process::Signal;
use serde_json::{Value, json};

/// Returns the longest string that a start may hold, of the bytes that JSON makes the most of.
fn costly() -> String {
    "\u{1}".repeat(128 * 1024 - 1)
}

/// Connects peers with a certificate and no permission, all of one identity.
fn mallories(world: &World, count: usize) -> Vec<RawPeer> {
    let dir = world.scratch("mallory");
    Authority::of(world.dir()).issue(&Leaf::client_uris(&["rcmd://user/mallory"])).write(&dir);
    let greeted = || {
        let mut peer = Dial::to(world).identity(&dir).connect().unwrap();
        peer.send(&hello()).unwrap();
        peer.expect_frame("hello");
        peer
    };
    (0..count).map(|_| greeted()).collect()
}

fn mallory(world: &World) -> RawPeer {
    mallories(world, 1).remove(0)
}

fn assert_denied(peer: &mut RawPeer, start: &Start) {
    let ran = peer.run(start).unwrap();
    assert_eq!(
        (&ran.exit["outcome"], &ran.exit["kind"]),
        (&"not_started".into(), &"denied".into())
    );
}

fn files(world: &World) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder(world)).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some()).collect()
}

fn size(world: &World) -> u64 {
    files(world).iter().map(|path| fs::metadata(path).unwrap().len()).sum()
}

#[test]
fn a_denied_start_of_the_costliest_bytes_is_kept_by_size_digest_and_beginning() {
    let mut world = World::start();
    let client = world.exec(["sleep", "600"]).with_result().spawn();
    world.wait_for_log("started job");
    let costly = costly();
    let mut words = vec!["/bin/true"];
    words.extend([costly.as_str(); 7]);
    let start = Start::exec(1, &words);
    let before = size(&world);
    assert_denied(&mut mallory(&world), &start);
    eventually("the denial is written", || {
        records(&world).iter().any(|record| record["event"] == "denial")
    });
    assert_whole(&world, None);
    assert!(size(&world) - before < 8 * 1024, "{} bytes more", size(&world) - before);
    let all = records(&world);
    let of = |event: &str, peer: &str| -> &Value {
        all.iter().find(|record| record["event"] == event && record["peer"] == peer).unwrap()
    };
    let attempt = of("attempt", "mallory");
    assert_eq!(attempt["size"], start.payload().len());
    assert_eq!(attempt["digest"], start.header()["digest"]);
    assert_eq!(attempt["args"][0], "/bin/true");
    let head = of("start", "admin")["job"].as_str().unwrap().to_owned();

    // What is written after a kill goes on where the log ended.
    world.kill_server();
    client.signal(Signal::KILL);
    client.wait();
    world.start_server();
    assert_whole(&world, None);
    let all = records(&world);
    assert_eq!(events(&all, &head), ["attempt", "start", "end"]);
    let numbers: Vec<_> = all.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert!(numbers.iter().enumerate().all(|(at, &seq)| seq == at as u64 + 1), "{numbers:?}");
}

#[test]
fn a_large_start_that_runs_is_recorded_whole() {
    let world = World::start();
    let large = "x".repeat(100_000);
    let words = ["true", &large, &large];
    world.exec(words).run().assert_code(0);
    let all = records(&world);
    let of = |event: &str| all.iter().find(|record| record["event"] == event).unwrap();
    assert_eq!(of("attempt")["size"], "true".len() + 2 * large.len() + 3);
    let beginning = of("attempt")["args"][1].as_str().unwrap();
    assert!(large.starts_with(beginning) && beginning.len() > 900, "{} bytes", beginning.len());
    assert_eq!(of("start")["request"]["args"], json!(words));
    world.exec(["true", "small"]).run().assert_code(0);
    let all = records(&world);
    let small = all.iter().rfind(|record| record["event"] == "start").unwrap();
    assert!(small["request"].is_null());
    assert_whole(&world, None);
}

#[test]
fn a_flood_of_denied_starts_has_the_pace_of_one_identity_and_is_recorded() {
    const PEERS: usize = 4;
    const AT_A_TIME: u64 = 64;
    const DENIALS: u64 = 1000;
    let world = World::start();
    let peers = mallories(&world, PEERS);
    let denied = AtomicU64::new(0);
    let began = Instant::now();
    thread::scope(|scope| {
        for (number, mut peer) in (0_u64..).zip(peers) {
            let denied = &denied;
            scope.spawn(move || {
                let start = |n: u64| {
                    let key = (u128::from(number) << 64) | u128::from(n);
                    Start::exec(n + 1, &["true"]).key(key + 1).frame()
                };
                for n in 0..AT_A_TIME {
                    peer.send(&start(n)).unwrap();
                }
                for n in AT_A_TIME.. {
                    let (header, _) = peer.expect_frame("exit");
                    assert_eq!(header["kind"], "denied", "{header}");
                    if denied.fetch_add(1, Ordering::Relaxed) >= DENIALS {
                        return;
                    }
                    let done = frame(&json!({"type": "done", "ch": header["ch"]}), &[]);
                    peer.send(&[done, start(n)].concat()).unwrap();
                }
            });
        }
    });
    // 256 at once and what was under way, and then 100 a second.
    assert!(began.elapsed() > Duration::from_secs(3), "in {:?}", began.elapsed());
    world.exec(["true"]).run().assert_code(0);
    assert_whole(&world, None);
    let all = records(&world);
    let recorded = all.iter().filter(|record| record["event"] == "denial").count() as u64;
    assert!(recorded >= DENIALS, "{recorded} denials are recorded");
    // Of what one place logs without limit there is a number of lines, and their sum.
    world.wait_for_log("more lines of the log are summed up");
    let lines = world.log();
    let lines = lines.iter().filter(|line| line.contains(" denied ")).count();
    assert!(lines < 400, "{lines} lines of the log");
}

#[test]
fn who_asks_what_it_may_do_is_recorded() {
    let world = World::start();
    let mut peer = mallory(&world);
    peer.send(&Start::exec(1, &["cat", "/etc/shadow"]).ask()).unwrap();
    assert_eq!(peer.expect_frame("verdict").0["permitted"], false);
    world.exec(["true"]).option("--dry-run").run().assert_code(0);
    let all = records(&world);
    let asks: Vec<_> = all.iter().filter(|record| record["event"] == "ask").collect();
    assert_eq!(asks.len(), 2);
    assert_eq!((&asks[0]["peer"], &asks[0]["kind"]), (&"mallory".into(), &"denied".into()));
    assert_eq!(asks[0]["args"], json!(["cat", "/etc/shadow"]));
    assert_eq!((&asks[1]["peer"], &asks[1]["kind"]), (&"admin".into(), &Value::Null));
    assert_whole(&world, None);
}

/// A server that is killed when it is no longer needed.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Makes a pipe that is full, and that nobody reads.
fn full_pipe() -> (io::PipeReader, io::PipeWriter) {
    let (reader, mut writer) = io::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
    rustix::fs::fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'x'; 4096]).is_ok() {}
    while writer.write(b"x").is_ok() {}
    rustix::fs::fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let world = World::builder().prepare();
    let (mut reader, writer) = full_pipe();
    let mut command = world.server_program();
    command.args(["--listen", "127.0.0.1:0", "-v"]).stdout(Stdio::piped()).stderr(writer);
    let mut server = Killed(command.spawn().unwrap());
    drop(command);
    let mut said = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let address = said.trim_end().strip_prefix("listening on ").expect("an address");
    for n in 0..20 {
        let word = format!("hello {n}");
        let done = world.exec(["echo", &word]).target(address).run();
        done.assert_code(0);
        assert_eq!(done.stdout, format!("{word}\n").into_bytes());
    }
    // Once somebody reads, what there was room for is there.
    read_until(&mut reader, "ended");
}

fn read_until(mut reader: impl Read, word: &str) {
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains(word) {
        let mut part = [0; 4096];
        let size = reader.read(&mut part).unwrap();
        assert!(size > 0, "{}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&part[..size]);
    }
}

#[test]
fn a_log_of_the_authority_that_nobody_reads_stops_nothing() {
    let authority = Serving::unused();
    authority.certs(&["init"]);
    let (mut reader, writer) = full_pipe();
    let mut command = Command::new(&binaries().certs);
    command.args(["serve", "--listen", "127.0.0.1:0", "--dir"]).arg(authority.layout().dir());
    command.env_remove("RCMD_DIR").env_remove("RCMD_LOG").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(writer);
    let mut serve = Killed(command.spawn().unwrap());
    drop(command);
    let mut said = String::new();
    BufReader::new(serve.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.starts_with("listening on "), "{said}");
    for n in 0..6 {
        assert!(enrolled_client(&authority, &format!("m{n}")).ca().exists());
    }
    read_until(&mut reader, "enrolled");
}
