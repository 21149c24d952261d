//! dropbear's server and client.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Daemon, accepts, prepare, tool, user};
use crate::bench::measure::quiet;
use crate::bench::stage::free_port;
use crate::skip;

pub(crate) struct Dropbear {
    server: Daemon,
    client: PathBuf,
    home: PathBuf,
    port: u16,
    user: String,
}

impl Dropbear {
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let program = tool("dropbear", "dropbear-bin")?;
        let client = tool("dbclient", "dropbear-bin")?;
        let maker = tool("dropbearkey", "dropbear-bin")?;
        let home = folder.join("home");
        fs::create_dir_all(home.join(".ssh"))?;
        for folder in [&home, &home.join(".ssh")] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        }
        for name in ["host", "user"] {
            prepare(Command::new(&maker).args(["-t", "ed25519", "-f"]).arg(folder.join(name)))?;
        }
        let shown = Command::new(&maker).arg("-y").arg("-f").arg(folder.join("user")).output()?;
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        let public = shown.lines().find(|line| line.starts_with("ssh-ed25519 "));
        let allowed = home.join(".ssh/authorized_keys");
        fs::write(&allowed, format!("{}\n", public.context("dropbearkey shows no public key")?))?;
        fs::set_permissions(&allowed, fs::Permissions::from_mode(0o600))?;
        fs::rename(folder.join("user"), home.join("user"))?;

        let port = free_port()?;
        let mut command = at_home(&home)?;
        command.arg(program).args(["-F", "-E", "-s", "-m", "-P", "/dev/null", "-r"]);
        command.arg(folder.join("host")).args(["-p", &format!("127.0.0.1:{port}")]);
        let mut server = Daemon::start(&mut command)?;
        server.until("dropbear (its private home needs unshare(1))", || accepts(port))?;
        let peer = Self { server, client, home, port, user: user()? };
        prepare(peer.command().arg("true"))?;
        Ok(peer)
    }

    pub(crate) fn server_pid(&self) -> u32 {
        self.server.pid()
    }

    /// Waits until no session is left.
    pub(crate) fn settle(&self) {
        self.server.settle(0);
    }

    /// Returns the command of a new connection; a shell line is to follow.
    pub(crate) fn command(&self) -> Command {
        let mut command = quiet(&self.client);
        // It keeps known hosts below HOME and asks about new ones unless told twice to take them.
        command.env("HOME", &self.home).args(["-y", "-y", "-T", "-i"]).arg(self.home.join("user"));
        command.args(["-p", &self.port.to_string(), &format!("{}@127.0.0.1", self.user)]);
        command.stderr(std::process::Stdio::null());
        command
    }
}

/// Returns a command that runs a program with `home` mounted in the place of the user's own home,
/// in a mount namespace: dropbear's server reads keys below the user's home alone.
fn at_home(home: &Path) -> Result<Command> {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid())?;
    let real = user.context("this user has no entry in /etc/passwd")?.dir;
    let mut command = Command::new("unshare");
    if skip::need_root().is_err() {
        command.args(["--user", "--map-current-user", "--keep-caps"]);
    }
    let script = "mount --bind \"$0\" \"$1\" && shift && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script]).arg(home).arg(real);
    Ok(command)
}
