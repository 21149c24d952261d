//! The recipes of `docs/policy.md`: each request below a recipe is judged by it.
#![allow(clippy::disallowed_methods, reason = "tests may wait")]
// A test fails by panicking; clippy exempts test functions, but not the functions beside them.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::{
    ffi::OsString,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcmd_protocol::{
    frame::{Lock, Mode},
    request::Request,
};
use rcmd_server::{
    policy::{
        Access, Action, Denial, Host, HostFacts, RequestContext, Rules, Vocabulary,
        access::{Endpoint, FileFacts, SocketFacts},
        authorize, authorize_access, question,
    },
    process::{Program, Uid},
    trust::{Principal, Way},
};

/// A question as the document writes it:
/// `yes USER/GROUP,... as ACCOUNT [on LABEL] [from ADDRESS] [at HH:MM] [with NAME=VALUE] [under LOCK]: WORDS`.
/// `$ ` before the words makes them a shell line, and `@ACTION ` another action with its object.
struct Line {
    permitted: bool,
    circumstances: Circumstances,
    asked: Asked,
}

/// The circumstances of a request: who asks, where, when, and as whom.
struct Circumstances {
    who: Principal,
    host: Host,
    account: String,
    lock: Option<String>,
    moment: RequestContext,
}

enum Asked {
    Command(Request, HostFacts),
    Access(Access),
}

impl Asked {
    fn action(&self) -> Action {
        match self {
            Self::Command(request, _) => question::action(request),
            Self::Access(access) => access.action(),
        }
    }
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
        let (mut time, mut env, mut lock) = (12 * 60, Vec::new(), None);
        while let Some(word) = head.next() {
            let value = head.next().unwrap();
            match word {
                "as" => account = value,
                "on" => label = value,
                "from" => source = value,
                "under" => lock = Some(value.to_owned()),
                "with" => env.push(value.as_bytes().to_vec()),
                "at" => {
                    let (hours, minutes) = value.split_once(':').unwrap();
                    time = hours.parse::<u64>().unwrap() * 60 + minutes.parse::<u64>().unwrap();
                }
                other => panic!("{other} in {text}"),
            }
        }
        let circumstances = Circumstances {
            who,
            host: Host { name: "host1".into(), labels: vec![label.to_owned()] },
            account: account.to_owned(),
            lock,
            moment: RequestContext {
                source: source.parse().unwrap(),
                way: Way::Tcp,
                time: SystemTime::UNIX_EPOCH + Duration::from_secs(20_000 * 86_400 + time * 60),
            },
        };
        let asked = match command.strip_prefix('@').map(|rest| rest.split_once(' ').unwrap()) {
            Some((action, object)) => Asked::Access(circumstances.access(action, object)),
            None => circumstances.command(command, env),
        };
        Self { permitted, circumstances, asked }
    }
}

impl Circumstances {
    fn uid(&self) -> Uid {
        Uid::from_raw(if self.account == "root" { 0 } else { 1000 })
    }

    fn facts(&self, program: PathBuf) -> HostFacts {
        HostFacts {
            account: self.account.clone().into(),
            uid: self.uid(),
            cwd: "/".into(),
            program: Program { path: program, writable: None, digest: None },
        }
    }

    fn command(&self, text: &str, env: Vec<Vec<u8>>) -> Asked {
        let (mode, args, program) = match text.strip_prefix("$ ") {
            Some(line) => (Mode::Shell, vec![bytes(line)], "bash"),
            None => {
                let name = text.split(' ').next().unwrap();
                (Mode::Exec, text.split(' ').map(bytes).collect(), name)
            }
        };
        let mut request = Request::builder(mode, args);
        request.envs(env);
        self.lock.iter().for_each(|name| {
            request.lock(Lock { name: name.clone(), wait_ms: 0 });
        });
        let request = request.build().unwrap();
        Asked::Command(request, self.facts(Path::new("/usr/bin").join(program)))
    }

    /// Returns a request for an action other than `run` and `shell`: `object` is a path, a size and
    /// a path, an address with its port, or the owner of a command.
    fn access(&self, action: &str, object: &str) -> Access {
        let (account, uid) = (self.account.clone().into(), self.uid());
        let owner = || object.to_owned();
        let file = |size, path: &str| FileFacts {
            path: PathBuf::from(OsString::from_vec(bytes(path))),
            account: self.account.clone().into(),
            uid: self.uid(),
            size,
            lock: self.lock.clone(),
        };
        let endpoint = || {
            let (host, port) = object.rsplit_once(':').unwrap();
            let address = Some(host.parse().unwrap());
            let host = if action == "forward" { host.to_owned() } else { String::new() };
            Endpoint::Port { host, address, port: port.parse().unwrap() }
        };
        match action {
            "terminal" => Access::Terminal(self.facts(object.into())),
            "read" => Access::Read(file(0, object)),
            "write" => {
                let (size, path) = object.split_once(' ').unwrap_or(("0", object));
                Access::Write(file(size.parse().unwrap(), path))
            }
            "forward" => Access::Forward(SocketFacts { account, uid, endpoint: endpoint() }),
            "listen" => Access::Listen(SocketFacts { account, uid, endpoint: endpoint() }),
            "relay" => Access::Relay,
            "attach" => Access::Attach { owner: owner() },
            "list" => Access::List { owner: owner() },
            "kill" => Access::Kill { owner: owner() },
            other => panic!("there is no @{other}"),
        }
    }

