//! Much output of many hosts at once, into `--outdir` and into `--fold`: every byte arrives, and the client stays
//! small.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::servers::Servers;
use crate::binaries::binaries;
use crate::many::{put_host, write_hosts_toml};
use crate::proc;
use crate::random::Random;
use crate::sink::Tally;
use crate::soak::Judged;
use crate::wait::poll_for;
use crate::world::World;

/// Servers that share the hosts.
const SERVERS: usize = 3;
/// The distance in bytes between the places of the source at which the outputs of two hosts begin,
/// so that no block of one output is a block of another.
const SHIFT: u64 = 4099;
/// The most memory that the client may have resident.
pub(super) const MOST_KIB: u64 = 256 << 10;
/// The longest time that a run may take.
const LIMIT: Duration = Duration::from_secs(3600);
/// The line above and below the names of a group.
const RULE: &str = "---------------";

/// The figures of one run of the client.
#[derive(Debug)]
pub struct Run {
    /// The option that says where the output goes.
    pub what: &'static str,
    /// The time from the client's start to its end.
    pub elapsed: Duration,
    /// The most memory that the client had resident, in KiB.
    pub peak_kib: u64,
    /// The most bytes that the client's unnamed files had.
    pub unnamed: u64,
}

/// The figures of all runs.
#[derive(Debug)]
pub struct Figures {
    /// Hosts at once.
    pub hosts: u64,
    /// The bytes of each host's output.
    pub bytes: u64,
    /// The runs, one after the other.
    pub runs: Vec<Run>,
    /// Descriptions of what does not hold.
    pub wrong: Vec<String>,
}

impl Judged for Figures {
    fn are_good(&self) -> bool {
        self.wrong.is_empty()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} hosts, {} MiB each", self.hosts, self.bytes >> 20)?;
        for Run { what, elapsed, peak_kib, unnamed } in &self.runs {
            let (peak, unnamed) = (peak_kib >> 10, unnamed >> 20);
            writeln!(
                f,
                "  {what}: {elapsed:.1?}; client: {peak} MiB at most, unnamed files {unnamed} MiB"
            )?;
        }
        self.wrong.iter().try_for_each(|wrong| writeln!(f, "WRONG: {wrong}"))
    }
}

/// The servers, and what the hosts send.
struct Scene {
    world: World,
    _servers: Servers,
    hosts: u64,
    bytes: u64,
    source: PathBuf,
    /// The folder in which the client has its unnamed files.
    tmp: PathBuf,
}

impl Scene {
    fn start(hosts: u64, bytes: u64) -> Self {
        let world = World::builder().terse().start();
        let servers = Servers::start(&world, SERVERS);
        let mut text = String::new();
        for number in 0..hosts {
            let server = usize::try_from(number).expect("few");
            put_host(&mut text, &format!("o{number}"), servers.address(server));
        }
        write_hosts_toml(&world.client_dir().join("hosts.toml"), &text);
        let source = world.scratch("source");
        let mut file = File::create(&source).expect("a file of our own");
        let mut random = Random::new(12).take(bytes + hosts * SHIFT);
        io::copy(&mut random, &mut file).expect("room for the source");
        let tmp = world.scratch("unnamed");
        fs::create_dir(&tmp).expect("a folder of our own");
        Self { world, _servers: servers, hosts, bytes, source, tmp }
    }

    /// Returns a client whose hosts write their parts of the source.
    fn client(&self, options: &[&str]) -> Command {
        let mut client = Command::new(&binaries().client);
        client.arg("--dir").arg(self.world.client_dir()).args(options);
        client.args(["--shell", "-f", &self.hosts.to_string()]);
        client.arg(format!("o[0-{}]", self.hosts - 1));
        client.arg(format!(
            "tail -c +$(( {{index}} * {SHIFT} + 1 )) {} | head -c {}",
            self.source.display(),
            self.bytes
        ));
        client.env_remove("RCMD_DIR").env("TMPDIR", &self.tmp);
        client.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        client
    }

    /// Returns the bytes that a host sends.
    fn sent(&self, host: u64) -> impl Read + use<> {
        let mut file = File::open(&self.source).expect("the source");
        file.seek(SeekFrom::Start(host * SHIFT)).expect("a place in it");
        file.take(self.bytes)
    }

    /// Returns all groups of `--fold`, each of one host, in the order of the hosts.
    fn folded(&self) -> impl Read + use<> {
        let mut all: Box<dyn Read> = Box::new(io::empty());
        for host in 0..self.hosts {
            let head = format!("{RULE}\no{host} (1)\n{RULE}\n");
            let mut last = [0];
            let mut file = File::open(&self.source).expect("the source");
            file.seek(SeekFrom::Start(host * SHIFT + self.bytes - 1)).expect("a place in it");
            file.read_exact(&mut last).expect("a byte");
            let end: &[u8] = if last == *b"\n" { b"" } else { b"\n" };
            all = Box::new(all.chain(io::Cursor::new(head)).chain(self.sent(host)).chain(end));
        }
        all
    }
}

