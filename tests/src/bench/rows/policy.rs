//! The processor time that it takes to judge one request, with few and with many rules.

use std::net::IpAddr;
use std::time::SystemTime;

use anyhow::{Result, anyhow};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use rcmd_protocol::request::Request;
use rcmd_server::policy::{Host, HostFacts, RequestContext, Rules, Vocabulary, authorize};
use rcmd_server::process::look::{Find, Wanted};
use rcmd_server::process::{Looks, Program, Uid};
use rcmd_server::trust::{Principal, Way};

use crate::bench::measure::Race;
use crate::bench::stage::Stage;
use crate::bench::table::{Goal::AtMost, Table};

pub(crate) fn run(stage: &Stage) -> Result<Vec<Table>> {
    let count = stage.options.count(50_000, 2_000);
    let mut race = Race::new();
    // Of 1,000 rules those of this peer and action are left: 4, as most hosts have them, or more.
    let cases = [
        ("4 rules", 0, 4, count),
        ("1,000 rules, 4 for the peer", 996, 4, count),
        ("1,000 rules, 100 for the peer", 900, 100, count / 10),
        ("1,000 rules, all for the peer", 0, 1_000, count / 50),
    ];
    for (name, others, own, count) in cases {
        let rules = rules(others, own)?;
        race.add(name, move || Ok([judged(&rules, count)?]));
    }
    race.add("the program looked at", || Ok([looked_at(count / 10)?]));
    let ([times], failed) = race.run(stage.options.rounds());
    let mut table = Table::new("policy", "one request judged, processor time", "us");
    for (one, limit) in times.iter().zip([Some(50.0), Some(50.0), None, None, Some(50.0)]) {
        table.add_ratio(format!("{}, us", one.name), one.median(), limit.map(AtMost));
    }
    table.failures = failed;
    Ok(vec![table.with(times)])
}

/// Returns rules for others, and rules for the peer of which the last one permits.
fn rules(others: usize, own: usize) -> Result<Rules> {
    let rule = |name: &str, group: &str, verb: &str| {
        format!(
            "@id(\"{name}\") permit (principal in Group::\"{group}\", action == Action::\"run\", resource)\n\
             when {{ context.program == \"/usr/bin/systemctl\" && context.account == \"root\" &&\n\
             context.argv == [\"0=systemctl\", \"1={verb}\", \"2=nginx\"] }};\n"
        )
    };
    let others = (0..others).map(|n| rule(&format!("other-{n}"), &format!("g{n}"), "restart"));
    let own = (1..=own).map(|n| {
        let verb = if n == own { "restart".to_owned() } else { format!("verb-{n}") };
        rule(&format!("own-{n}"), "oncall", &verb)
    });
    let text: String = others.chain(own).collect();
    let host = Host { name: "web1".to_owned(), labels: vec!["web".to_owned()] };
    Rules::parse(&text, host, Vocabulary::Two).map_err(|flaws| anyhow!("{flaws:?}"))
}

/// Returns the microseconds that it takes to judge one request, its slice looked up as a connection
/// does.
fn judged(rules: &Rules, count: usize) -> Result<f64> {
    let who = Principal { user: "alice".to_owned(), groups: vec!["oncall".to_owned()] };
    let words = ["systemctl", "restart", "nginx"];
    let request = Request::exec(words).build()?;
    let program = Program { path: "/usr/bin/systemctl".into(), writable: None, digest: None };
    let found = HostFacts { account: "root".into(), uid: Uid::ROOT, cwd: "/root".into(), program };
    let one = || {
        let source = IpAddr::from([192, 0, 2, 7]);
        let moment = RequestContext { source, way: Way::Tcp, time: SystemTime::now() };
        authorize(&rules.slice(&who), &request, &found, moment)
            .map_err(|denial| anyhow!("{denial}"))
    };
    one()?;
    let began = spent()?;
    for _ in 0..count {
        std::hint::black_box(one()?);
    }
    Ok((spent()? - began) / count as f64)
}

/// Returns the microseconds that it takes to look at a program and the folders above it.
fn looked_at(count: usize) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let looks = Looks::here();
    let find = Find {
        home: "/".into(),
        cwd: None,
        program: Wanted::Named("/usr/bin/env".into()),
        search: "/usr/bin".into(),
        uid: Uid::ROOT,
    };
    let began = spent()?;
    for _ in 0..count {
        std::hint::black_box(runtime.block_on(looks.find(None, find.clone()))?);
    }
    Ok((spent()? - began) / count as f64)
}

/// Returns the microseconds of processor time that this thread has used: others on the machine
/// don't count.
fn spent() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD)?;
    Ok((usage.user_time() + usage.system_time()).num_microseconds() as f64)
}