    fn rules(&self, text: &str, vocabulary: Vocabulary) -> Rules {
        let rules = Rules::parse(text, self.host.clone(), vocabulary)
            .unwrap_or_else(|flaws| panic!("{}\n{text}", flaws[0]));
        assert_eq!(rules.warnings(), [], "{text}");
        assert_eq!(rules.widened(), [], "{text}");
        rules
    }

    fn judge(&self, rules: &Rules, asked: &Asked) -> Result<Vec<String>, Denial> {
        let slice = rules.slice(&self.who);
        let judged = match asked {
            Asked::Command(request, found) => authorize(&slice, request, found, self.moment),
            Asked::Access(access) => authorize_access(&slice, access, self.moment),
        };
        judged.map(|judged| judged.rules)
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

const VOCABULARIES: [Vocabulary; 2] = [Vocabulary::One, Vocabulary::Two];

#[test]
fn every_recipe_says_what_stands_below_it() {
    let recipes = recipes();
    assert!(recipes.len() >= 10, "{}", recipes.len());
    for (text, lines) in recipes {
        assert!(lines.iter().any(|line| line.starts_with("yes")), "{text}");
        assert!(lines.iter().any(|line| line.starts_with("no")), "{text}");
        for line in lines {
            let Line { permitted, circumstances, asked } = Line::read(&line);
            for vocabulary in VOCABULARIES {
                let rules = circumstances.rules(&text, vocabulary);
                let judged = circumstances.judge(&rules, &asked);
                assert_eq!(judged.is_ok(), permitted, "{line} under {vocabulary:?}: {judged:?}");
            }
        }
    }
}

/// For each recipe, by the first name in it, the actions that it permits to somebody.
const PERMITTED: [(&str, &str); 15] = [
    ("own-commands", "attach list kill"),
    ("oncall-restarts", "run"),
    ("oncall-instances", "run"),
    ("ci-deploys", "run"),
    ("auditors-read", "run"),
    ("support-reads", "read write"),
    ("releases", "run write"),
    ("admins", "run shell terminal"),
    ("admins", "run shell terminal"),
    ("everybody-looks", "run"),
    ("developers-on-staging", "run shell"),
    ("contractors", "run"),
    ("everything", STAFF),
    ("everything", STAFF),
    ("emergency", "run shell terminal attach read write forward listen list kill"),
];
const STAFF: &str = "run shell terminal read write";

/// Each recipe is asked for every action, in the circumstances of each line that stands below it.
#[test]
fn every_recipe_permits_the_actions_that_it_names_and_no_other() {
    let recipes = recipes();
    assert_eq!(recipes.len(), PERMITTED.len());
    for ((text, lines), (name, actions)) in recipes.iter().zip(PERMITTED) {
        assert!(text.trim_start().starts_with(&format!("@id(\"{name}\")")), "{name}: {text}");
        for vocabulary in VOCABULARIES {
            let mut permitted = Vec::new();
            for Line { circumstances, asked, .. } in lines.iter().map(|line| Line::read(line)) {
                let rules = circumstances.rules(text, vocabulary);
                let may = |asked: &Asked| circumstances.judge(&rules, asked).is_ok();
                let plain = |action: Action| match action {
                    Action::Run => circumstances.command("id", Vec::new()),
                    Action::Shell => circumstances.command("$ id", Vec::new()),
                    other => {
                        let objects = ["/usr/bin/bash", "10.0.0.1:80", "127.0.0.1:8080", "nobody"];
                        let object = match other {
                            Action::Terminal | Action::Read | Action::Write => objects[0],
                            Action::Forward => objects[1],
                            Action::Listen => objects[2],
                            _ => objects[3],
                        };
                        Asked::Access(circumstances.access(other.as_str(), object))
                    }
                };
                permitted.extend(Action::ALL.into_iter().filter(|action| may(&plain(*action))));
                if may(&asked) {
                    permitted.push(asked.action());
                }
            }
            let permitted = Action::ALL.into_iter().filter(|action| permitted.contains(action));
            let permitted: Vec<_> = permitted.map(Action::as_str).collect();
            assert_eq!(permitted.join(" "), actions, "{name} under {vocabulary:?}");
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
    Rules::parse(&all, host, Vocabulary::Two).unwrap_or_else(|flaws| panic!("{}", flaws[0]));
}
