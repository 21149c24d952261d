//! `cargo run --release -p rcmd-tests --bin soak -- NAME [--rounds N] [--seed N]`: the long runs in full,
//! of which the ordinary tests run a share.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use clap::builder::PossibleValuesParser;
use rcmd_tests::processors::When;
use rcmd_tests::soak::connections::{Kind, onslaught};
use rcmd_tests::soak::fairness::Behaviour;
use rcmd_tests::soak::kills::Way;
use rcmd_tests::soak::{
    Judged, attack, audit as audited, authority, before, cuts, damage, fairness, fleet, kills,
    locks, output, renewal, revocation, rotation, stdin, storms,
};
use rcmd_tests::{World, supervise};

/// A long run.
struct Soak {
    name: &'static str,
    /// The number of rounds of a complete run.
    rounds: u64,
    /// The function that runs so many rounds with this seed. It returns whether all went as it
    /// must, or panics with the reason.
    run: fn(rounds: u64, seed: u64) -> bool,
}

/// The long runs. `rounds` counts what the name says: storms of each size, connections of each
/// kind, cuts, damaged files, killed clients, targets, MiB of a line, hosts of 100 MiB each, runs
/// over sets, killed holders, batches of commands, renewals, servers, MiB, seconds of an attack or
/// of what one peer repeats.
const SOAKS: [Soak; 21] = [
    Soak { name: "attack", rounds: 600, run: attack },
    Soak { name: "authority", rounds: 200, run: govern },
    Soak { name: "before", rounds: 6, run: weigh },
    Soak { name: "storms", rounds: 20, run: storm },
    Soak { name: "connections", rounds: 10_000, run: connect },
    Soak { name: "cuts", rounds: 1000, run: cut },
    Soak { name: "damage", rounds: 10_000, run: spoil },
    Soak { name: "kills", rounds: 1000, run: kill },
    Soak { name: "fairness", rounds: 20, run: be_fair },
    Soak { name: "fleet", rounds: 990, run: reach },
    Soak { name: "fleet-growth", rounds: 10_000, run: grow },
    Soak { name: "fleet-line", rounds: 1024, run: line },
    Soak { name: "fleet-output", rounds: 50, run: pour },
    Soak { name: "fleet-random", rounds: 500, run: gamble },
    Soak { name: "locks", rounds: 1000, run: lock },
    Soak { name: "audit", rounds: 200, run: audit },
    Soak { name: "output", rounds: 1024, run: read },
    Soak { name: "renewal", rounds: 100, run: renew },
    Soak { name: "revocation", rounds: 20, run: revoke },
    Soak { name: "rotation", rounds: 20, run: rotate },
    Soak { name: "stdin", rounds: 1024, run: write },
];

