//! Tests await conditions. They do not sleep, nor wait for time to pass in the guise of a condition.

use std::ops::Range;

use super::tree::{assert_none, files, is_comment, read, short};

/// Files in which tests may sleep, and why.
const ALLOWED: [(&str, &str); 5] = [
    ("tests/src/wait.rs", "what a wait is made of"),
    ("tests/src/sink.rs", "a slow reader"),
    ("tests/src/proxy.rs", "a slow link"),
    ("tests/src/proxy/relay.rs", "a slow link"),
    ("server/src/process/tests.rs", "what a wait for the state of `/proc` is made of"),
];

/// The calls that pause a thread or a task.
const SLEEPS: [&str; 4] = ["thread::sleep", "time::sleep", " sleep(", "(sleep("];

/// The calls that poll a condition.
const POLLS: [&str; 4] = ["eventually(", "eventually_some(", "poll_for(", "until("];

#[test]
fn tests_wait_for_conditions_and_do_not_sleep() {
    let mut sleeps = Vec::new();
    for path in files("rs") {
        let name = short(&path);
        let rules = name.starts_with("tests/tests/tidy/");
        if rules || ALLOWED.iter().any(|(allowed, _)| *allowed == name) {
            continue;
        }
        let text = read(&path);
        sleeps.extend(sleeps_in(&name, &text).into_iter().map(|line| format!("{name}:{line}")));
    }
    assert_none("await a condition with `eventually`", sleeps);
}

/// Returns the lines of a file's tests that wait for time to pass, as `NUMBER: TEXT`.
fn sleeps_in(name: &str, text: &str) -> Vec<String> {
    let lines: Vec<_> = text.lines().collect();
    let tests = test_lines(name, &lines);
    // In virtual time a sleep takes none, and what it waits for is the clock itself.
    let virtual_time = text.contains("start_paused");
    let mut found = Vec::new();
    for (number, line) in lines.iter().enumerate().filter(|(n, _)| tests.contains(n)) {
        let sleeps = !virtual_time && SLEEPS.iter().any(|sleep| line.contains(sleep));
        let polls = POLLS.iter().any(|poll| line.contains(poll));
        let on_clock = || {
            let call = lines[number..].iter().take(4).scan(false, |ended, line| {
                let shown = !*ended;
                *ended = line.trim_end().ends_with(';');
                shown.then_some(*line)
            });
            call.into_iter().any(|line| line.contains(".elapsed()") && line.contains('>'))
        };
        if !is_comment(line) && !line.contains("fn ") && (sleeps || (polls && on_clock())) {
            found.push(format!("{}: {}", number + 1, line.trim()));
        }
    }
    found
}

/// Returns the lines of a file that belong to tests: all in a package of tests, else those of
/// `mod tests`.
fn test_lines(name: &str, lines: &[&str]) -> Range<usize> {
    let of_tests = ["tests/", "fuzz/"].iter().any(|folder| name.starts_with(folder))
        || ["/tests/", "/tests.rs", "/examples/"].iter().any(|part| name.contains(part));
    let begins = lines.windows(2).position(|two| {
        two[0].trim() == "#[cfg(test)]" && two[1].starts_with("mod ") && two[1].ends_with('{')
    });
    match begins {
        _ if of_tests => 0..lines.len(),
        Some(begins) => begins..lines.len(),
        None => 0..0,
    }
}

#[test]
fn a_sleep_is_found_in_whatever_guise() {
    let found = |name: &str, text: &str| sleeps_in(name, text).len();
    let guise = "    eventually(\"over\", || began.elapsed() > Duration::from_secs(3));\n";
    assert_eq!(found("tests/tests/x.rs", guise), 1);
    let broken = "    eventually(\"over\", || {\n        began.elapsed() > WAIT\n    });\n";
    assert_eq!(found("server/tests/x.rs", broken), 1);
    let own = "fn main() { tokio::time::sleep(x).await }\n#[cfg(test)]\nmod tests {\n";
    assert_eq!(found("server/src/x.rs", own), 0);
    assert_eq!(found("server/src/x.rs", &format!("{own}    sleep(x).await;\n}}\n")), 1);
    assert_eq!(found("client/src/x/tests.rs", "    sleep(x).await; // start_paused"), 0);
    let condition = "    eventually(\"x\", || y());\n    assert!(began.elapsed() > x);\n";
    assert_eq!(found("tests/tests/x.rs", condition), 0);
}
