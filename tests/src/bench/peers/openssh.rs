//! OpenSSH: its server, and its client in three configurations.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{Daemon, accepts, prepare, tool, user};
use crate::bench::measure::quiet;
use crate::bench::stage::free_port;
use crate::skip;

/// Where distributions put the server of SFTP, which is what their `sshd` is configured to start.
const SFTP_SERVERS: [&str; 3] = [
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server",
];

/// The limit on connections to OpenSSH's server that have not authenticated yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Startups {
    /// The default limit: beside 10 such connections the server turns away 3 of 10 that come, and
    /// more with each, beside 100 all (sshd_config(5), `MaxStartups`).
    Default,
    /// A limit above the number of connections that come at once.
    Raised,
}

pub(crate) struct OpenSsh {
    // Dropped first: it talks to the server.
    _master: Daemon,
    server: Daemon,
    /// The number of the server's processes while only the master is connected.
    resting: usize,
    client: PathBuf,
    folder: PathBuf,
    port: u16,
    user: String,
}

impl OpenSsh {
    pub(crate) fn start(folder: &Path, startups: Startups) -> Result<Self> {
        let program = tool("sshd", "openssh-server")?;
        let client = tool("ssh", "openssh-client")?;
        for name in ["host", "user"] {
            let key = folder.join(name);
            prepare(
                Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(key),
            )?;
        }
        let port = free_port()?;
        let public = fs::read_to_string(folder.join("host.pub"))?;
        fs::write(folder.join("known_hosts"), format!("[127.0.0.1]:{port} {public}"))?;
        let config = folder.join("sshd_config");
        fs::write(&config, configuration(folder, port, startups)?)?;
        let mut server = Daemon::start(&mut server_command(&program, &config))?;
        server.until("OpenSSH's server", || accepts(port))?;

        let user = user()?;
        let mut command = arguments(Command::new(&client), folder, port);
        command.args(["-M", "-N", "-S"]).arg(socket(folder)).arg(format!("{user}@127.0.0.1"));
        let mut master = Daemon::start(&mut command)?;
        let mut check = Command::new(&client);
        check.arg("-S").arg(socket(folder)).args(["-O", "check", "127.0.0.1"]);
        master.until("OpenSSH's ControlMaster", || {
            check.output().is_ok_and(|output| output.status.success())
        })?;
        let resting = server.processes_below();
        let folder = folder.to_owned();
        Ok(Self { _master: master, server, resting, client, folder, port, user })
    }

    /// Returns the command of a new connection, as Debian configures the client; a shell line is to
    /// follow.
    pub(crate) fn default(&self) -> Command {
        self.with(&[])
    }

    /// Returns the command of a new connection with the quickest that OpenSSH offers: curve25519
    /// alone, aes128-gcm.
    pub(crate) fn fastest(&self) -> Command {
        self.with(&["-o", "KexAlgorithms=curve25519-sha256", "-c", "aes128-gcm@openssh.com"])
    }

    fn with(&self, options: &[&str]) -> Command {
        let mut command = arguments(quiet(&self.client), &self.folder, self.port);
        command.args(options).arg(format!("{}@127.0.0.1", self.user));
        command
    }

    /// Returns the command of [`OpenSsh::default`] with these options, by way of this port, which
    /// leads to the server's.
    pub(crate) fn by_way_of(&self, port: u16, options: &[&str]) -> Command {
        let mut command = arguments(quiet(&self.client), &self.folder, port);
        command.arg("-o").arg(format!("HostKeyAlias=[127.0.0.1]:{}", self.port));
        command.args(options).arg(format!("{}@127.0.0.1", self.user));
        command
    }

