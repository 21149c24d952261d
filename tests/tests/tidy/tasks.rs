//! The places where threads and tasks may be started, standard error be written, and channels
//! without a bound be made.

use super::tree::{assert_none, is_comment, lines_of_rust};

/// The calls that are counted, the folders in which they are, and the files that may make them all
/// the same, each with the reason.
struct Rule {
    calls: &'static [&'static str],
    folders: &'static [&'static str],
    allowed: &'static [(&'static str, &'static str)],
}

const RULES: [Rule; 4] = [
    // A thread that nobody knows of keeps a program from ending, or a host without threads from working.
    Rule {
        calls: &["thread::Builder", "thread::spawn("],
        folders: &["protocol/src/", "protocol/transfer/src/", "certs/", "server/src/", "client/"],
        allowed: &[
            ("certs/authority/src/server/worker.rs", "owns the authority's state"),
            ("certs/src/log/queue.rs", "standard error may block for ever"),
            ("client/cli/src/files/aside.rs", "standard input and the editor wait for people"),
            ("client/cli/src/files/display.rs", "standard output may block for ever"),
            ("client/cli/src/files/engine.rs", "the engine of transfers blocks"),
            ("client/cli/src/files/list.rs", "standard output may block for ever"),
            ("client/cli/src/files/pipe.rs", "its test writes while it reads"),
            ("client/cli/src/fleet/display.rs", "screens and files may block for ever"),
            ("client/cli/src/fleet/runner/ending.rs", "standard error may block after a kill"),
            ("client/cli/src/input.rs", "standard input may block for ever"),
            ("client/cli/src/output/sink.rs", "standard output may block for ever"),
            ("protocol/transfer/src/send/answers.rs", "both ends of a transfer may write at once"),
            ("server/src/audit.rs", "writes the audit, and syncs it"),
            ("server/src/audit/journal.rs", "the journal may block"),
            ("server/src/control.rs", "operators are answered whatever the workers do"),
            ("server/src/daemon/upkeep.rs", "reading the server's own files blocks"),
            ("server/src/job/idempotency.rs", "syncs keys"),
            ("server/src/job/transfer.rs", "its test asks while it answers"),
            ("server/src/process/look/message.rs", "its test writes while it reads"),
            ("server/src/process/reaper.rs", "reading /proc blocks"),
            ("server/src/process/tree/mark.rs", "reading an environment may never return"),
            ("server/src/process/tree/proc.rs", "reading /proc blocks"),
            ("server/src/transfer/asker.rs", "its test answers while it asks"),
            ("server/src/transfer/input.rs", "waits for a signal"),
            ("server/src/transfer/message.rs", "its test writes while it reads"),
            ("server/src/workers.rs", "files of cgroups block, and file systems may be slow"),
        ],
    },
    // A server ends when its tasks have: each is spawned on its tracker.
    Rule {
        calls: &["tokio::spawn("],
        folders: &["server/src/", "certs/authority/src/"],
        allowed: &[],
    },
    // Whoever reads it may stand still: a program that serves writes there by the thread of its log.
    Rule {
        calls: &["io::stderr"],
        folders: &["protocol/src/", "certs/", "server/src/"],
        allowed: &[
            ("certs/authority/src/cli/show.rs", "serves nobody"),
            ("certs/authority/src/main.rs", "serves nobody, or no more"),
            ("certs/src/log.rs", "the log"),
            ("server/src/cli/enroll.rs", "serves nobody"),
            ("server/src/daemon/log.rs", "its log"),
            ("server/src/transfer/helper.rs", "a process that transfers and serves nobody else"),
        ],
    },
    Rule {
        calls: &["unbounded_channel("],
        folders: &["protocol/src/", "certs/", "server/src/", "client/"],
        allowed: &[("client/src/link/order.rs", "callers hold no more orders than they wait for")],
    },
];

#[test]
fn threads_tasks_and_unbounded_channels_stand_in_lists() {
    let mut wrong = Vec::new();
    for rule in &RULES {
        let calls = |name: &str, line: &str| {
            rule.folders.iter().any(|folder| name.starts_with(folder))
                && !["/tests/", "/tests.rs"].iter().any(|part| name.contains(part))
                && !is_comment(line)
                && rule.calls.iter().any(|call| line.contains(call))
        };
        let allowed = |name: &str| rule.allowed.iter().any(|(file, _)| *file == name);
        wrong.extend(lines_of_rust(|name, line| calls(name, line) && !allowed(name)));
        for (file, _) in rule.allowed {
            if lines_of_rust(|name, line| name == *file && calls(name, line)).is_empty() {
                wrong.push(format!("{file} stands in the list and needs not"));
            }
        }
    }
    assert_none("use the tracker, a bound, or say why in the list", wrong);
}