/// Long runs against the real programs
#[derive(Debug, Parser)]
#[command(name = "soak")]
struct Options {
    /// The name of the run
    #[arg(value_parser = PossibleValuesParser::new(SOAKS.map(|soak| soak.name)))]
    name: String,
    /// The number of rounds, or the amount of work [default: that of a complete run]
    #[arg(long)]
    rounds: Option<u64>,
    /// The seed of all that is random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Acts as the neighbours of `fairness`, with the identity in this folder
    #[arg(long, hide = true, requires_all = ["target", "behaviour"])]
    neighbours: Option<PathBuf>,
    /// Acts as the attackers of `attack`, with the obstacles of a local user in this folder
    #[arg(long, hide = true, requires_all = ["target", "kit"])]
    attackers: Option<PathBuf>,
    /// The folders of the attackers' identities
    #[arg(long, hide = true)]
    kit: Vec<PathBuf>,
    /// The neighbours' or the attackers' server
    #[arg(long, hide = true)]
    target: Option<String>,
    /// The behaviour of the neighbours
    #[arg(long, hide = true)]
    behaviour: Option<Behaviour>,
    /// The working process itself, below the one that clears up
    #[arg(long, hide = true)]
    inner: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let (Some(dir), Some(target), Some(behaviour)) =
        (&options.neighbours, &options.target, options.behaviour)
    {
        fairness::neighbours::run(dir, target, behaviour);
        return ExitCode::SUCCESS;
    }
    if let (Some(local), Some(target)) = (&options.attackers, &options.target) {
        let target: SocketAddr = target.parse().expect("an address");
        attack::attackers::run(local, target, &options.kit);
    }
    if !options.inner {
        return supervise::run("rcmd-soak-").unwrap_or_else(|error| {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        });
    }
    let Some(soak) = SOAKS.iter().find(|soak| soak.name == options.name) else {
        return ExitCode::FAILURE;
    };
    let rounds = options.rounds.unwrap_or(soak.rounds);
    let began = Instant::now();
    let good = (soak.run)(rounds, options.seed);
    println!("{}: {rounds} in {:.1?}", soak.name, began.elapsed());
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints figures, and returns whether they are as they must be.
fn told(figures: &impl Judged) -> bool {
    println!("{}", figures.to_string().trim_end());
    figures.are_good()
}

fn attack(seconds: u64, _seed: u64) -> bool {
    let program = std::env::current_exe().expect("our own program");
    let report = attack::run(&program, Duration::from_secs(seconds), When::Idle);
    match report {
        Ok(report) => {
            println!("{report}");
            if !report.is_whole() {
                println!("some roles did nothing: the machine is too busy for this");
            }
            report.is_good() && report.is_whole()
        }
        Err(missing) => {
            println!("needs {missing}");
            false
        }
    }
}

fn weigh(seconds: u64, _seed: u64) -> bool {
    let figures = before::run(200, Some(Duration::from_secs(seconds)));
    print!("{figures}");
    let excess = figures.excess();
    excess.iter().for_each(|line| println!("past its bound: {line}"));
    excess.is_empty()
}

fn reach(targets: u64, _seed: u64) -> bool {
    let targets = usize::try_from(targets).unwrap_or(usize::MAX);
    told(&fleet::run(targets, 64, true))
}

fn grow(most: u64, _seed: u64) -> bool {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut good = true;
    for targets in [10, 100, 1000, 10_000].into_iter().filter(|targets| *targets <= most) {
        good &= told(&fleet::run(targets, 64, false));
    }
    good
}

fn line(mib: u64, _seed: u64) -> bool {
    told(&fleet::line::run(mib))
}

fn pour(hosts: u64, _seed: u64) -> bool {
    told(&fleet::output::run(hosts, 100))
}

fn gamble(runs: u64, seed: u64) -> bool {
    told(&fleet::random::run(runs, seed))
}

fn storm(rounds: u64, _seed: u64) -> bool {
    let rounds = usize::try_from(rounds).unwrap_or(usize::MAX);
    storms::rounds(&World::start(), rounds, &mut |line| println!("{line}"));
    let few = World::builder().limit("nofile", 256).start();
    println!("under 256 descriptors:");
    storms::rounds(&few, rounds, &mut |line| println!("{line}"));
    true
}

fn connect(rounds: u64, _seed: u64) -> bool {
    let count = usize::try_from(rounds).unwrap_or(usize::MAX);
    let world = World::start();
    for kind in [Kind::Silent, Kind::Garbage, Kind::Greeted] {
        println!("{kind:?}: {:?}", onslaught(&world, kind, count));
    }
    true
}

fn cut(rounds: u64, seed: u64) -> bool {
    told(&cuts::run(rounds, seed))
}

fn spoil(rounds: u64, seed: u64) -> bool {
    told(&damage::run(rounds, seed))
}

fn govern(rounds: u64, seed: u64) -> bool {
    told(&authority::run(rounds, seed))
}

fn kill(rounds: u64, seed: u64) -> bool {
    let ways = [Way::Cgroup, Way::Portable];
    ways.into_iter().all(|way| {
        print!("{way:?}: ");
        told(&kills::run_on_several(way, rounds, seed))
    })
}

fn be_fair(rounds: u64, _seed: u64) -> bool {
    [Behaviour::WithinLimits, Behaviour::RetriesWhenTold, Behaviour::RetriesAtOnce].map(
        |behaviour| {
            let figures = fairness::run(rounds, behaviour);
            println!("{figures}");
            figures.slowdown() <= 1.5
        },
    ) == [true; 3]
}

fn lock(rounds: u64, seed: u64) -> bool {
    told(&locks::run(rounds, seed))
}

fn rotate(servers: u64, _seed: u64) -> bool {
    println!("{}", rotation::run(servers, "30s"));
    true
}

fn revoke(servers: u64, _seed: u64) -> bool {
    told(&revocation::run(servers))
}

fn renew(rounds: u64, _seed: u64) -> bool {
    println!("{}", renewal::run(rounds));
    true
}

fn audit(rounds: u64, seed: u64) -> bool {
    told(&audited::run(rounds, seed))
}

fn read(mib: u64, _seed: u64) -> bool {
    output::zeros(&World::start(), mib << 20);
    true
}

fn write(mib: u64, _seed: u64) -> bool {
    let world = World::start();
    stdin::random(&world, mib << 20);
    stdin::sizes(&world, 0..=300 * 1024);
    true
}
