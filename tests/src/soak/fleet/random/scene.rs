//! Servers, links and files of a run, and clients that run it and take it up again.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::Value;

use super::super::servers::Servers;
use super::plan::{Fate, Place, Plan};
use crate::many::{put_host, write_hosts_toml};
use crate::proc;
use crate::wait::{DEADLINE, keep_pace, poll_for};
use crate::{ClientCommand, Fault, Finished, Proxy, Random, World, proxy};

/// The form in which a client is asked for ends and account.
#[derive(Debug)]
pub(super) enum Form {
    /// The form of `--json`.
    Events,
    /// The form of `--result`, into this file, and `--summary json`, beside output by this option.
    Results(PathBuf, Option<&'static str>),
}

pub(super) struct Scene {
    servers: Servers,
    cutting: Proxy,
    refusing: Proxy,
    script: PathBuf,
    pub(super) plan: Plan,
    stages: u32,
    world: World,
}

impl Scene {
    pub(super) fn new(plan: Plan, random: &mut Random) -> Self {
        let world = World::builder().terse().start();
        let servers = Servers::start(&world, plan.servers);
        let (cutting, refusing) = (Proxy::to(world.address()), Proxy::to(world.address()));
        let mut cuts = Random::new(random.next_u64());
        cutting.plan(move |_| match cuts.below(2) {
            0 => proxy::Plan::HONEST,
            _ => proxy::Plan::random(&mut cuts, 8_000, &[Fault::Reset, Fault::Fin]),
        });
        refusing.refuse(true);
        let closed = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut hosts = String::new();
        for host in &plan.hosts {
            let address = match host.place {
                Place::Server(number) => servers.address(number),
                Place::Cut => cutting.address(),
                Place::Refusing => refusing.address(),
                Place::Dead => closed,
            };
            put_host(&mut hosts, &host.name, address);
        }
        write_hosts_toml(&world.client_dir().join("hosts.toml"), &hosts);
        let script = world.scratch("script");
        let scene = Self { servers, cutting, refusing, script, plan, stages: 0, world };
        fs::write(&scene.script, scene.text()).expect("a file of our own");
        scene
    }

    /// Returns the script of all hosts: it notes its start, and then does what its host is to do.
    fn text(&self) -> String {
        let (starts, mended) = (self.starts_file(), self.mended_file());
        let mut text = format!(
            "echo \"$1 $RCMD_JOB\" >> {}\n[ -e {} ] && exit 0\ncase $1 in\n",
            starts.display(),
            mended.display()
        );
        for host in &self.plan.hosts {
            text.push_str(&format!("{}) {};;\n", host.name, host.does));
        }
        text + "esac\n"
    }

    fn starts_file(&self) -> PathBuf {
        self.world.scratch("starts")
    }

    fn mended_file(&self) -> PathBuf {
        self.world.scratch("mended")
    }

    /// Mends everything: from now on each command ends well, no link is cut and none refuses.
    pub(super) fn mend(&self) {
        fs::write(self.mended_file(), "").expect("a file of our own");
        self.cutting.plan(|_| proxy::Plan::HONEST);
        self.refusing.refuse(false);
    }

    /// Returns a client that begins the run.
    pub(super) fn first(&self) -> ClientCommand {
        let script = self.script.to_str().expect("a path in ASCII");
        let client = self.world.client().options(&self.plan.options).option("--exec");
        client.target(self.plan.set()).words(["sh", script, "{host}"])
    }

    /// Returns a client that takes the run up again.
    pub(super) fn resume(&self, options: &[String]) -> ClientCommand {
        let client = self.world.client().without_target();
        client.options(["run", "--resume", "last"]).options(options)
    }

    /// Chooses a form in which a client is asked.
    pub(super) fn form(&mut self, random: &mut Random) -> Form {
        self.stages += 1;
        match random.below(5) {
            0 | 1 => {
                let file = self.world.scratch(&format!("results-{}", self.stages));
                Form::Results(file, *random.choose(&[None, Some("--fold"), Some("--diff")]))
            }
            _ => Form::Events,
        }
    }

    /// Runs a client to its end, whatever befalls it, and waits until no command runs any more.
    ///
    /// # Errors
    /// The error names what still runs.
    pub(super) fn carry_out(
        &self,
        client: ClientCommand,
        fate: &Fate,
        form: &Form,
    ) -> (Finished, Result<(), String>) {
        let client = match form {
            Form::Events => client.option("--json"),
            Form::Results(file, shown) => {
                let client = client.options(["--summary", "json", "--result"]).option(file);
                client.options(shown.iter())
            }
        };
        let client = client.spawn();
        for (pause, signal) in &fate.0 {
            keep_pace(Instant::now(), *pause);
            client.signal(*signal);
        }
        (client.wait(), self.rest())
    }

    /// Waits until no command runs any more.
    fn rest(&self) -> Result<(), String> {
        let pids: Vec<_> = std::iter::once(self.world.pid()).chain(self.servers.pids()).collect();
        let below = || pids.iter().flat_map(|pid| proc::descendants(*pid)).collect::<Vec<_>>();
        let rests = poll_for(DEADLINE, || below().is_empty().then_some(()));
        rests.ok_or_else(|| format!("still running after {DEADLINE:?}: {:?}", below()))
    }

    /// Returns the jobs that were started until now, by host.
    pub(super) fn starts(&self) -> BTreeMap<String, Vec<String>> {
        let mut starts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in fs::read_to_string(self.starts_file()).unwrap_or_default().lines() {
            let (host, job) = line.split_once(' ').unwrap_or((line, ""));
            starts.entry(host.to_owned()).or_default().push(job.to_owned());
        }
        starts
    }

    /// Returns the record of each target, or none if the run came to no record.
    pub(super) fn record(&self) -> Option<Vec<Value>> {
        let dir = self.world.client_dir().to_str().expect("a path in ASCII").to_owned();
        let done = self.world.bare_client(["runs", "--dir", &dir, "--json", "show", "last"]).run();
        let text = done.stdout_text();
        let lines = text.lines().map(|line| serde_json::from_str(line).expect(line));
        done.status.success().then(|| lines.collect())
    }
}
