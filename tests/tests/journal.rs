//! A real journald gets the audit's copy: each line with its fields, hostile text as what it was.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rcmd_tests::audit::{events, records};
use rcmd_tests::wait::eventually_some;
use rcmd_tests::{World, require, skip};
use serde_json::Value;

const PROGRAM: &str = "/lib/systemd/systemd-journald";

/// A journald in a mount namespace of its own: nothing of it touches the machine's.
struct Journald(Child);

impl Journald {
    fn start() -> Result<Self, String> {
        skip::need_root()?;
        let unshare = skip::need_tool("unshare")?;
        if !Path::new(PROGRAM).exists() {
            return Err("systemd-journald".to_owned());
        }
        let script = format!(
            "mount -t tmpfs rcmd /run && mount -t tmpfs rcmd /var/log &&
             mkdir -p /run/systemd/journal /run/log && exec {PROGRAM}"
        );
        let mut command = Command::new(unshare);
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut journald = Self(command.spawn().unwrap());
        let listens = eventually_some("journald listens", || {
            let listens = journald.inside("run/systemd/journal/socket").exists();
            (listens || journald.0.try_wait().unwrap().is_some()).then_some(listens)
        });
        if listens { Ok(journald) } else { Err("the right to mount".to_owned()) }
    }

    /// Returns a path as it is seen from here.
    fn inside(&self, path: &str) -> PathBuf {
        Path::new("/proc").join(self.0.id().to_string()).join("root").join(path)
    }

    /// Returns the records that the audit has sent to the journal.
    fn entries(&self) -> Vec<Value> {
        let mut journalctl = Command::new("journalctl");
        journalctl.arg("--directory").arg(self.inside("run/log/journal"));
        journalctl.args(["--output", "json", "--no-pager", "SYSLOG_IDENTIFIER=rcmd-audit"]);
        let text = journalctl.output().unwrap().stdout;
        let lines = text.split(|&byte| byte == b'\n').filter(|line| line.starts_with(b"{"));
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }
}

impl Drop for Journald {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn record(entry: &Value) -> Value {
    serde_json::from_str(entry["MESSAGE"].as_str().unwrap()).unwrap()
}

#[test]
fn attempts_starts_ends_and_denials_arrive_and_nothing_is_forged() {
    let journald = require!(Journald::start());
    let socket = journald.inside("run/systemd/journal/socket");
    let mut world = World::builder().prepare();
    let config = format!("[audit]\njournald = {:?}\n", socket.to_str().unwrap());
    std::fs::write(world.dir().join("server.toml"), config).unwrap();
    let rules = r#"
        @id("all") permit (principal, action, resource);
        @id("no-lines") forbid (principal, action == Action::"shell", resource);
    "#;
    std::fs::write(world.dir().join("policy.cedar"), rules).unwrap();
    world.start_server();

    let hostile = "x\nMESSAGE=forged\nRCMD_JOB=evil\nPRIORITY=0\u{1b}[31m\u{202e}é";
    let done = world.exec(["true", hostile]).with_result().run();
    done.assert_code(0);
    world.shell("true").run().assert_code(125);
    let entries = eventually_some("the denial arrives", || {
        let entries = journald.entries();
        entries.iter().any(|entry| record(entry)["event"] == "denial").then_some(entries)
    });

    let written = records(&world);
    for entry in &entries {
        let record = record(entry);
        assert!(written.contains(&record), "{record}");
        assert_eq!(entry["RCMD_SEQ"], record["seq"].to_string());
        assert_eq!(entry["RCMD_JOB"], record["job"]);
        assert_eq!(entry["PRIORITY"], if record["event"] == "denial" { "4" } else { "6" });
        assert_eq!(entry["_PID"], world.pid().to_string());
    }
    let arrived: Vec<_> = entries.iter().map(record).collect();
    let ran = done.result();
    assert_eq!(events(&arrived, ran["job"].as_str().unwrap()), ["attempt", "start", "end"]);
    let attempt = arrived.iter().find(|record| record["event"] == "attempt").unwrap();
    assert_eq!(attempt["args"], serde_json::json!(["true", hostile]));
    let denial = arrived.iter().find(|record| record["event"] == "denial").unwrap();
    assert_eq!(events(&arrived, denial["job"].as_str().unwrap()), ["attempt", "denial"]);
    assert_eq!(denial["rules"], serde_json::json!(["no-lines"]));
}