/// Runs so many hosts that write so many MiB each, all at once, into `--outdir` and then into `--fold`; then kills a client
/// that folds.
///
/// # Panics
///
/// When the servers can't be started, there is no room on the disk, or the client does not end.
#[must_use]
pub fn run(hosts: u64, mib: u64) -> Figures {
    let scene = Scene::start(hosts, mib << 20);
    let mut figures = Figures { hosts, bytes: scene.bytes, runs: Vec::new(), wrong: Vec::new() };
    into_files(&scene, &mut figures);
    into_groups(&scene, &mut figures);
    killed(&scene, &mut figures);
    for run in figures.runs.iter().filter(|run| run.peak_kib > MOST_KIB) {
        figures.wrong.push(format!("{}: {} KiB resident", run.what, run.peak_kib));
    }
    figures
}

fn into_files(scene: &Scene, figures: &mut Figures) {
    let folder = scene.world.scratch("files");
    let folder_text = folder.to_str().expect("a name in ASCII").to_owned();
    let child = scene.client(&["--outdir", &folder_text]).spawn().expect("our own program");
    figures.take("--outdir", scene, child);
    for host in 0..scene.hosts {
        let tally = |end: &str| {
            let file = File::open(folder.join(format!("o{host}.{end}"))).expect("a file a host");
            Tally::read(file).expect("a file of our own")
        };
        if tally("out") != Tally::read(scene.sent(host)).expect("the source") {
            figures.wrong.push(format!("o{host}.out is not what o{host} sent"));
        }
        if tally("err").bytes != 0 {
            figures.wrong.push(format!("o{host}.err is not empty"));
        }
    }
    fs::remove_dir_all(&folder).expect("a folder of our own");
}

fn into_groups(scene: &Scene, figures: &mut Figures) {
    let mut client = scene.client(&["--fold"]);
    let mut child = client.stdout(Stdio::piped()).spawn().expect("our own program");
    let stdout = child.stdout.take().expect("a pipe");
    let tally = thread::spawn(move || Tally::read(stdout));
    figures.take("--fold", scene, child);
    let tally = tally.join().expect("a thread of our own").expect("a pipe of our own");
    let expected = Tally::read(scene.folded()).expect("the source");
    if tally != expected {
        figures.wrong.push(format!("--fold printed {tally:?}, not {expected:?}"));
    }
    figures.check_folder(&scene.tmp, "after the end");
}

/// Kills a client that keeps output in unnamed files, and asserts that these are gone with it.
fn killed(scene: &Scene, figures: &mut Figures) {
    // Nobody reads what it prints, so that it does not end.
    let mut client = scene.client(&["--fold"]);
    let mut child = client.stdout(Stdio::piped()).spawn().expect("our own program");
    let begun = poll_for(LIMIT, || {
        let ended = child.try_wait().expect("our own child").is_some();
        (ended || unnamed(child.id(), &scene.tmp) > 0).then_some(!ended)
    });
    if begun != Some(true) {
        figures.wrong.push("nothing was kept on disk, so that the kill shows nothing".to_owned());
    }
    figures.check_folder(&scene.tmp, "while output is kept");
    child.kill().expect("our own child");
    child.wait().expect("our own child");
    figures.check_folder(&scene.tmp, "after a kill");
}

impl Figures {
    /// Waits for the end of a client, which must be well.
    fn take(&mut self, what: &'static str, scene: &Scene, mut child: Child) {
        let (began, mut peak_kib, mut most) = (Instant::now(), 0, 0);
        let ended = poll_for(LIMIT, || {
            peak_kib = peak_kib.max(proc::peak_kib(child.id()).unwrap_or(0));
            most = most.max(unnamed(child.id(), &scene.tmp));
            child.try_wait().expect("our own child")
        });
        let Some(status) = ended else {
            let _ = child.kill();
            panic!("the client did not end within {LIMIT:?}");
        };
        if !status.success() {
            self.wrong.push(format!("{what}: the client ended with {status}"));
        }
        self.runs.push(Run { what, elapsed: began.elapsed(), peak_kib, unnamed: most });
    }

    fn check_folder(&mut self, folder: &Path, when: &str) {
        let names: Vec<_> = fs::read_dir(folder)
            .expect("a folder of our own")
            .map(|entry| entry.expect("a folder of our own").file_name())
            .collect();
        if !names.is_empty() {
            self.wrong.push(format!("{when} the folder of unnamed files has {names:?}"));
        }
    }
}

/// Returns the number of bytes in a process's open files that have been in a folder and have no
/// name.
fn unnamed(pid: u32, folder: &Path) -> u64 {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let sizes = descriptors.filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        let is_unnamed = target.starts_with(folder) && target.to_str()?.ends_with(" (deleted)");
        is_unnamed.then(|| fs::metadata(entry.path()).map_or(0, |file| file.len()))
    });
    sizes.sum()
}