    /// Writes a configuration of `ssh` by which all hosts of this pattern are its server; the rest is as the
    /// system has it. Programs that take the file's name among options split these at blanks.
    pub(crate) fn hosts_config(&self, pattern: &str) -> Result<PathBuf> {
        let file = self.folder.join("hosts_config");
        let [port, user, key, known_hosts] = self.coordinates();
        let blank = key.contains(char::is_whitespace);
        ensure!(!blank, "the temporary folder has a blank in its name: choose another TMPDIR");
        let text = format!(
            "Host {pattern}\nHostName 127.0.0.1\nPort {port}\nUser {user}\nIdentityFile {key}\n\
             IdentitiesOnly yes\nBatchMode yes\nStrictHostKeyChecking yes\nLogLevel ERROR\n\
             UserKnownHostsFile {known_hosts}\nHostKeyAlias [127.0.0.1]:{port}\n\
             Include /etc/ssh/ssh_config\n"
        );
        fs::write(&file, text)?;
        Ok(file)
    }

    /// Returns the port that its server listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns a command of `ssh` over the connection that is open already.
    pub(crate) fn multiplexed(&self) -> Command {
        let mut command = quiet(&self.client);
        command.arg("-S").arg(socket(&self.folder)).args(["-F", "none", "127.0.0.1"]);
        command
    }

    pub(crate) fn server_pid(&self) -> u32 {
        self.server.pid()
    }

    /// Waits until only the master's session is left.
    pub(crate) fn settle(&self) {
        self.server.settle(self.resting);
    }

    /// Returns what a client of another make needs: port, user, key, known hosts.
    pub(crate) fn coordinates(&self) -> [String; 4] {
        let path = |name| self.folder.join(name).display().to_string();
        [self.port.to_string(), self.user.clone(), path("user"), path("known_hosts")]
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("master")
}

/// Adds the options by which `ssh` reads the configuration of the system and none of the user's
/// own.
fn arguments(mut command: Command, folder: &Path, port: u16) -> Command {
    let system = Path::new("/etc/ssh/ssh_config");
    command.arg("-F").arg(if system.exists() { system } else { Path::new("none") });
    command.args(["-p", &port.to_string(), "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
    command.args(["-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=ERROR"]);
    command.arg("-i").arg(folder.join("user"));
    command.arg("-o").arg(format!("UserKnownHostsFile={}", folder.join("known_hosts").display()));
    command
}

fn configuration(folder: &Path, port: u16, startups: Startups) -> Result<String> {
    let folder = folder.to_str().context("the temporary folder's name is not UTF-8")?;
    let mut text = String::new();
    // bash reads ~/.bashrc when sshd starts it, which takes as long as the user made it.
    fs::create_dir(Path::new(folder).join("home"))?;
    writeln!(text, "SetEnv HOME={folder}/home")?;
    writeln!(text, "ListenAddress 127.0.0.1:{port}")?;
    writeln!(text, "HostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\nPidFile none")?;
    text.push_str(
        "UsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\nLogLevel ERROR\n\
         PrintMotd no\nPrintLastLog no\nX11Forwarding no\n",
    );
    let installed = SFTP_SERVERS.into_iter().find(|program| Path::new(program).exists());
    writeln!(text, "Subsystem sftp {}", installed.unwrap_or("internal-sftp"))?;
    if startups == Startups::Raised {
        text.push_str("MaxSessions 10000\nMaxStartups 10000\nPerSourceMaxStartups none\n");
    }
    Ok(text)
}

/// Returns the command of the server. Run by root, the server insists on a folder under /run that
/// only a started service makes; it gets one in a mount namespace of its own, so that nothing is
/// left behind.
fn server_command(program: &Path, config: &Path) -> Command {
    let missing = skip::need_root().is_ok() && !Path::new("/run/sshd").exists();
    let mut command = if missing {
        let mut command = Command::new("unshare");
        let script = "mount -t tmpfs none /run && mkdir -m 755 /run/sshd && exec \"$0\" \"$@\"";
        command.args(["--mount", "sh", "-c", script]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.args(["-D", "-f"]).arg(config);
    command
}
