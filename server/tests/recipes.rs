//! The recipes of `docs/policy.md`: each request below a recipe is judged by it.
#![allow(clippy::disallowed_methods, reason = "tests may wait")]
// A test fails by panicking; clippy exempts test functions, but not the functions beside them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcmd_protocol::{frame::Mode, request::Request};
use rcmd_server::{
    policy::{Host, HostFacts, RequestContext, Rules, Vocabulary, authorize},
    process::{Program, Uid},
    trust::{Principal, Way},
};

/// A request as the document writes it:
/// `yes USER/GROUP,... as ACCOUNT [on LABEL] [from ADDRESS] [at HH:MM] [with NAME=VALUE]: WORDS`.
struct Line {
    permitted: bool,
    who: Principal,
    host: Host,
    request: Request,
    found: HostFacts,
    moment: RequestContext,
}

impl Line {
    fn read(text: &str) -> Self {
        let (head, command) = text.split_once(": ").unwrap_or_else(|| panic!("{text}"));
        let mut head = head.split_whitespace();
        let permitted = match head.next() {
            Some("yes") => true,
            Some("no") => false,
            other => panic!("{other:?} in {text}"),
        };
        let who = head.next().unwrap();
        let (user, groups) = who.split_once('/').unwrap_or((who, ""));
        let groups = groups.split(',').filter(|group| !group.is_empty()).map(str::to_owned);
        let who = Principal { user: user.to_owned(), groups: groups.collect() };
        let (mut account, mut label, mut source) = ("root", "web", "192.0.2.1");
        let (mut time, mut env) = (12 * 60, Vec::new());
        while let Some(word) = head.next() {
            let value = head.next().unwrap();
            match word {
                "as" => account = value,
                "on" => label = value,
                "from" => source = value,
                "with" => env.push(value.as_bytes().to_vec()),
                "at" => {
                    let (hours, minutes) = value.split_once(':').unwrap();
                    time = hours.parse::<u64>().unwrap() * 60 + minutes.parse::<u64>().unwrap();
                }
                other => panic!("{other} in {text}"),
            }
        }
        let (mode, args) = match command.strip_prefix("$ ") {
            Some(line) => (Mode::Shell, vec![bytes(line)]),
            None => (Mode::Exec, command.split(' ').map(bytes).collect()),
        };
        let program = match (mode, command.split(' ').next().unwrap()) {
            (Mode::Shell, _) => PathBuf::from("/usr/bin/bash"),
            (Mode::Exec, name) => Path::new("/usr/bin").join(name),
        };
        Self {
            permitted,
            who,
            host: Host { name: "host1".into(), labels: vec![label.to_owned()] },
            request: Request::builder(mode, args).envs(env).build().unwrap(),
            found: HostFacts {
                account: account.into(),
                uid: Uid::from_raw(if account == "root" { 0 } else { 1000 }),
                cwd: "/".into(),
                program: Program { path: program, writable: None, digest: None },
            },
            moment: RequestContext {
                source: source.parse().unwrap(),
                way: Way::Tcp,
                time: SystemTime::UNIX_EPOCH + Duration::from_secs(20_000 * 86_400 + time * 60),
            },
        }
    }
}

fn bytes(text: &str) -> Vec<u8> {
    match text.split_once("\\xff") {
        Some((before, after)) => [before.as_bytes(), b"\xff", &bytes(after)].concat(),
        None => text.as_bytes().to_vec(),
    }
}

/// Returns the rules of each recipe, with the requests below it.
fn recipes() -> Vec<(String, Vec<String>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/policy.md");
    let document = std::fs::read_to_string(path).unwrap();
    let (_, recipes) = document.split_once("\n## Recipes\n").unwrap();
    let (mut rules, mut found) = (String::new(), Vec::new());
    for block in recipes.split("\n```").skip(1).step_by(2) {
        match block.split_once('\n').unwrap() {
            ("cedar", text) => rules = text.to_owned(),
            ("text", text) => {
                let lines = text.lines().filter(|line| !line.is_empty()).map(str::to_owned);
                found.push((rules.clone(), lines.collect()));
            }
            (kind, _) => panic!("a block of {kind}"),
        }
    }
    found
}

#[test]
fn every_recipe_says_what_stands_below_it() {
    let recipes = recipes();
    assert!(recipes.len() >= 10, "{}", recipes.len());
    for (text, lines) in recipes {
        assert!(lines.iter().any(|line| line.starts_with("yes")), "{text}");
        assert!(lines.iter().any(|line| line.starts_with("no")), "{text}");
        for line in lines {
            let Line { permitted, who, host, request, found, moment } = Line::read(&line);
            let rules = Rules::parse(&text, host, Vocabulary::One)
                .unwrap_or_else(|flaws| panic!("{}\n{text}", flaws[0]));
            assert_eq!(rules.warnings(), [], "{text}");
            let judged = authorize(&rules.slice(&who), &request, &found, moment);
            assert_eq!(judged.is_ok(), permitted, "{line}: {judged:?}");
        }
    }
}

#[test]
fn the_recipes_stand_together_in_one_file() {
    let mut all = String::new();
    for (number, (text, _)) in recipes().into_iter().enumerate() {
        all += &text.replace("@id(\"", &format!("@id(\"{number}-"));
    }
    let host = Host { name: "host1".into(), labels: Vec::new() };
    Rules::parse(&all, host, Vocabulary::One).unwrap_or_else(|flaws| panic!("{}", flaws[0]));
}
