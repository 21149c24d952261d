//! `--fold` puts hosts together as `clush -b` does: both are given the same outputs.
//!
//! Where they differ on purpose, no case asks or the comparison leaves it out:
//!
//! - clush shows no hosts without output; rcmd does.
//! - clush takes a carriage return for an end of line; to rcmd it is a byte like others.
//! - clush prints standard error at once; rcmd folds it too.
//! - clush shows groups of one status together; rcmd, which says the status of each, the largest first.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rcmd_tests::many::{self, exec};
use rcmd_tests::{Random, World, require, skip};

const RULE: &[u8] = b"---------------\n";

/// The output and the status of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    output: Vec<u8>,
    code: u8,
}

fn says(output: impl AsRef<[u8]>) -> Answer {
    Answer { output: output.as_ref().to_vec(), code: 0 }
}

/// A group that was shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    names: String,
    count: usize,
    output: Vec<u8>,
}

/// The hosts whose output rcmd and clush show in groups.
struct Stage {
    world: World,
    clush: PathBuf,
    folder: PathBuf,
    script: PathBuf,
}

impl Stage {
    fn new(clush: PathBuf) -> Self {
        let world = World::start();
        let hosts = (1..=99).fold(String::new(), |mut text, number| {
            many::put_host(&mut text, &format!("a{number:02}"), world.address());
            text
        });
        many::write_hosts_toml(&world.client_dir().join("hosts.toml"), &hosts);
        let (folder, script) = (world.scratch("answers"), world.scratch("answer"));
        fs::create_dir(&folder).unwrap();
        let line = format!("read code <{0}/$1.code; cat {0}/$1; exit $code\n", folder.display());
        fs::write(&script, line).unwrap();
        Self { world, clush, folder, script }
    }

    /// Lets the hosts `a01`, `a02` and so on answer this, and compares what both show.
    fn compare(&self, what: &str, answers: &[Answer]) {
        for (number, answer) in (1..).zip(answers) {
            fs::write(self.folder.join(format!("a{number:02}")), &answer.output).unwrap();
            let code = format!("{}\n", answer.code);
            fs::write(self.folder.join(format!("a{number:02}.code")), code).unwrap();
        }
        let set = format!("a[01-{:02}]", answers.len());
        let (mut ours, mut theirs) = (self.ours(&set), self.theirs(&set));
        let counted: usize = ours.iter().map(|group| group.count).sum();
        assert_eq!(counted, answers.len(), "{what}: each host stands in one group");
        ours.retain(|group| !group.output.is_empty());
        if answers.iter().any(|answer| answer.code != 0) {
            ours.sort();
            theirs.sort();
        }
        if ours != theirs {
            let shown = |groups: &[Group]| {
                let line = |group: &Group| {
                    let start = &group.output[..group.output.len().min(60)];
                    let (names, bytes) = (&group.names, group.output.len());
                    format!("  {names} ({}) {bytes}: {}", group.count, start.escape_ascii())
                };
                groups.iter().map(line).collect::<Vec<_>>().join("\n")
            };
            panic!("{what}:\nrcmd\n{}\nclush\n{}", shown(&ours), shown(&theirs));
        }
    }

    fn ours(&self, set: &str) -> Vec<Group> {
        let script = self.script.to_str().unwrap();
        let client = exec(&self.world, set, &["/bin/sh", script, "{host}"]).option("--fold");
        groups(&client.run().stdout)
    }

    fn theirs(&self, set: &str) -> Vec<Group> {
        let mut command = Command::new(&self.clush);
        command.args(["-R", "exec", "-b", "--nostdin", "-f", "64", "-w", set]);
        command.arg(format!("/bin/sh {} %h", self.script.display()));
        command.env("HOME", self.world.dir()).stdin(Stdio::null());
        let done = command.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        groups(&done.stdout)
    }
}

/// Reads groups: a rule, names and their count, a rule, the output.
fn groups(text: &[u8]) -> Vec<Group> {
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let begins = |at: usize| lines.get(at) == Some(&RULE) && lines.get(at + 2) == Some(&RULE);
    let (mut heads, mut at) = (Vec::new(), 0);
    while at < lines.len() {
        let head = begins(at);
        heads.extend(head.then_some(at));
        at += if head { 3 } else { 1 };
    }
    assert!(heads.first().is_none_or(|head| *head == 0), "{}", text.escape_ascii());
    let ends = heads.iter().skip(1).copied().chain([lines.len()]);
    let group = |(head, end): (&usize, usize)| {
        let heading = String::from_utf8(lines[head + 1].trim_ascii_end().to_vec()).unwrap();
        // clush does not count one.
        let (names, count) = heading.split_once(" (").unwrap_or((&heading, "1)"));
        let count = count.split_once(')').unwrap().0.parse().unwrap();
        Group { names: names.to_owned(), count, output: lines[head + 3..end].concat() }
    };
    heads.iter().zip(ends).map(group).collect()
}

