//! The packages of the programs under test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use rcmd_tests::binaries::{binaries, workspace};
use rcmd_tests::skip;

/// The names of the packages.
pub(crate) const NAMES: [&str; 3] = ["rcmd-server", "rcmd-client", "rcmd-certs"];

/// The version of a server that was installed before.
pub(crate) const OLDER: &str = "0.0.1";

/// Returns the version of this source tree.
pub(crate) fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Builds packages of the programs under test into a folder.
pub(crate) fn build(out: &Path, options: &[&str]) {
    let mut build = Command::new(workspace().join("deploy/debian/build"));
    build.arg("--programs").arg(binaries().server.parent().unwrap());
    build.arg("--out").arg(out).args(options);
    build.env("SOURCE_DATE_EPOCH", "1700000000");
    let built = build.stdin(Stdio::null()).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}

/// Returns a folder with all packages, without symbols, and with an older one of the server. It lies beside what cargo
/// builds, and is made once in each run.
///
/// # Errors
///
/// What is missing to build packages.
pub(crate) fn all() -> Result<&'static Path, String> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    for tool in ["dpkg-gencontrol", "dpkg-shlibdeps", "objcopy"] {
        skip::need_tool(tool).map_err(|_| "dpkg-dev and binutils".to_owned())?;
    }
    let built = BUILT.get_or_init(|| {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-packages");
        let _ = fs::remove_dir_all(&out);
        build(&out, &["--no-symbols", "--fast"]);
        build(&out, &["--no-symbols", "--fast", "--version", OLDER, "rcmd-server"]);
        out
    });
    Ok(built)
}

/// Returns the file of a package.
pub(crate) fn file(folder: &Path, name: &str, version: &str) -> PathBuf {
    let begins = format!("{name}_{version}_");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found =
        entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&begins));
    found.next().unwrap_or_else(|| panic!("no {begins}*.deb in {}", folder.display()))
}
