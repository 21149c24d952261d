//! Tests that need something the machine may lack: a tool, a privilege.
//!
//! Such a test says `skipped: needs X` and returns. Where `RCMD_TEST_REQUIRE=all` it fails instead,
//! so that a run that claims to be whole is whole.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Ends the test as skipped unless its argument, a `Result<T, String>` that names what is missing, is
/// `Ok`; then gives the value.
///
/// ```
/// use rcmd_tests::{require, skip};
///
/// let sh = require!(skip::need_tool("sh"));
/// assert!(sh.is_absolute());
/// ```
#[macro_export]
macro_rules! require {
    ($need:expr) => {
        match $need {
            Ok(value) => value,
            Err(missing) => {
                $crate::skip::skip(&missing);
                return;
            }
        }
    };
}

/// Reports that a test is skipped because `missing` is not there.
///
/// # Panics
///
/// Under `RCMD_TEST_REQUIRE=all`.
#[track_caller]
pub fn skip(missing: &str) {
    let all = std::env::var_os("RCMD_TEST_REQUIRE").is_some_and(|value| value == "all");
    assert!(!all, "skipped under RCMD_TEST_REQUIRE=all: needs {missing}");
    // Not `eprintln!`: the test harness keeps that to itself when the test passes.
    let _ = writeln!(std::io::stderr(), "skipped: needs {missing}");
}

/// Returns the path of a program, looked for on PATH and in the system's folders.
///
/// # Errors
///
/// The name, when there is none.
pub fn need_tool(name: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| name.to_owned())
}

/// Returns the server of OpenSSH for files, where its packages have it.
///
/// # Errors
///
/// The package, when it is not there.
pub fn need_sftp_server() -> Result<PathBuf, String> {
    let folders = ["/usr/lib/openssh", "/usr/libexec/openssh", "/usr/lib/ssh"].into_iter();
    let files = folders.map(|folder| PathBuf::from(folder).join("sftp-server"));
    files.into_iter().find(|file| file.is_file()).ok_or_else(|| "openssh-sftp-server".to_owned())
}

/// Returns the library by which the package `faketime` gives a program another clock.
///
/// # Errors
///
/// The package, when it is not there.
pub fn need_faketime() -> Result<PathBuf, String> {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    folders
        .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"))
        .find(|file| file.is_file())
        .ok_or_else(|| "faketime".to_owned())
}

/// Returns whether this test runs as root.
///
/// # Errors
///
/// "root", when it doesn't.
pub fn need_root() -> Result<(), String> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err("root".to_owned()) }
}

/// Returns whether this test can give a program a mount namespace of its own (unshare(1)).
///
/// # Errors
///
/// The error names what is missing.
pub fn need_mount_namespace() -> Result<(), String> {
    need_root()?;
    let mut made = Command::new(need_tool("unshare")?);
    match made.args(["--mount", "true"]).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err("a mount namespace".to_owned()),
    }
}

/// Returns whether a user of this host can give a program a user and a mount namespace of its own.
///
/// # Errors
///
/// The error names what is missing.
pub fn need_user_namespace() -> Result<(), String> {
    let mut made = Command::new(need_tool("unshare")?);
    let made = made.args(["--user", "--map-root-user", "--mount", "true"]);
    match made.stderr(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err("user namespaces".to_owned()),
    }
}

/// Returns whether a server here can have cgroups of its own (version 2, writable).
///
/// # Errors
///
/// The error names what is missing.
pub fn need_cgroup() -> Result<(), String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let cgroups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let place = || {
        let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
        let mut fields = mount.split(' ').skip(3);
        let (root, at) = (fields.next()?, fields.next()?);
        let own = cgroups.lines().find_map(|line| line.strip_prefix("0::"))?;
        Some(PathBuf::from(at).join(PathBuf::from(own).strip_prefix(root).ok()?))
    };
    let trial = place().map(|own| own.join(format!("trial-{}", std::process::id())));
    let made = trial.filter(|trial| {
        // Two tests of one process may look at the same time.
        let made = std::fs::create_dir(trial).is_ok() || trial.exists();
        let _ = std::fs::remove_dir(trial);
        made
    });
    made.map(drop).ok_or_else(|| "a writable cgroup v2".to_owned())
}
