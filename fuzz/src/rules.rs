//! Policies of any text: errors have a place in it, and accepted policies judge requests without a panic.
//!
//! `server/tests/corpus.rs` does the same with every saved input, without cargo-fuzz.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::SystemTime,
};

use rcmd_protocol::{frame::Mode, request::Request};
use rcmd_server::{
    policy::{
        Access, Host, HostFacts, RequestContext, Rules, Vocabulary,
        access::{Endpoint, FileFacts, SocketFacts},
        authorize, authorize_access,
    },
    process::{Program, Uid},
    trust::{Principal, Way},
};

/// Reads the text of a policy and judges one request under it.
pub fn rules(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let host = Host { name: "h".into(), labels: vec!["l".into()] };
    let is_refused = Rules::parse(&text, host.clone(), Vocabulary::Two).is_err();
    match Rules::parse(&text, host, Vocabulary::One) {
        Ok(rules) => {
            // Vocabulary 2 refuses nothing but rules from before, which the first keeps with a warning.
            let mut warnings = rules.warnings().iter();
            assert_eq!(warnings.any(|one| one.message.contains("the rule is kept")), is_refused);
            let (widened, second) = (rules.widened(), rules.under(Vocabulary::Two));
            // The vocabularies differ only in the new actions, and only by the rules that are listed.
            assert_eq!(judge(&rules), judge(&second));
            for access in accesses() {
                if !may(&rules, &access) && may(&second, &access) {
                    let mut actions = widened.iter().flat_map(|rule| &rule.actions);
                    assert!(
                        actions.any(|action| *action == access.action()),
                        "{access}: {widened:?}"
                    );
                }
            }
        }
        Err(wrong) => {
            assert!(!wrong.is_empty() && is_refused);
            let lines = text.matches('\n').count() + 1;
            for one in wrong {
                assert!((1..=lines).contains(&one.line), "{one:?} of {lines} lines");
                assert!(one.column >= 1 && !one.message.is_empty());
                assert!(!one.message.chars().any(char::is_control), "{:?}", one.message);
            }
        }
    }
}

fn who() -> Principal {
    Principal { user: "u".into(), groups: vec!["a".into()] }
}

fn moment() -> RequestContext {
    let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
    RequestContext { source, way: Way::Tcp, time: SystemTime::UNIX_EPOCH }
}

fn accesses() -> [Access; 5] {
    let (account, uid) = (|| "root".into(), Uid::ROOT);
    let endpoint =
        || Endpoint::Port { host: "x".into(), address: Some(moment().source), port: 5432 };
    [
        Access::Read(FileFacts {
            path: "/x".into(),
            account: account(),
            uid,
            size: 1,
            lock: Some("x".into()),
        }),
        Access::Forward(SocketFacts { account: account(), uid, endpoint: endpoint() }),
        Access::Listen(SocketFacts { account: account(), uid, endpoint: endpoint() }),
        Access::Relay,
        Access::Kill { owner: "u".into() },
    ]
}

fn may(rules: &Rules, access: &Access) -> bool {
    let judged = authorize_access(&rules.slice(&who()), access, moment());
    if let Err(denial) = &judged {
        assert!(!denial.reason.chars().any(char::is_control), "{:?}", denial.reason);
    }
    judged.is_ok()
}

/// Judges a program and a line, and returns whether each is permitted.
fn judge(rules: &Rules) -> [bool; 2] {
    let args = ["x", "on"].map(|word| word.as_bytes().to_vec());
    let found = HostFacts {
        account: "root".into(),
        uid: Uid::ROOT,
        cwd: "/".into(),
        program: Program { path: "/bin/x".into(), writable: None, digest: None },
    };
    [Mode::Exec, Mode::Shell].map(|mode| {
        let words = args.iter().take(if mode == Mode::Exec { 2 } else { 1 });
        let request = Request::builder(mode, words.cloned()).build().unwrap();
        let judged = authorize(&rules.slice(&who()), &request, &found, moment());
        if let Err(denial) = &judged {
            assert!(!denial.reason.chars().any(char::is_control), "{:?}", denial.reason);
        }
        judged.is_ok()
    })
}
