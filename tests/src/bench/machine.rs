//! The machine on which the figures were measured.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

pub(crate) struct Machine {
    processor: String,
    cores: usize,
    memory_mib: u64,
    kernel: String,
    system: String,
    rcmd: &'static str,
    date: String,
}

impl Machine {
    pub(crate) fn here() -> Self {
        let field = |file: &str, name: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.map(|rest| rest.trim_matches([' ', '\t', ':', '=', '"']).to_owned())
        };
        let unknown = || "unknown".to_owned();
        let memory = field("/proc/meminfo", "MemTotal:");
        let memory = memory.and_then(|line| line.split(' ').next()?.parse::<u64>().ok());
        Self {
            processor: field("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: memory.unwrap_or(0) / 1024,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| unknown(), |text| text.trim().to_owned()),
            system: field("/etc/os-release", "PRETTY_NAME").unwrap_or_else(unknown),
            rcmd: env!("CARGO_PKG_VERSION"),
            date: said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_else(unknown),
        }
    }

    pub(crate) fn text(&self) -> String {
        let Self { processor, cores, memory_mib, kernel, system, rcmd, date } = self;
        let flavour = if cfg!(debug_assertions) { " (bench itself is a debug build)" } else { "" };
        format!(
            "Measured {date}: {processor}, {cores} cores, {memory_mib} MiB, Linux {kernel}, {system}; \
             rcmd {rcmd}{flavour}. {}",
            load().map_or_else(String::new, |load| {
                let busy = load > 2.0 * *cores as f64;
                let others =
                    if busy { ": others used the machine, which widens all spreads" } else { "" };
                format!("Load of the last 15 minutes: {load}{others}.")
            })
        )
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "processor": self.processor, "cores": self.cores, "memory_mib": self.memory_mib,
            "kernel": self.kernel, "system": self.system, "rcmd": self.rcmd, "date": self.date,
        })
    }
}

/// Returns the load average of the last 15 minutes (proc(5)): what else the machine did meanwhile
/// shows in it.
fn load() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').nth(2)?.parse().ok()
}

/// Runs a program and returns the first line that it prints, on whichever stream.
pub(crate) fn said(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&text).lines().next().map(|line| line.trim().to_owned())
}
