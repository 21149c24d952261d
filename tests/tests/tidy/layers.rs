//! The layers of each crate: its rooms, from the lowest to the highest. A room is a module of the first
//! level, `X.rs` with `X/`, and imports only rooms that stand before it.

/// A crate.
pub(crate) struct Layers {
    /// Its name in code.
    pub(crate) name: &'static str,
    /// Its folder.
    pub(crate) folder: &'static str,
    /// Its rooms, the lowest first.
    pub(crate) rooms: &'static [&'static str],
}

/// The crates that users run, and what they are made of.
pub(crate) const CRATES: [Layers; 6] = [
    Layers {
        name: "rcmd_protocol",
        folder: "protocol",
        rooms: &[
            "limits",
            "ids",
            "signal",
            "outcome",
            "digest",
            "error",
            "request",
            "frame",
            "compression",
            "stream",
            "connection",
            "outbox",
            "io",
        ],
    },
    Layers {
        name: "rcmd_certs",
        folder: "certs",
        rooms: &[
            "clock",
            "text",
            "pem",
            "log",
            "secret",
            "names",
            "paths",
            "files",
            "fingerprint",
            "x509",
            "identity",
            "mapping",
            "crl",
            "listen",
            "tls",
            "signature",
            "explain",
            "enroll",
        ],
    },
    Layers {
        name: "rcmd_authority",
        folder: "certs/authority",
        rooms: &["ca", "state", "server", "backup", "cli"],
    },
    Layers {
        name: "rcmd_server",
        folder: "server",
        rooms: &[
            "clock",
            "units",
            "glob",
            "workers",
            "trust",
            "process",
            "policy",
            "audit",
            "config",
            "admission",
            "job",
            "state",
            "request",
            "net",
            "daemon",
            "parsers",
            "cli",
        ],
    },
    Layers {
        name: "rcmd_client",
        folder: "client",
        rooms: &[
            "target", "report", "link", "stdin", "stream", "child", "command", "renewal", "config",
            "connect", "client",
        ],
    },
    Layers {
        name: "rcmd_client_cli",
        folder: "client/cli",
        rooms: &[
            "status",
            "text",
            "terminal",
            "duration",
            "command",
            "input",
            "output",
            "arguments",
            "settings",
            "signals",
            "interrupts",
            "notices",
            "session",
            "run",
            "commands",
            "doctor",
            "enroll",
            "parsers",
        ],
    },
];
