//! Programs that run a line on many hosts with a process of OpenSSH's client for each host.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::tool;
use crate::bench::measure::quiet;

/// The seconds that each program gives a host to connect: with so many at once on few processors it
/// takes longer than the 10 and 15 that some give by default.
const PATIENCE: &str = "60";

/// A line on the hosts `n1` to `nCOUNT`.
pub(crate) struct Task<'a> {
    pub(crate) line: &'a str,
    pub(crate) count: usize,
    pub(crate) at_once: usize,
    /// The configuration of `ssh` for these hosts.
    pub(crate) config: &'a Path,
    /// A folder for the files that a program needs, which is also its home.
    pub(crate) folder: &'a Path,
}

/// A function that makes the command of a program for a task, or fails with the reason why it
/// can't.
type Make = fn(&Task<'_>) -> Result<Command>;

/// The programs: the name of each, the most rounds in which it is measured, and the function for
/// its command. The last one takes several times as long as the others. Each prints a line for a
/// host that answered, which begins with the host's name.
pub(crate) const PROGRAMS: [(&str, usize, Make); 4] = [
    ("pssh", usize::MAX, pssh),
    ("clush", usize::MAX, clush),
    ("pdsh", usize::MAX, pdsh),
    ("ansible -m raw", 1, ansible),
];

impl Task<'_> {
    fn command(&self, name: &str, package: &str) -> Result<Command> {
        let mut command = quiet(tool(name, package)?);
        command.env("HOME", self.folder);
        Ok(command)
    }

    /// Returns, as text, the number of hosts at once, the option for the configuration of `ssh`,
    /// and the set of hosts.
    fn words(&self) -> [String; 3] {
        let set = format!("n[1-{}]", self.count);
        [self.at_once.to_string(), format!("-F {}", self.config.display()), set]
    }
}

/// Returns the command of pssh, which Debian calls `parallel-ssh`. Its `-t` is the time for a whole
/// command.
fn pssh(task: &Task<'_>) -> Result<Command> {
    let mut command = task.command("parallel-ssh", "pssh")?;
    let ([at_once, config, _], hosts) = (task.words(), task.folder.join("pssh-hosts"));
    let mut names = String::new();
    (1..=task.count).try_for_each(|number| writeln!(names, "n{number}"))?;
    fs::write(&hosts, names)?;
    command.arg("-h").arg(hosts).args(["-p", &at_once, "-t", "0", "-P"]);
    command.arg(format!("--extra-args={config}")).arg(task.line);
    Ok(command)
}

fn clush(task: &Task<'_>) -> Result<Command> {
    let mut command = task.command("clush", "clustershell")?;
    let [at_once, config, set] = task.words();
    command.args(["-w", &set, "-f", &at_once, "-t", PATIENCE, "--nostdin"]);
    command.arg(format!("--options={config}")).arg(task.line);
    Ok(command)
}

/// Returns the command of pdsh. The options of `ssh` are the one for the configuration file, then
/// those that pdsh has by default.
fn pdsh(task: &Task<'_>) -> Result<Command> {
    let mut command = task.command("pdsh", "pdsh")?;
    let [at_once, config, set] = task.words();
    command.env("PDSH_SSH_ARGS", format!("{config} -2 -a -x -l%u %h"));
    command.args(["-R", "ssh", "-f", &at_once, "-t", PATIENCE, "-w", &set, task.line]);
    Ok(command)
}

/// Returns the command of Ansible. Its options of `ssh` leave out masters of connections, which
/// would outlive Ansible by a minute and serve the next run.
fn ansible(task: &Task<'_>) -> Result<Command> {
    let mut command = task.command("ansible", "ansible-core")?;
    let ([at_once, config, _], hosts) = (task.words(), task.folder.join("ansible-hosts"));
    fs::write(&hosts, format!("n[1:{}]\n", task.count))?;
    let own = task.folder.join("ansible.cfg");
    fs::write(&own, "[defaults]\n")?;
    command.env("ANSIBLE_CONFIG", own).env("ANSIBLE_SSH_ARGS", "-C").env("LC_ALL", "C.UTF-8");
    command.arg("all").arg("-i").arg(hosts).args(["-f", &at_once, "-T", PATIENCE, "-o"]);
    command.arg(format!("--ssh-common-args={config}")).args(["-m", "raw", "-a", task.line]);
    Ok(command)
}
