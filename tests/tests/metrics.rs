//! Metrics: what Prometheus reads of a running server, what it makes of that, and what the listener
//! does with everybody else.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rcmd_tests::binaries::workspace;
use rcmd_tests::raw::Start;
use rcmd_tests::world::Builder;
use rcmd_tests::{RawPeer, World, eventually, eventually_some, require, skip};
use rustix::process::Signal;
use serde_json::Value;

fn metered() -> Builder {
    World::builder().server_arg("--metrics").server_arg("127.0.0.1:0")
}

/// Returns the address at which a world serves metrics.
fn address(world: &World) -> SocketAddr {
    let line = world.wait_for_log("metrics address=");
    line.split("address=").last().unwrap().trim().parse().unwrap()
}

/// The status, the head and the body of a response.
struct Response {
    status: u16,
    head: String,
    body: String,
}

/// Sends a request of HTTP/1.0, whose response is not sent in pieces.
fn ask(address: SocketAddr, request: &str) -> Response {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Response { status, head: head.to_owned(), body: body.to_owned() }
}

fn get(address: SocketAddr, path: &str) -> Response {
    ask(address, &format!("GET {path} HTTP/1.0\r\nHost: x\r\n\r\n"))
}

/// Returns the value of a sample.
fn sample(page: &str, name: &str) -> Option<f64> {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

/// Has `promtool` check a page, and returns what it prints; nothing if it has no complaint.
fn checked(promtool: &Path, page: &str) -> String {
    let mut command = Command::new(promtool);
    command.args(["check", "metrics"]).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    format!(
        "{}{}",
        if done.status.success() { "" } else { "FAILED " },
        String::from_utf8_lossy(&said)
    )
}

#[test]
fn what_happens_is_counted_and_promtool_has_no_complaint() {
    let world = metered().start();
    let address = address(&world);
    world.exec(["printf", "12345"]).run().assert_code(0);
    world.exec(["sh", "-c", "cat >&2; kill -9 $$"]).stdin("abc").run();
    world.exec(["no-such-program"]).run();
    TcpStream::connect(world.address()).unwrap().write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    world.wait_for_log("refused peer=");
    let mut peer = RawPeer::greeted(&world);
    peer.send(&Start::exec(1, &["sleep", "608"]).frame()).unwrap();
    peer.expect_of(1, &["started"]);

    let page = eventually_some("the connections before are gone", || {
        let page = get(address, "/metrics");
        assert_eq!(page.status, 200);
        (sample(&page.body, "rcmd_connections") == Some(1.0)).then_some(page)
    });
    assert!(page.head.contains("\r\nContent-Type: text/plain; version=0.0.4;"), "{}", page.head);
    for (name, value) in [
        ("rcmd_commands_running", 1.0),
        ("rcmd_commands_queued", 0.0),
        ("rcmd_commands_started_total", 3.0),
        ("rcmd_commands_ended_total{outcome=\"exited\"}", 1.0),
        ("rcmd_commands_ended_total{outcome=\"signaled\"}", 1.0),
        ("rcmd_commands_refused_total{kind=\"other\"}", 1.0),
        ("rcmd_output_bytes_total{stream=\"stdout\"}", 5.0),
        ("rcmd_output_bytes_total{stream=\"stderr\"}", 3.0),
        ("rcmd_stdin_bytes_total", 3.0),
        ("rcmd_handshake_failures_total{kind=\"tls\"}", 1.0),
        ("rcmd_spawn_duration_seconds_count", 3.0),
        ("rcmd_spawn_duration_seconds_bucket{le=\"20.0\"}", 3.0),
        ("rcmd_audit_writable", 1.0),
        ("rcmd_draining", 0.0),
    ] {
        assert_eq!(sample(&page.body, name), Some(value), "{name}\n{}", page.body);
    }
    assert!(sample(&page.body, "rcmd_certificate_expiry_timestamp_seconds").unwrap() > 1e9);
    assert!(!page.body.contains("admin"), "no label comes from a peer\n{}", page.body);

    let open =
        "GET /metrics HTTP/1.0\r\nAccept: application/openmetrics-text; version=1.0.0\r\n\r\n";
    let open = ask(address, open);
    assert!(open.head.contains("application/openmetrics-text; version=1.0.0"), "{}", open.head);
    assert!(open.body.ends_with("\n# EOF\n"), "{}", open.body);
    assert!(open.body.contains("# TYPE rcmd_commands_started counter\n"), "{}", open.body);
    drop(peer);

    let promtool = require!(skip::need_tool("promtool"));
    assert_eq!(checked(&promtool, &page.body), "");
    let planted = page.body.replace("# HELP rcmd_connections ", "# HELP rcmd_other ");
    assert!(checked(&promtool, &planted).contains("no help text"), "it finds what is wrong");
}

#[test]
fn nothing_else_is_served_and_nonsense_harms_nobody() {
    let world = metered().start();
    let address = address(&world);
    let before = world.settled_snapshot();
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 404),
        ("GET /metrics/../../etc/passwd HTTP/1.1\r\n\r\n", 404),
        ("POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 405),
        ("\u{16}\u{3}\u{1}\u{2}\r\n\r\n", 400),
        ("GET /metrics HTTP/1.1\r\nno colon\r\n\r\n", 400),
        ("GET /metrics?name=x HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    ] {
        assert_eq!(ask(address, request).status, status, "{request:?}");
    }
    let endless = format!("GET /metrics HTTP/1.1\r\n{}", "a: b\r\n".repeat(20_000));
    let mut stream = TcpStream::connect(address).unwrap();
    // The server closes before all of it is sent.
    let _ = stream.write_all(endless.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 "));
    world.exec(["true"]).run().assert_code(0);
    world.assert_settles_to(&before);
}

#[test]
fn connections_that_say_nothing_make_place_for_one_that_asks() {
    let world = metered().start();
    let address = address(&world);
    let before = world.settled_snapshot();
    let mut silent: Vec<_> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
    assert_eq!(get(address, "/metrics").status, 200);
    world.exec(["true"]).run().assert_code(0);
    // The oldest are gone, and the others when their time is over.
    assert_eq!(silent[0].read(&mut [0]).unwrap(), 0);
    let held = world.snapshot().descriptors["socket"] - before.descriptors["socket"];
    assert!(held <= 8, "{held} connections are held");
    world.assert_settles_to(&before);
}

#[test]
fn health_is_bad_while_a_server_stops_and_there_is_no_listener_unless_asked_for() {
    let mut world = metered().start();
    let address = address(&world);
    assert_eq!(get(address, "/healthz").body, "ok\n");
    let mut peer = RawPeer::greeted(&world);
    peer.send(&Start::exec(1, &["sleep", "609"]).frame()).unwrap();
    peer.expect_of(1, &["started"]);
    world.signal_server(Signal::TERM);
    eventually("it says that it stops", || {
        let health = get(address, "/healthz");
        health.status == 503 && health.body == "the server stops\n"
    });
    assert_eq!(sample(&get(address, "/metrics").body, "rcmd_draining"), Some(1.0));
    world.signal_server(Signal::TERM);
    world.wait_server();
    assert!(TcpStream::connect(address).is_err());

    let world = World::start();
    world.exec(["true"]).run().assert_code(0);
    assert!(!world.log().iter().any(|line| line.contains("metrics")));
    // An address that is taken is named.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let failed = World::builder().config(&format!("metrics = '{at}'")).try_start().map(drop);
    let why = format!("{:#}", failed.unwrap_err());
    assert!(why.contains(&format!("cannot listen on {at} for metrics")), "{why}");
}

#[test]
fn the_alerts_are_tested_by_promtool() {
    let promtool = require!(skip::need_tool("promtool"));
    let folder = workspace().join("deploy/prometheus");
    let run = |words: &[&str]| {
        let done = Command::new(&promtool).args(words).current_dir(&folder).output().unwrap();
        let said = [done.stdout, done.stderr].concat();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&said));
    };
    run(&["check", "rules", "--lint=all", "--lint-fatal", "rcmd.rules.yml"]);
    run(&["test", "rules", "rcmd.rules.test.yml"]);
    // Each alert is tested.
    let [rules, tests] = ["rcmd.rules.yml", "rcmd.rules.test.yml"]
        .map(|name| fs::read_to_string(folder.join(name)).unwrap());
    let alerts = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let untested: Vec<_> =
        alerts.filter(|alert| !tests.contains(&format!("alertname: {alert}\n"))).collect();
    assert_eq!(untested, [""; 0]);
}

