//! The harness itself: a proxy that did not break links, or a wait that never failed, would make every
//! other test worth nothing.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rcmd_tests::proc::{self, Snapshot};
use rcmd_tests::wait::{DEADLINE, exit_within, poll_for};
use rcmd_tests::{Direction, Fault, Plan, Proxy, Random, Tally, eventually};

/// Starts a server that sends back what it gets, for as many connections as come.
fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut from = stream.unwrap();
            std::thread::spawn(move || io::copy(&mut from.try_clone().unwrap(), &mut from));
        }
    });
    address
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn echoes(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, bytes);
}

#[test]
fn an_honest_proxy_changes_nothing() {
    let proxy = Proxy::to(echo_server());
    let mut stream = connect(&proxy);
    let sent = Random::new(1).take_bytes(1 << 20);
    let mut writer = stream.try_clone().unwrap();
    let bytes = sent.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&bytes).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    writing.join().unwrap();
    assert_eq!(Tally::of(&back), Tally::of(&sent));
    assert_eq!(proxy.connections(), 1);
}

#[test]
fn a_planned_cut_comes_after_exactly_so_many_bytes() {
    for fault in [Fault::Reset, Fault::Fin] {
        let proxy = Proxy::to(echo_server());
        proxy.plan(move |_| Plan::after(Direction::ToServer, 1000, fault));
        let mut stream = connect(&proxy);
        echoes(&mut stream, &[7; 999]);
        let _ = stream.write_all(&[7; 100]);
        let ended = stream.read_to_end(&mut Vec::new());
        match fault {
            Fault::Reset => {
                assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
            }
            // The 1,000th byte may have come back before the end did.
            _ => assert!(ended.unwrap() <= 1),
        }
    }
}

#[test]
fn a_cut_breaks_what_is_there_and_not_what_comes() {
    let proxy = Proxy::to(echo_server());
    let mut old = connect(&proxy);
    echoes(&mut old, b"before");
    proxy.cut(Fault::Reset);
    assert_eq!(old.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    echoes(&mut connect(&proxy), b"after");
    assert_eq!(proxy.connections(), 2);
}

#[test]
fn a_silence_holds_bytes_back_and_loses_none() {
    let proxy = Proxy::to(echo_server());
    let mut stream = connect(&proxy);
    echoes(&mut stream, b"before");
    proxy.silence();
    stream.write_all(b"meanwhile").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    proxy.go_on();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut back = [0; 9];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"meanwhile");
}

#[test]
fn a_planned_silence_ends_by_itself() {
    let proxy = Proxy::to(echo_server());
    let silence = Fault::Silence(Some(Duration::from_millis(300)));
    proxy.plan(move |_| Plan::after(Direction::ToClient, 3, silence));
    let began = Instant::now();
    echoes(&mut connect(&proxy), b"whole");
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_throttled_link_takes_its_time() {
    let proxy = Proxy::to(echo_server());
    proxy.throttle(Some(100_000));
    let began = Instant::now();
    echoes(&mut connect(&proxy), &[1; 50_000]);
    assert!(began.elapsed() >= Duration::from_millis(480));
}

#[test]
fn each_direction_of_a_throttled_link_takes_its_time() {
    const BYTES: usize = 50_000;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let proxy = Proxy::to(listener.local_addr().unwrap());
    proxy.throttle(Some(100_000));
    let began = Instant::now();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; BYTES]).unwrap();
        let up = began.elapsed();
        stream.write_all(&[2; BYTES]).unwrap();
        up
    });
    let mut stream = connect(&proxy);
    stream.write_all(&[1; BYTES]).unwrap();
    stream.read_exact(&mut [0; BYTES]).unwrap();
    let (up, whole) = (server.join().unwrap(), began.elapsed());
    // A timer that came late is made up for, by no more than this.
    let half = Duration::from_millis(500 - 20);
    assert!(up >= half && whole - up >= half, "{up:?} of {whole:?}");
}

#[test]
fn a_refusing_proxy_resets_who_comes() {
    let proxy = Proxy::to(echo_server());
    proxy.refuse(true);
    let mut stream = connect(&proxy);
    let _ = stream.write_all(b"x");
    assert!(stream.read(&mut [0]).is_err());
    proxy.refuse(false);
    echoes(&mut connect(&proxy), b"again");
}

#[test]
fn a_wait_fails_when_nothing_comes() {
    assert_eq!(poll_for(Duration::from_millis(20), || None::<()>), None);
    let mut left = 3;
    eventually("a countdown", || {
        left -= 1;
        left == 0
    });
}

#[test]
fn a_child_that_does_not_end_is_reported_and_one_that_does_is_reaped() {
    let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    assert_eq!(exit_within(&mut child, Duration::from_millis(20)).unwrap(), None);
    child.kill().unwrap();
    assert!(!exit_within(&mut child, DEADLINE).unwrap().unwrap().success());
}

#[test]
fn a_snapshot_notices_a_descriptor_a_child_and_a_zombie() {
    // Of a shell, since this process runs other tests.
    let mut shell = std::process::Command::new("sh")
        .args(["-c", "read a; exec 7</dev/null; sleep 600 & read b; kill $!; wait; read c"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = shell.stdin.take().unwrap();
    let pid = shell.id();
    let state = || Snapshot::of(pid).unwrap();
    eventually("the shell reads", || state().descriptors.contains_key("pipe"));
    let before = state();
    assert!(state().is_back_to(&before));

    stdin.write_all(b"a\n").unwrap();
    eventually("a child", || state().children == 1);
    assert_eq!(state().descriptor_count(), before.descriptor_count() + 1);
    assert!(!state().is_back_to(&before));
    let child = proc::descendants(pid).remove(0);
    assert!(child.runs());

    stdin.write_all(b"b\n").unwrap();
    eventually("the child is gone", || !child.runs() && state().children == 0);
    shell.kill().unwrap();
    eventually("a zombie", || proc::Process::find(pid).is_some_and(|shell| shell.state == 'Z'));
    shell.wait().unwrap();
    assert_eq!(Snapshot::of(pid), None);
}

#[test]
fn what_is_missing_skips_and_under_require_all_fails() {
    assert!(rcmd_tests::skip::need_tool("sh").is_ok());
    let missing = rcmd_tests::skip::need_tool("no-such-tool").unwrap_err();
    assert_eq!(missing, "no-such-tool");
    let skipped = catch_unwind(AssertUnwindSafe(|| rcmd_tests::skip::skip(&missing)));
    let all = std::env::var("RCMD_TEST_REQUIRE").is_ok_and(|value| value == "all");
    assert_eq!(skipped.is_err(), all);
}

#[test]
fn random_bytes_are_the_same_for_the_same_seed() {
    assert_eq!(Random::new(5).take_bytes(1000), Random::new(5).take_bytes(1000));
    assert_ne!(Random::new(5).take_bytes(1000), Random::new(6).take_bytes(1000));
    // The published first output of SplitMix64 for seed 0.
    assert_eq!(Random::new(0).next_u64(), 0xe220_a839_7b1d_cdaf);
}
