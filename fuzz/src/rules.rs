//! Policies of any text: errors have a place in it, and accepted policies judge requests without a panic.
//!
//! `server/tests/corpus.rs` does the same with every saved input, without cargo-fuzz.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::SystemTime,
};

use rcmd_protocol::{frame::Mode, request::Request};
use rcmd_server::{
    policy::{Host, HostFacts, RequestContext, Rules, authorize},
    process::{Program, Uid},
    trust::Principal,
};

/// Reads the text of a policy and judges one request under it.
pub fn rules(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let host = Host { name: "h".into(), labels: vec!["l".into()] };
    match Rules::parse(&text, host) {
        Ok(rules) => judge(&rules),
        Err(wrong) => {
            assert!(!wrong.is_empty());
            let lines = text.matches('\n').count() + 1;
            for one in wrong {
                assert!((1..=lines).contains(&one.line), "{one:?} of {lines} lines");
                assert!(one.column >= 1 && !one.message.is_empty());
                assert!(!one.message.chars().any(char::is_control), "{:?}", one.message);
            }
        }
    }
}

fn judge(rules: &Rules) {
    let who = Principal { user: "u".into(), groups: vec!["a".into()] };
    let args = ["x", "on"].map(|word| word.as_bytes().to_vec());
    let found = HostFacts {
        account: "root".into(),
        uid: Uid::ROOT,
        cwd: "/".into(),
        program: Program { path: "/bin/x".into(), writable: None, digest: None },
    };
    for mode in [Mode::Exec, Mode::Shell] {
        let words = args.iter().take(if mode == Mode::Exec { 2 } else { 1 });
        let request = Request::builder(mode, words.cloned()).build().unwrap();
        let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let moment = RequestContext { source, time: SystemTime::UNIX_EPOCH };
        if let Err(denial) = authorize(&rules.slice(&who), &request, &found, moment) {
            assert!(!denial.reason.chars().any(char::is_control), "{:?}", denial.reason);
        }
    }
}
