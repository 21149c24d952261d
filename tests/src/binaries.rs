//! The four programs under test, built with the profile that this crate was built with: `cargo test` tests
//! programs that share their libraries with the tests, and `cargo run --release` measures released ones.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};

/// The paths of the programs.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// The path of `rcmd-certs`.
    pub certs: PathBuf,
    /// The path of `rcmd-server`.
    pub server: PathBuf,
    /// The path of `rcmd-client`.
    pub client: PathBuf,
    /// The path of `rcmd-ssh`.
    pub ssh: PathBuf,
}

const PROGRAMS: [&str; 4] = ["rcmd-certs", "rcmd-server", "rcmd-client", "rcmd-ssh"];

impl Binaries {
    fn find(file: impl Fn(&str) -> Result<PathBuf>) -> Result<Self> {
        let [certs, server, client, ssh] = PROGRAMS.map(file);
        Ok(Self { certs: certs?, server: server?, client: client?, ssh: ssh? })
    }
}

/// Returns the programs, built on the first call in this process. See [`try_binaries`].
///
/// # Panics
///
/// When they can't be built.
#[must_use]
pub fn binaries() -> &'static Binaries {
    try_binaries().unwrap_or_else(|error| panic!("{error:#}"))
}

/// Returns the programs in the folder `$RCMD_TEST_BIN_DIR` or, without it, builds them. Cargo's own lock keeps
/// test processes apart, and a second build of the same sources takes no time.
///
/// # Errors
///
/// When they are not in that folder, or the build fails.
pub fn try_binaries() -> Result<&'static Binaries> {
    static BINARIES: OnceLock<Result<Binaries, String>> = OnceLock::new();
    BINARIES
        .get_or_init(|| {
            let found = match std::env::var_os("RCMD_TEST_BIN_DIR") {
                Some(folder) => in_folder(Path::new(&folder)),
                None => build(),
            };
            found.map_err(|error| format!("{error:#}"))
        })
        .as_ref()
        .map_err(|error| anyhow::anyhow!("{error}"))
}

fn in_folder(folder: &Path) -> Result<Binaries> {
    Binaries::find(|name| {
        let file = folder.join(name);
        file.canonicalize().with_context(|| format!("RCMD_TEST_BIN_DIR has no {}", file.display()))
    })
}

fn build() -> Result<Binaries> {
    let mut command = cargo();
    command.args(["build", "--locked", "--quiet", "--workspace"]);
    command.args(PROGRAMS.iter().flat_map(|name| ["--bin", name]));
    // Cargo chooses the features of libraries by what it is to build. All of the workspace with an example, which may
    // use what tests use, has those of `cargo test --workspace`: nothing is compiled twice.
    command.args(if cfg!(debug_assertions) { &["--example", "pair"][..] } else { &["--release"] });
    command.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
    let mut child = command.spawn().context("can't run cargo")?;
    let stdout = child.stdout.take().context("cargo has no standard output")?;
    let mut found = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let message: serde_json::Value = serde_json::from_str(&line?)?;
        if let Some(file) = message["executable"].as_str() {
            found.push(PathBuf::from(file));
        }
    }
    if !child.wait()?.success() {
        bail!("the programs under test do not build; see what cargo says above");
    }
    Binaries::find(|name| {
        let file = found.iter().find(|file| file.file_name().is_some_and(|last| last == name));
        file.cloned().with_context(|| format!("cargo built no program {name}"))
    })
}

/// Returns a command for the cargo that runs the tests, in the workspace and with nothing to read.
#[must_use]
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace()).stdin(Stdio::null());
    // What the outer cargo said about this package would make build scripts run again.
    for (name, _) in std::env::vars_os() {
        let told = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|p| told.starts_with(p)) {
            command.env_remove(&name);
        }
    }
    command
}

/// Returns the root of the source tree.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}
