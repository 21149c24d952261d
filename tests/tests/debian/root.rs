//! A Debian of its own for a test: the same as this machine's, made by mmdebstrap, entered by namespaces.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use rcmd_tests::skip::{need_mount_namespace, need_tool};
use tempfile::TempDir;

use super::packages;

/// The folders in which files come and go that no package of ours has a part in.
const NOT_OURS: [&str; 6] = ["dev", "root", "tmp", "var/cache", "var/log", "var/lib/dpkg"];

/// Lines that give a Debian a certificate and a policy, and a client for both in `/root/demo`.
pub(crate) const IDENTITY: &str = "rcmd-certs quickstart /root/demo >/dev/null
    cp -a /root/demo/ca.pem /root/demo/server /root/demo/policy.cedar /etc/rcmd/
    rcmd-server --check-config";

/// The folder of a Debian. It is removed when it is dropped.
pub(crate) struct Root {
    folder: TempDir,
}

impl Root {
    /// Makes the folder, with all packages of ours in its `/root`.
    ///
    /// # Errors
    ///
    /// What this machine lacks for that.
    pub(crate) fn new() -> Result<Self, String> {
        let (tar, built) = (debian()?, packages::all()?);
        let folder = TempDir::new().unwrap();
        let mut unpack = Command::new("tar");
        unpack.arg("--extract").arg("--file").arg(tar).arg("--directory").arg(folder.path());
        assert!(unpack.stdin(Stdio::null()).status().unwrap().success());
        for entry in fs::read_dir(built).unwrap().map(Result::unwrap) {
            fs::copy(entry.path(), folder.path().join("root").join(entry.file_name())).unwrap();
        }
        Ok(Self { folder })
    }

    /// Returns a file of this Debian, as it is named from outside.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Returns a command that executes these words in this Debian, in namespaces of its own; with a `network` of
    /// its own as well.
    pub(crate) fn entered(&self, network: bool, words: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--kill-child", "--fork", "--pid", "--mount", "--uts", "--ipc", "--cgroup"]);
        command.args(network.then_some("--net"));
        command.args(["sh", "-c", include_str!("enter.sh"), "enter"]);
        command.arg(self.folder.path()).args(words);
        quiet(&mut command);
        command
    }

    /// Runs lines of sh in this Debian without its service manager, and returns what they print.
    #[track_caller]
    pub(crate) fn run(&self, lines: &str) -> String {
        said(self.entered(false, &["sh", "-euc", lines]).output().unwrap(), lines)
    }

    /// Returns the files, links and folders that packages of ours, or their programs, could have made.
    pub(crate) fn files(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let path = entry.path();
                let name = path.strip_prefix(self.folder.path()).unwrap().to_str().unwrap();
                if NOT_OURS.contains(&name) {
                    continue;
                }
                found.insert(name.to_owned());
                if entry.file_type().unwrap().is_dir() {
                    folders.push(path);
                }
            }
        }
        found
    }
}

/// Prepares a command with nobody who answers questions, and an environment as an administrator's script has it.
pub(crate) fn quiet(command: &mut Command) {
    command.env_clear().env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C.UTF-8");
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdin(Stdio::null());
}

/// Returns both outputs of lines that ended well.
#[track_caller]
pub(crate) fn said(output: Output, lines: &str) -> String {
    let text = [output.stdout, output.stderr].map(|part| String::from_utf8(part).unwrap()).concat();
    assert!(output.status.success(), "{}\n{lines}\nsaid:\n{text}", output.status);
    text
}

/// Returns a tar file with a Debian and its service manager. It is made once, and kept beside what cargo builds.
///
/// # Errors
///
/// What is missing to make it.
fn debian() -> Result<PathBuf, String> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    MADE.get_or_init(make).clone()
}

fn make() -> Result<PathBuf, String> {
    need_mount_namespace()?;
    let mmdebstrap = need_tool("mmdebstrap")?;
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let has = |line: &str| release.lines().any(|one| one == line);
    let name = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let suite = name.filter(|_| has("ID=debian")).ok_or("Debian")?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let tar = folder.join(format!("debian-{suite}.tar"));
    if tar.exists() {
        return Ok(tar);
    }
    let new = folder.join(format!("debian-{suite}-{}.tar", std::process::id()));
    let mut command = Command::new(mmdebstrap);
    command.args(["--quiet", "--variant=minbase", "--include=systemd,systemd-sysv,dbus", suite]);
    let made = command.arg(&new).stdin(Stdio::null()).output().unwrap();
    if !made.status.success() {
        let _ = fs::remove_file(&new);
        let why = String::from_utf8_lossy(&made.stderr).into_owned();
        return Err(format!("a mirror of Debian, for mmdebstrap: {why}"));
    }
    fs::rename(&new, &tar).unwrap();
    Ok(tar)
}
