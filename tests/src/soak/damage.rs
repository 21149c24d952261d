//! Damaged files of every sort under every program that reads them: what they held is printed nowhere,
//! no program dies of them, and each says which file it is.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;

use super::Judged;
use crate::World;
use crate::binaries;
use crate::damage::{Secrets, damaged};
use crate::random::Random;

/// The passphrase that opens the backup.
const PASSPHRASE: &str = "correct horse battery staple";

/// A port of the loopback where nobody listens (RFC 863's, which nobody serves any more).
const NOWHERE: &str = "127.0.0.1:9";

/// The program that reads a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    CheckConfig,
    Status,
    Policy,
    Hangup,
    Client,
    Doctor,
    List,
    Show,
    Enroll,
    Restore,
}

/// A file, and who reads it.
struct Target {
    file: &'static str,
    readers: &'static [Reader],
}

const TARGETS: [Target; 17] = {
    use Reader::{
        CheckConfig, Client, Doctor, Enroll, Hangup, List, Policy, Restore, Show, Status,
    };
    [
        Target { file: "server/key.pem", readers: &[CheckConfig, Status, Hangup] },
        Target { file: "client/key.pem", readers: &[Client, Doctor] },
        Target { file: "authority/key.pem", readers: &[List] },
        Target { file: "server/cert.pem", readers: &[CheckConfig, Status, Hangup, Show] },
        Target { file: "client/cert.pem", readers: &[Client, Doctor, Show] },
        Target { file: "authority/cert.pem", readers: &[List, Show] },
        Target { file: "ca.pem", readers: &[CheckConfig, Hangup, Client, Doctor, Show] },
        Target { file: "server/list.pem", readers: &[CheckConfig, Status, Hangup, Show] },
        Target { file: "server/authority.toml", readers: &[CheckConfig, Status] },
        Target { file: "identity.toml", readers: &[CheckConfig, Hangup, Client] },
        Target { file: "server.toml", readers: &[CheckConfig, Status, Hangup] },
        Target { file: "client.toml", readers: &[Client, Doctor] },
        Target { file: "authority/authority.toml", readers: &[List] },
        Target { file: "policy.cedar", readers: &[CheckConfig, Policy, Hangup] },
        Target { file: "token", readers: &[Enroll] },
        Target { file: "authority/store.redb", readers: &[List] },
        Target { file: "backup", readers: &[Restore] },
    ]
};

/// The figures of a run.
#[derive(Debug, Default)]
pub struct Figures {
    /// Damaged files.
    pub files: u64,
    /// Programs that read one, a SIGHUP to a running server included.
    pub runs: u64,
    /// The number of these runs in which the program refused the file.
    pub refused: u64,
    /// Descriptions of what went wrong, at most a few.
    pub wrong: Vec<String>,
}

impl Judged for Figures {
    /// Returns whether nothing was printed, nothing died, and all was named.
    fn are_good(&self) -> bool {
        self.wrong.is_empty() && self.refused > 0
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, runs, refused, wrong } = self;
        write!(f, "{files} damaged files, {runs} readings, {refused} refused; ")?;
        write!(f, "wrong: {}", wrong.len())?;
        wrong.iter().try_for_each(|wrong| write!(f, "\n  {wrong}"))
    }
}

/// Damages so many files.
///
/// # Panics
///
/// When the folder can't be made.
#[must_use]
pub fn run(rounds: u64, seed: u64) -> Figures {
    let bed = Bed::new();
    let mut random = Random::new(seed);
    let mut figures = Figures::default();
    for round in 0..rounds {
        let target = &TARGETS[usize::try_from(round).unwrap_or(0) % TARGETS.len()];
        // A key in the place of another file is the gravest mistake of all; behind a certificate some
        // programs want it.
        let key = bed.read("client/key.pem");
        let good = bed.read(target.file);
        let content = match random.below(4) {
            0 => key,
            1 if target.file.ends_with(".pem") => [good.as_slice(), &key].concat(),
            _ => good.clone(),
        };
        let content = damaged(&mut random, &content);
        bed.write(target.file, &content);
        figures.files += 1;
        for &reader in target.readers {
            bed.judge(target.file, reader, &mut figures);
        }
        bed.write(target.file, &good);
        if figures.wrong.len() >= 8 {
            break;
        }
    }
    let audit = fs::read_dir(bed.path("server/audit")).into_iter().flatten().flatten();
    let kept = audit.filter_map(|entry| fs::read(entry.path()).ok()).collect::<Vec<_>>().concat();
    for (place, text) in [("audit", kept), ("log", bed.world.log().join("\n").into_bytes())] {
        assert!(!text.is_empty(), "there is no {place}");
        if let Some(secret) = bed.secrets.found_in(&text) {
            figures.wrong.push(format!("{secret:?} stands in the {place}"));
        }
    }
    figures
}

/// A folder with all files, and a server that runs on it.
struct Bed {
    world: World,
    secrets: Secrets,
}

