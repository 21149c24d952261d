//! An authority that is killed at random moments while members enroll and renew: a token is used once
//! or not at all, and nothing that was signed goes unrecorded.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rcmd_certs::Layout;
use rcmd_certs::enroll::token::Token;
use rcmd_certs::enroll::{EnrollError, EnrollmentOptions, Fetched, Kind, Member, enroll};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinSet, spawn_blocking};

use super::Judged;
use crate::Random;
use crate::authority::Serving;
use crate::wait::{DEADLINE, eventually, random_moment};

/// Members that enroll in each round; as many renew.
const AT_ONCE: usize = 4;

/// The longest time from the start of a round to the kill.
const LONGEST: Duration = Duration::from_millis(120);

/// The figures of all rounds.
#[derive(Debug, Default)]
pub struct Figures {
    /// The number of kills.
    pub kills: u64,
    /// Members that enrolled.
    pub enrolled: usize,
    /// Certificates that were renewed.
    pub renewed: usize,
    /// Asks that had to be made again because of a kill.
    pub repeated: usize,
    /// Certificates that were signed and never left, by the journal.
    pub void: usize,
    /// Descriptions of what should not have been.
    pub wrong: Vec<String>,
    /// The time from the first round to the last.
    pub elapsed: Duration,
}

impl Judged for Figures {
    /// Returns whether all was as it should be.
    fn are_good(&self) -> bool {
        self.wrong.is_empty()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "authority: {} kills, {} enrolled, {} renewed, {} asked again, {} void, {:.1} s",
            self.kills,
            self.enrolled,
            self.renewed,
            self.repeated,
            self.void,
            self.elapsed.as_secs_f64()
        )?;
        for wrong in &self.wrong {
            writeln!(formatter, "  wrong: {wrong}")?;
        }
        Ok(())
    }
}

/// Kills the authority so often, at moments that follow from `seed`.
///
/// # Panics
///
/// When a program can't be run.
#[must_use]
pub fn run(kills: u64, seed: u64) -> Figures {
    let start = Instant::now();
    // So short a life that no renewal is answered with the certificate before.
    let mut authority = Serving::with("client_life = \"5s\"\n");
    let runtime =
        Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("tokio");
    let (mut random, mut figures) = (Random::new(seed), Figures::default());
    let mut members: Vec<Layout> = Vec::new();
    let mut serials = HashSet::new();
    for round in 0..kills {
        let tokens: Vec<_> =
            (0..AT_ONCE).map(|number| authority.token(&["client", &name(round, number)])).collect();
        let work = begin(&runtime, &authority, tokens, &members, round);
        random_moment(&mut random, LONGEST);
        authority.kill();
        figures.kills += 1;
        authority.restart();
        for (layout, is_new, tries, outcome) in runtime.block_on(work.join_all()) {
            figures.repeated += tries - 1;
            match outcome {
                Ok(fetched) => {
                    serials.insert(fetched.serial);
                    if is_new {
                        figures.enrolled += 1;
                        members.push(layout);
                    } else {
                        figures.renewed += 1;
                    }
                }
                Err(error) => figures.wrong.push(format!("round {round}: {error}")),
            }
        }
        judge(&authority, &serials, &mut figures);
    }
    figures.elapsed = start.elapsed();
    figures
}

type Done = (Layout, bool, usize, Result<Fetched, EnrollError>);

/// Lets new members enroll and the last ones renew, each until it has an answer.
fn begin(
    runtime: &Runtime,
    authority: &Serving,
    tokens: Vec<Token>,
    members: &[Layout],
    round: u64,
) -> JoinSet<Done> {
    let (mut work, address) = (JoinSet::new(), authority.address());
    for (number, token) in tokens.into_iter().enumerate() {
        let layout = authority.member(&name(round, number));
        work.spawn_on(insist(layout, Some(token), address), runtime.handle());
    }
    for layout in members.iter().rev().take(AT_ONCE) {
        work.spawn_on(insist(layout.clone(), None, address), runtime.handle());
    }
    work
}

/// Enrolls with a token, or renews without one, until there is an answer.
async fn insist(layout: Layout, token: Option<Token>, address: SocketAddr) -> Done {
    let start = Instant::now();
    let mut tries = 0;
    loop {
        tries += 1;
        let outcome = match &token {
            Some(token) => enroll(token, &layout, &EnrollmentOptions::default()).await,
            None => match Member::load(&layout, Kind::Client) {
                Ok(member) => member.expect("a member").renew().await,
                Err(error) => Err(error),
            },
        };
        match outcome {
            Err(error) if error.is_temporary() && start.elapsed() < DEADLINE => {
                // It is being started again.
                let listens = move || TcpStream::connect(address).is_ok();
                let _ = spawn_blocking(move || eventually("it listens again", listens)).await;
            }
            outcome => return (layout, token.is_some(), tries, outcome),
        }
    }
}

fn name(round: u64, number: usize) -> String {
    format!("user-{round}-{number}")
}

/// Holds the store, the journal and what members have got against each other.
fn judge(authority: &Serving, got: &HashSet<String>, figures: &mut Figures) {
    let journal = authority.journal();
    let text = |line: &Value, field: &str| line[field].as_str().unwrap_or_default().to_owned();
    let of = |event: &'static str| journal.iter().filter(move |line| line["event"] == event);
    let void: HashSet<_> = of("void").map(|line| text(line, "serial")).collect();
    let signed: HashSet<_> = of("certificate").map(|line| text(line, "serial")).collect();
    figures.void = void.len();
    let mut wrong = |what: String| figures.wrong.push(what);
    for serial in got {
        if !signed.contains(serial) || void.contains(serial) {
            wrong(format!("{serial} left and the journal does not say so"));
        }
    }
    let mut uses: HashMap<String, usize> = HashMap::new();
    for line in of("certificate").filter(|line| !void.contains(&text(line, "serial"))) {
        if text(line, "by").starts_with("token ") {
            *uses.entry(text(line, "by")).or_default() += 1;
        }
    }
    for (token, count) in uses.iter().filter(|(_, count)| **count != 1) {
        wrong(format!("{token} was used {count} times"));
    }
    let numbers: Vec<_> = of("lists").filter_map(|line| line["number"].as_u64()).collect();
    if !numbers.is_sorted() {
        wrong(format!("the lists' numbers fall: {numbers:?}"));
    }
    let census = authority.census();
    let all = |field: &str| census[field].as_array().cloned().unwrap_or_default();
    let open = all("tokens").iter().filter(|token| token["left"] != 0).count();
    if (open, all("members").len()) != (0, figures.enrolled) || uses.len() != figures.enrolled {
        wrong(format!(
            "{open} tokens are open, {} members known, {} uses recorded, {} enrolled",
            all("members").len(),
            uses.len(),
            figures.enrolled
        ));
    }
    for member in all("members") {
        if !signed.contains(&text(&member, "serial")) {
            wrong(format!("{member} has a certificate that the journal does not know"));
        }
    }
}
