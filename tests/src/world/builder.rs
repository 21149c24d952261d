//! The settings of a world, and its making.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};

use super::World;
use crate::NameService;
use crate::binaries::try_binaries;
use crate::lines::Lines;
use crate::server::Launch;

/// The settings of a world.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Builder {
    config: String,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    limits: Vec<(String, u64)>,
    uid: Option<u32>,
    own_group: bool,
    terse: bool,
    mounts: Vec<String>,
    accounts: Vec<(String, String)>,
    passed: bool,
}

impl Builder {
    /// Adds a line to `server.toml`.
    pub fn config(mut self, line: &str) -> Self {
        self.config.push_str(line);
        self.config.push('\n');
        self
    }

    /// Adds an argument for the server.
    pub fn server_arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Passes the socket to listen on to the server, as a service manager does, in place of an address.
    pub fn passed_socket(mut self) -> Self {
        self.passed = true;
        self
    }

    /// Sets a variable in the server's environment.
    pub fn server_env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Starts the server under a limit, soft and hard: `nofile`, `nproc` or another name of
    /// prlimit(1).
    pub fn limit(mut self, name: &str, value: u64) -> Self {
        self.limits.push((name.to_owned(), value));
        self
    }

    /// Runs the server as another user and group, of the same number; needs root. Limits on a user's
    /// processes count all that it has, so a test of them takes a number that nobody else uses.
    pub fn server_uid(mut self, uid: u32) -> Self {
        self.uid = Some(uid);
        self
    }

    /// Puts the server into a process group of its own, out of reach of a terminal's Ctrl-C.
    pub fn own_group(mut self) -> Self {
        self.own_group = true;
        self
    }

    /// Sets the server's log to its default. A test can't await the lines of commands then.
    pub fn terse(mut self) -> Self {
        self.terse = true;
        self
    }

    /// Lets the server ask this name service, and no other nscd(8); needs root and a mount
    /// namespace.
    pub fn name_service(mut self, service: &NameService) -> Self {
        self.mounts.push("mount -t tmpfs none /run && mkdir /run/nscd".to_owned());
        self.mounts.push(format!("mount --bind '{}' /run/nscd", service.folder().display()));
        self
    }

    /// Adds an account to the server's host, by its lines in passwd(5) and shadow(5); needs root
    /// and a mount namespace.
    pub fn account(mut self, passwd: &str, shadow: &str) -> Self {
        self.accounts.push((passwd.to_owned(), shadow.to_owned()));
        self
    }

    /// Closes the server's host to all but root (nologin(5)); needs root and a mount namespace.
    pub fn nologin(mut self) -> Self {
        self.mounts.push("mount -t tmpfs none /run && echo closed >/run/nologin".to_owned());
        self
    }

    /// Makes the authority and starts the server.
    ///
    /// # Panics
    ///
    /// When one of them fails.
    #[must_use]
    pub fn start(self) -> World {
        self.try_start().unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Starts the world as [`Builder::start`] does.
    ///
    /// # Errors
    ///
    /// The error holds what `rcmd-certs` or the server said.
    pub fn try_start(self) -> Result<World> {
        let mut world = self.try_prepare()?;
        world.try_start_server()?;
        Ok(world)
    }

    /// Makes the authority and leaves the server to [`World::start_server`], so that a test can change
    /// something in the folder before.
    ///
    /// # Panics
    ///
    /// When `rcmd-certs` fails.
    #[must_use]
    pub fn prepare(self) -> World {
        self.try_prepare().unwrap_or_else(|error| panic!("{error:#}"))
    }

    fn try_prepare(self) -> Result<World> {
        let binaries = try_binaries()?;
        let dir = tempfile::Builder::new().prefix("rcmd-").tempdir()?;
        let root = dir.path().join("d");
        let made = Command::new(&binaries.certs)
            .arg("quickstart")
            .arg(&root)
            .env_remove("RCMD_DIR")
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("can't run {}", binaries.certs.display()))?;
        if !made.status.success() {
            let said = String::from_utf8_lossy(&made.stderr);
            bail!("rcmd-certs quickstart failed ({}): {said}", made.status);
        }
        if !self.config.is_empty() {
            let file = root.join("server.toml");
            fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(&file)
                .and_then(|mut file| file.write_all(self.config.as_bytes()))
                .with_context(|| format!("can't write {}", file.display()))?;
        }
        let (mut program, mut client_dir) = (binaries.server.clone(), root.clone());
        if let Some(uid) = self.uid {
            client_dir = dir.path().join("c");
            copy_client(&root, &client_dir)?;
            program = dir.path().join("rcmd-server");
            fs::copy(&binaries.server, &program)?;
            give_to(uid, dir.path(), &root)?;
        }
        let mut mounts = self.mounts;
        if !self.accounts.is_empty() {
            let (passwd, shadow): (Vec<_>, Vec<_>) = self.accounts.into_iter().unzip();
            for (name, lines, mode) in [("passwd", passwd, 0o644), ("shadow", shadow, 0o600)] {
                let (host, own) = (Path::new("/etc").join(name), dir.path().join(name));
                let text = fs::read_to_string(&host)? + &lines.join("\n") + "\n";
                fs::write(&own, text)?;
                fs::set_permissions(&own, fs::Permissions::from_mode(mode))?;
                mounts.push(format!("mount --bind '{}' {}", own.display(), host.display()));
            }
        }
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let passed = match self.passed {
            true => Some(Arc::new(TcpListener::bind(any)?)),
            false => None,
        };
        let launch = Launch {
            program,
            dir: root,
            verbose: !self.terse,
            listen: any,
            passed,
            args: self.args,
            env: self.env,
            limits: self.limits,
            uid: self.uid,
            own_group: self.own_group,
            mounts,
        };
        Ok(World {
            binaries,
            launch,
            server: None,
            idle: None,
            log: Lines::default(),
            strays: Vec::new(),
            client_dir,
            dir,
        })
    }
}

/// Copies what a client needs to a folder of its own.
fn copy_client(root: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    fs::create_dir(to.join("client"))?;
    fs::set_permissions(to.join("client"), fs::Permissions::from_mode(0o700))?;
    for file in ["ca.pem", "client/cert.pem", "client/key.pem"] {
        fs::copy(root.join(file), to.join(file))?;
    }
    Ok(())
}

/// Lets `uid` have what a server needs; the authority and the client's identity stay ours.
fn give_to(uid: u32, outer: &Path, root: &Path) -> Result<()> {
    fs::set_permissions(outer, fs::Permissions::from_mode(0o755))?;
    let mut paths = vec![root.to_owned()];
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if path.is_file() {
            paths.push(path);
        }
    }
    paths.push(root.join("server"));
    for entry in fs::read_dir(root.join("server"))? {
        paths.push(entry?.path());
    }
    for path in paths {
        std::os::unix::fs::chown(&path, Some(uid), Some(uid))
            .with_context(|| format!("can't give {} to user {uid}", path.display()))?;
    }
    Ok(())
}
