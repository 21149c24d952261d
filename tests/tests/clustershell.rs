//! Sets of hosts mean what they mean to ClusterShell: generated expressions, read by both.
//!
//! `RCMD_TEST_EXPRESSIONS` asks for more of them than the 5,000 of every run.

use std::io::{BufRead as _, BufReader, Seek as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rcmd_client::Target;
use rcmd_client::hosts::{Evaluation, Expression, Fault, HostSet};
use rcmd_client::inventory::{Inventory, Members, Source};
use rcmd_tests::{Random, World, require, skip};
use serde_json::{Value, json};

const GROUPS: [(&str, &str); 6] = [
    ("web", "web[1-5]"),
    ("db", "db[01-03],db1"),
    ("rack1", "n[1-12]"),
    ("rack2", "n[3-6]!n4,dc1n2"),
    ("mix", "@web,@rack1&n[2-30]"),
    ("dc", "dc[1-2]n[1-3]"),
];

/// All hosts of the groups. ClusterShell is told these, since it would join the texts of the
/// groups, operators and all.
const ALL: &str = "web[1-5],db[01-03,1],n[1-12],dc[1-2]n[1-3]";

/// Returns a Python that has the library.
fn need_clustershell() -> Result<PathBuf, String> {
    let all = [skip::need_tool("python3")?, PathBuf::from("/usr/bin/python3")];
    let has = |python: &PathBuf| {
        let mut import = Command::new(python);
        import.args(["-c", "import ClusterShell"]).stderr(Stdio::null());
        import.status().is_ok_and(|status| status.success())
    };
    all.into_iter().find(has).ok_or_else(|| "python3-clustershell".to_owned())
}

fn inventory() -> Inventory {
    let mut source = Source::new("hosts", "hosts.toml".as_ref());
    for (name, members) in GROUPS {
        source.set_group(name, Members::Expression(members.to_owned()));
    }
    let mut inventory = Inventory::default();
    inventory.add(source);
    inventory
}

/// A generator of expressions in our alphabet, most of them right.
struct Generator(Random);

impl Generator {
    fn number(&mut self) -> String {
        let number = match self.0.below(6) {
            0 => self.0.below(3),
            1 => self.0.below(1_200),
            _ => self.0.below(14),
        };
        let width = *self.0.choose(&[0, 0, 0, 0, 2, 2, 3]);
        format!("{number:0width$}")
    }

    fn range(&mut self) -> String {
        match self.0.below(12) {
            0..=3 => self.number(),
            4 => format!("{}-{}", self.number(), self.number()),
            5 => format!("{}/{}", self.number(), self.0.below(3)),
            which => {
                let first = self.0.below(20);
                let last = first + self.0.below(if which == 6 { 90 } else { 6 });
                let width = *self.0.choose(&[0, 0, 0, 2, 3]);
                let step = match self.0.below(5) {
                    0 => format!("/{}", 1 + self.0.below(4)),
                    _ => String::new(),
                };
                format!("{first:0width$}-{last:0width$}{step}")
            }
        }
    }

    fn brackets(&mut self) -> String {
        let count = *self.0.choose(&[1, 1, 1, 2, 3]);
        let ranges: Vec<_> = (0..count).map(|_| self.range()).collect();
        format!("[{}]", ranges.join(","))
    }

    fn name(&mut self) -> String {
        let mut name = self.0.choose(&["n", "n", "n", "web", "dc", "db", "a-", "x.y"]).to_string();
        for _ in 0..*self.0.choose(&[0, 1, 1, 1, 1, 1, 2, 2, 3]) {
            match self.0.below(5) {
                0 => name += &self.number(),
                1 => name += &format!("{}{}", self.number(), self.brackets()),
                _ => name += &self.brackets(),
            }
            match self.0.below(8) {
                0 => {}
                1 => name += &self.number(),
                2 => name += "-ib",
                3 => name += ".e",
                _ => name += "n",
            }
        }
        name
    }

    fn term(&mut self) -> String {
        match self.0.below(24) {
            0 => format!("@{}", self.0.choose(&GROUPS).0),
            1 => format!("@hosts:{}", self.0.choose(&GROUPS).0),
            2 => "@rack[1-2]".to_owned(),
            3 => self.0.choose(&["@*", "@hosts:*"]).to_string(),
            4 => self.0.choose(&["web*", "n?", "*[1-3]", "d?0*", "*n*", "n1[0-2]*"]).to_string(),
            _ => self.name(),
        }
    }

    fn expression(&mut self) -> String {
        let mut text = self.term();
        for _ in 0..*self.0.choose(&[0, 0, 1, 1, 2, 2, 3, 5]) {
            let operator = *self.0.choose(&[",", ",", "!", "&", "^"]);
            // Related terms, so that they overlap.
            let term = if self.0.below(4) == 0 { "n[1-30/3]".to_owned() } else { self.term() };
            text = format!("{text}{operator}{term}");
        }
        if self.0.below(40) == 0 {
            let at = self.0.below(text.len() as u64 + 1) as usize;
            text.insert(at, *self.0.choose(&[',', '[', ']', '!', '-', '/', '0', '@']));
        }
        text
    }
}

fn evaluated(text: &str, inventory: &Inventory) -> Result<HostSet, Fault> {
    let read = Expression::parse(text).map_err(|error| *error.fault)?;
    Evaluation::new(inventory).evaluate(&read).map_err(|error| *error.fault)
}

fn sorted(set: &HostSet) -> Vec<&str> {
    let mut names: Vec<_> = set.iter().map(|name| &**name).collect();
    names.sort_unstable();
    names
}

#[test]
fn sets_and_their_folding_are_clustershells() {
    let python = require!(need_clustershell());
    let count = std::env::var("RCMD_TEST_EXPRESSIONS").map_or(5_000, |text| text.parse().unwrap());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clustershell/oracle.py");
    // All are asked at once, so that both sides work at the same time.
    let mut generator = Generator(Random::new(12));
    let expressions: Vec<_> = (0..count).map(|_| generator.expression()).collect();
    let mut asks = tempfile::tempfile().unwrap();
    let groups: Value =
        GROUPS.iter().map(|(name, text)| ((*name).to_owned(), json!(text))).collect();
    writeln!(asks, "{groups}\n{}", json!(ALL)).unwrap();
    let lines: String = expressions.iter().map(|text| json!(text).to_string() + "\n").collect();
    asks.write_all(lines.as_bytes()).unwrap();
    asks.rewind().unwrap();
    let mut oracle = Command::new(python);
    let mut oracle = oracle.arg(script).stdin(asks).stdout(Stdio::piped()).spawn().unwrap();
    let mut answers = BufReader::new(oracle.stdout.take().unwrap());

    let inventory = inventory();
    let (mut equal, mut refused, mut ours_alone, mut theirs_alone) = (0, 0, 0, 0);
    let mut folded_otherwise = Vec::new();
    let mut differing = Vec::new();
    for text in expressions {
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        match (evaluated(&text, &inventory), answer["set"].as_array()) {
            (Ok(set), Some(theirs)) => {
                let theirs: Vec<_> = theirs.iter().map(|name| name.as_str().unwrap()).collect();
                let folded = set.fold();
                if sorted(&set) != theirs {
                    differing
                        .push(told(&format!("{text}: {:?}, theirs: {theirs:?}", sorted(&set))));
                    continue;
                }
                if folded != answer["fold"].as_str().unwrap() {
                    folded_otherwise.push(format!("{text}: {folded}, theirs: {}", answer["fold"]));
                }
                if !set.is_empty() {
                    let again = evaluated(&folded, &inventory);
                    assert!(again.is_ok_and(|again| sorted(&again) == theirs), "{text}");
                }
                equal += 1;
            }
            (Err(_), None) => refused += 1,
            // What it takes for another set than its user means, a name that is an option, and a
            // wildcard for nothing: these we refuse.
            (
                Err(
                    Fault::DigitsBeforeGrowth
                    | Fault::BadCharacter('@')
                    | Fault::Unmatched { .. }
                    | Fault::Dash
                    | Fault::User { .. }
                    | Fault::WildGroup
                    | Fault::MissingNumber
                    | Fault::MissingGroup
                    | Fault::UnknownGroup { .. },
                ),
                Some(_),
            ) => ours_alone += 1,
            // More names than we take.
            (Err(Fault::TooMany(_)), Some(_)) => ours_alone += 1,
            // `[1-2]000000000`, whose ends are a billion apart, which is more than it takes.
            (Ok(_), None) if answer["error"] == "AssertionError: range too large" => {
                theirs_alone += 1;
            }
            // `[1-5-27]`, of which it makes something.
            (Err(Fault::NoNumber(text)), Some(_)) if text.contains('-') => ours_alone += 1,
            // `[0-000]`, of which it drops the zeros.
            (Err(Fault::UnequalWidths(ends)), Some(_)) if !ends.contains(|c| !"0-".contains(c)) => {
                ours_alone += 1;
            }
            (ours, _) => differing.push(told(&format!("{text}: {ours:?}, theirs: {answer}"))),
        }
    }
    assert!(oracle.wait().unwrap().success());
    eprintln!(
        "{equal} equal, of which {} are folded otherwise; {refused} refused by both, {ours_alone} by us \
         alone, {theirs_alone} by ClusterShell alone\n{}",
        folded_otherwise.len(),
        folded_otherwise.join("\n"),
    );
    let differences = differing.len();
    differing.truncate(20);
    assert!(differing.is_empty(), "{differences} differ:\n{}", differing.join("\n"));
    assert!(equal * 2 > count && ours_alone * 20 < count, "{equal} {refused} {ours_alone}");
    assert!(theirs_alone * 1_000 < count, "{theirs_alone}");
    // Where several foldings are as short, the two choose another one now and then.
    assert!(folded_otherwise.len() * 5_000 <= count, "{}", folded_otherwise.len());
}

/// Returns the beginning of what is told of a difference: a set may have a million names.
fn told(text: &str) -> String {
    text.chars().take(1_000).collect()
}

#[test]
fn the_subcommand_prints_what_nodeset_prints() {
    let nodeset = require!(skip::need_tool("nodeset"));
    let world = World::builder().prepare();
    let mut generator = Generator(Random::new(200));
    let mut compared = 0;
    while compared < 200 {
        let text = generator.expression();
        if text.contains(['@', '*', '?']) || text.starts_with('-') {
            continue;
        }
        let Ok(set) = evaluated(&text, &Inventory::default()) else { continue };
        let reached = |name: &&str| name.parse::<Target>().is_ok();
        if set.is_empty() || !sorted(&set).iter().all(reached) {
            continue;
        }
        compared += 1;
        let theirs = Command::new(&nodeset).args(["-f", &text]).output().unwrap();
        let ours = world.bare_client(["hosts", "--quiet", "--fold", &text]).run();
        ours.assert_code(0);
        assert_eq!(ours.stdout_text(), String::from_utf8_lossy(&theirs.stdout), "{text}");
    }
}