#[test]
fn chosen_outputs_are_folded_as_clush_folds_them() {
    let stage = Stage::new(require!(skip::need_tool("clush")));
    let some = |outputs: &[&str]| outputs.iter().map(says).collect::<Vec<_>>();
    stage.compare("all alike", &vec![says("up\n"); 20]);
    stage.compare("one alone", &some(&["up\n"]));
    stage.compare("all different", &(0..20).map(|n| says(format!("{n}\n"))).collect::<Vec<_>>());
    stage.compare("one is other", &some(&["up\n", "up\n", "down\n", "up\n"]));
    stage.compare("no last newline", &some(&["up", "up\n", "up", "up\nx", "up\nx\n"]));
    stage.compare("some silent", &some(&["", "up\n", "", "up\n", ""]));
    stage.compare("all silent", &some(&["", "", ""]));
    stage.compare("blanks", &some(&["up\n", "up \n", " up\n", "up\n", "up\t\n"]));
    stage.compare("empty lines", &some(&["\n", "\n\n", "\n", "x\n", "x\n\n", "\nx\n", "x\n\n\n"]));
    let sizes = [5, 1, 3, 3, 7, 1];
    let by_size = (0..).zip(sizes).flat_map(|(n, size)| vec![says(format!("{n}\n")); size]);
    stage.compare("the largest first", &by_size.collect::<Vec<_>>());
    let scattered = (0..40).map(|n| says(format!("{}\n", n * 7 % 5)));
    stage.compare("scattered over the set", &scattered.collect::<Vec<_>>());
    let codes = [0, 1, 0, 1, 3, 0].map(|code| Answer { output: b"up\n".to_vec(), code });
    stage.compare("equal outputs, unequal statuses", &codes);
}

#[test]
fn long_and_odd_outputs_are_folded_as_clush_folds_them() {
    let stage = Stage::new(require!(skip::need_tool("clush")));
    for (what, length) in
        [("a pipe's worth", 64 << 10), ("one more", (64 << 10) + 1), ("1 MiB and more", 1_500_000)]
    {
        let line = vec![b'x'; length];
        let (ended, other) = ([&line, &b"\n"[..]].concat(), [&line, &b"y\n"[..]].concat());
        stage.compare(what, &[&ended, &line, &other, &ended].map(says));
    }
    let many = (0..30_000).map(|n| format!("{n}\n")).collect::<String>();
    let last = format!("{many}end\n");
    stage.compare("only the last of many lines differs", &[&many, &last, &many].map(says));
    let bytes: Vec<u8> = (0..=255).filter(|byte| *byte != b'\r').collect();
    let odd = [&bytes[..], b"\xff\xfe\0\n", b"\x1b[2J\xe5\n", b"\xc3\n", b"\xff\xfe\0\n"];
    stage.compare("bytes of all kinds", &odd.map(says));
    let rules = ["--------------\n", "---------------x\n", "-\n", "a01 (2)\n"];
    stage.compare("what looks like a heading", &rules.map(says));
}

#[test]
fn random_outputs_are_folded_as_clush_folds_them() {
    let stage = Stage::new(require!(skip::need_tool("clush")));
    let long = "0123456789".repeat(7_000) + "\n";
    let pieces: [&[u8]; 9] = [
        b"up\n",
        b"down\n",
        b"\n",
        b"up  \n",
        b"\t\n",
        b"\xff\xfe\0\n",
        "größer\n".as_bytes(),
        long.as_bytes(),
        b"--\n",
    ];
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let pool: Vec<Vec<u8>> = (0..=random.below(4))
            .map(|_| (0..random.below(5)).flat_map(|_| *random.choose(&pieces)).copied().collect())
            .collect();
        let codes: &[u8] = if random.below(3) == 0 { &[0, 0, 0, 1, 7] } else { &[0] };
        let answers: Vec<_> = (0..=random.below(14))
            .map(|_| {
                let mut output = random.choose(&pool).clone();
                if random.below(3) == 0 {
                    output.pop_if(|last| *last == b'\n');
                }
                Answer { output, code: *random.choose(codes) }
            })
            .collect();
        stage.compare(&format!("seed {seed}"), &answers);
    }
}

#[test]
fn the_reader_of_groups_reads_both_forms() {
    let text =
        b"---------------\na[01,03] (2)\n---------------\nx\n\n---------------\na02 (1): failed\n\
                 ---------------\n---------------\na04\n---------------\ny\n---------------\na05\n\
                 ---------------\nz\n";
    let group = |names: &str, count, output: &str| Group {
        names: names.to_owned(),
        count,
        output: output.as_bytes().to_vec(),
    };
    let expected = [
        group("a[01,03]", 2, "x\n\n"),
        group("a02", 1, ""),
        group("a04", 1, "y\n"),
        group("a05", 1, "z\n"),
    ];
    assert_eq!(groups(text), expected);
    assert_eq!(groups(b""), []);
}