/// A Prometheus that scrapes a world every second.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    fn start(program: &Path, scraped: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules = workspace().join("deploy/prometheus/rcmd.rules.yml");
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: ['{}']\n\
             scrape_configs:\n  - job_name: rcmd\n    static_configs: [{{targets: ['{scraped}']}}]\n",
            rules.display()
        );
        fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        // A port that was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().unwrap();
        eventually("Prometheus listens", || TcpStream::connect(address).is_ok());
        Self { child, address, _folder: folder }
    }

    /// Returns the data of an answer of the API.
    fn data(&self, path: &str) -> Value {
        let response = get(self.address, path);
        let answer: Value = serde_json::from_str(&response.body)
            .unwrap_or_else(|error| panic!("{path}: {error}: {}", response.body));
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    /// Returns how many series an expression has now.
    fn series(&self, expression: &str) -> usize {
        let query: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let data = self.data(&format!("/api/v1/query?query={query}"));
        data["result"].as_array().unwrap().len()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the expressions of the dashboard, with its variables replaced.
fn dashboard() -> Vec<String> {
    let file: PathBuf = workspace().join("deploy/grafana/rcmd.json");
    let whole: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let panels = whole["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let expressions = targets.map(|target| target["expr"].as_str().unwrap());
    expressions
        .map(|text| text.replace("$__rate_interval", "1m").replace("$instance", ".*"))
        .collect()
}

#[test]
fn a_real_prometheus_scrapes_a_server_and_evaluates_the_dashboard_and_the_alerts() {
    let program = require!(skip::need_tool("prometheus"));
    let world = metered().start();
    let prometheus = Prometheus::start(&program, address(&world));
    eventually("it has scraped more than once", || {
        // So that a rate has a change to tell of.
        world.exec(["echo", "x"]).run().assert_code(0);
        prometheus.series("rate(rcmd_commands_started_total[1m]) > 0") == 1
    });
    let up = prometheus.data("/api/v1/targets");
    assert_eq!(up["activeTargets"][0]["health"], "up", "{up}");
    let expressions = dashboard();
    assert!(expressions.len() > 15, "{expressions:?}");
    for expression in &expressions {
        // A server that did not enroll with a token has no list.
        let wanted = usize::from(!expression.contains("rcmd_revocation_list"));
        let found = eventually_some(expression, || {
            let found = prometheus.series(expression);
            (found >= wanted).then_some(found)
        });
        assert!(found >= wanted, "{expression}");
    }
    let rules = eventually_some("each rule was evaluated", || {
        let groups = prometheus.data("/api/v1/rules");
        let rules = groups["groups"][0]["rules"].as_array().unwrap().clone();
        rules.iter().all(|rule| rule["health"] == "ok").then_some(rules)
    });
    assert!(rules.len() >= 9, "{rules:?}");
    for rule in rules {
        // The authority of a test makes a certificate for a while, so none of them has a reason.
        assert_eq!(rule["state"], "inactive", "{rule}");
    }
}
