//! A rule for what identities share: each queue in the code stands in the table of shares.

use rcmd_tests::binaries::workspace;

use super::tree::{assert_none, files, read, short};

/// The calls that make something of which there is only so much.
const BOUNDED: [&str; 4] =
    ["mpsc::channel(", "mpsc::channel::<", "sync_channel(", "Semaphore::new("];

/// The row of docs/operating.md, under Shares, that is about the queues of a file.
const ROWS: [(&str, &str); 10] = [
    ("certs/authority/src/server/worker.rs", "the authority's thread"),
    ("certs/src/log/queue.rs", "lines for the log"),
    ("protocol/src/io/reader_group.rs", "the work of reading connections"),
    ("server/src/admission/judging.rs", "judging what running transfers ask"),
    ("server/src/control/serve.rs", "connections to the local socket"),
    ("server/src/audit/journal.rs", "the copy for systemd's journal"),
    ("server/src/job.rs", "messages that wait for a command"),
    ("server/src/job/idempotency.rs", "the thread that writes keys"),
    ("server/src/process/launcher/places.rs", "starts that have not executed their program"),
    ("server/src/process/look/helpers.rs", "helpers"),
];

#[test]
fn every_bounded_queue_has_its_row_in_the_table_of_shares() {
    let text = read(&workspace().join("docs/operating.md"));
    let (_, shares) = text.split_once("\n### Shares\n").expect("the section");
    let has_row = |what: &str| shares.contains(&format!("\n| {what} |"));
    let mut wrong: Vec<_> = ROWS
        .iter()
        .filter(|(_, what)| !has_row(what))
        .map(|(file, what)| format!("{file}: there is no row `{what}`"))
        .collect();
    let mut used = Vec::new();
    for path in files("rs") {
        let name = short(&path);
        let is_served = ["server/src/", "certs/authority/src/", "certs/src/", "protocol/src/"]
            .iter()
            .any(|folder| name.starts_with(folder));
        let text = read(&path);
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        if is_served
            && !name.ends_with("tests.rs")
            && !name.contains("/tests/")
            && BOUNDED.iter().any(|what| code.contains(what))
        {
            match ROWS.iter().any(|(file, _)| *file == name) {
                true => used.push(name),
                false => wrong.push(format!(
                    "{name}: say under Shares, and in this test, whose part of it is what"
                )),
            }
        }
    }
    wrong.extend(
        ROWS.iter()
            .filter(|(file, _)| !used.iter().any(|name| name == file))
            .map(|(file, _)| format!("{file} has no queue any more")),
    );
    assert_none("shares", wrong);
}