impl Bed {
    fn new() -> Self {
        let mut world = World::builder().prepare();
        let bed = |name: &str| world.dir().join(name);
        let certs = |words: &[&str]| {
            let done = world.certs().args(words).arg("--dir").arg(world.dir()).output();
            let done = done.expect("rcmd-certs");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        };
        let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        let (passphrase, backup, token) = (bed("passphrase"), bed("backup"), bed("token"));
        write_private(&passphrase, PASSPHRASE.as_bytes());
        certs(&["revoke", "00ff", "--unlisted"]);
        certs(&["bundle", "--out", &text(&token), "server", "web1", "--address", NOWHERE]);
        certs(&["backup", &text(&backup), "--passphrase-file", &text(&passphrase)]);
        fs::copy(bed("authority/list.pem"), bed("server/list.pem")).expect("a list");
        for (file, content) in [
            ("server/authority.toml", contact()),
            ("identity.toml", "[[user]]\nmatch = \"email:*@example.org\"\n".to_owned()),
            ("server.toml", "grace = \"10s\"\n[host]\nname = \"web1\"\n".to_owned()),
            ("client.toml", "connect_timeout = \"5s\"\n".to_owned()),
            ("authority/authority.toml", "client_life = \"8h\"\n".to_owned()),
        ] {
            fs::write(bed(file), content).expect(file);
        }
        let mut secrets = Secrets::default();
        for key in ["server/key.pem", "client/key.pem", "authority/key.pem"] {
            secrets.add_key(&fs::read_to_string(bed(key)).expect("a key"));
        }
        let line = fs::read_to_string(&token).expect("a token");
        let line = line.lines().last().expect("a line").to_owned();
        // What stands before it is known to everybody: addresses, names, the root's fingerprint.
        secrets.add_text(&line[line.len() - 40..]);
        secrets.add_text(PASSPHRASE);
        world.start_server();
        Self { world, secrets }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.dir().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn write(&self, name: &str, content: &[u8]) {
        write_private(&self.path(name), content);
    }

    /// Runs one program that reads the file, and adds what is wrong with what it does.
    fn judge(&self, file: &str, reader: Reader, figures: &mut Figures) {
        figures.runs += 1;
        if reader == Reader::Hangup {
            return self.hang_up(figures);
        }
        let done = self.run(reader);
        let said = [done.stdout.as_slice(), &done.stderr].concat();
        let text = String::from_utf8_lossy(&said);
        let mut wrong = |what: &str| figures.wrong.push(format!("{reader:?} of {file}: {what}"));
        if let Some(secret) = self.secrets.found_in(&said) {
            wrong(&format!("{secret:?} in {text}"));
        }
        // 101 is the status of a panic; none is a signal's.
        if done.status.code().is_none_or(|code| code == 101) || text.contains("panicked") {
            wrong(&format!("{}: {text}", done.status));
        }
        let name = Path::new(file).file_name().and_then(|name| name.to_str()).unwrap_or(file);
        let refused = !done.status.success();
        // A client and its doctor reach nobody in any case, and a lone damage may leave the file good.
        let elsewhere = text.contains(NOWHERE) || reader == Reader::Status;
        if refused && !elsewhere && !text.contains(name) {
            wrong(&format!("the file is not named: {text}"));
        }
        figures.refused += u64::from(refused);
    }

    /// Sends the running server the signal to read its files again, and awaits what it says of that.
    fn hang_up(&self, figures: &mut Figures) {
        // The last of what is read again.
        let reloads = |line: &String| {
            line.contains("certificates reloaded") || line.contains("certificates not reloaded")
        };
        let before = self.world.log().into_iter().filter(reloads).count();
        self.world.signal_server(Signal::HUP);
        crate::eventually("the server reads its files again", || {
            self.world.log().into_iter().filter(reloads).count() > before
        });
        figures.refused += 1;
    }

    fn run(&self, reader: Reader) -> Output {
        let programs = binaries();
        let dir = self.world.dir();
        let [server, client, certs] =
            [&programs.server, &programs.client, &programs.certs].map(Command::new);
        let (mut command, words): (_, Vec<&str>) = match reader {
            Reader::CheckConfig => (server, vec!["--check-config"]),
            Reader::Status => (server, vec!["status"]),
            Reader::Policy => (server, vec!["policy", "check"]),
            Reader::Enroll => (server, vec!["enroll", "--token-file"]),
            Reader::Client => (client, vec!["--json"]),
            Reader::Doctor => (client, vec!["doctor", NOWHERE]),
            Reader::List => (certs, vec!["list"]),
            Reader::Show => (certs, vec!["show"]),
            Reader::Restore => (certs, vec!["restore"]),
            Reader::Hangup => unreachable!("no program of its own"),
        };
        command.args(words);
        // A folder of its own, for what is made by a damaged file after all.
        let fresh = tempfile::tempdir().expect("a folder");
        match reader {
            Reader::Enroll => command.arg(self.path("token")).arg("--dir").arg(fresh.path()),
            Reader::Restore => {
                command.arg(self.path("backup")).arg("--passphrase-file");
                command.arg(self.path("passphrase")).arg("--dir").arg(fresh.path())
            }
            Reader::Client => command.arg("--dir").arg(dir).args([NOWHERE, "true"]),
            _ => command.arg("--dir").arg(dir),
        };
        command.env_remove("RCMD_DIR").stdin(Stdio::null());
        command.output().expect("a program")
    }
}

fn write_private(path: &Path, content: &[u8]) {
    fs::write(path, content).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("a mode");
}

/// Returns the text of an `authority.toml` that leads to an authority which is not there.
fn contact() -> String {
    let key = rcmd_certs::fingerprint::Fingerprint::of_key(b"a root");
    format!("addresses = [\"{NOWHERE}\"]\nauthorities = [\"{key}\"]\n")
}
