//! One host among honest ones writes a line that does not end: the others' lines are whole, and the client stays
//! small.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::output::MOST_KIB;
use crate::binaries::binaries;
use crate::many::{self, put_host};
use crate::proc;
use crate::sink::Tally;
use crate::soak::Judged;
use crate::wait::exit_within;
use crate::world::World;

/// Honest hosts.
const HONEST: usize = 4;
/// The number of lines of each honest host.
const LINES: usize = 200;
/// The longest time that a run may take.
const LIMIT: Duration = Duration::from_secs(3600);

/// The lines without an end: the name of each, and the line for a shell that writes it. The bytes
/// of one are all the same, and those of the other have no block that is like another.
const LINES_WITHOUT_END: [(&str, &str); 2] =
    [("zeros", "cat /dev/zero"), ("numbers", "seq -s ' ' 1 1000000000")];

/// The figures of one run of the client.
#[derive(Debug)]
pub struct Run {
    /// The content of the line, and the place where the output goes.
    pub what: String,
    /// The time from the client's start to its end.
    pub elapsed: Duration,
    /// The most memory that the client had resident, in KiB.
    pub peak_kib: u64,
}

/// The figures of all runs.
#[derive(Debug)]
pub struct Figures {
    /// Bytes of the line.
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
        writeln!(f, "a line of {} MiB", self.bytes >> 20)?;
        for Run { what, elapsed, peak_kib } in &self.runs {
            writeln!(f, "  {what}: {elapsed:.1?}; client: {} MiB at most", peak_kib >> 10)?;
        }
        self.wrong.iter().try_for_each(|wrong| writeln!(f, "WRONG: {wrong}"))
    }
}

/// Runs a host that writes so many MiB without a newline beside four that write lines, into a pipe and into `--fold`.
///
/// # Panics
///
/// When the server can't be started, or the client does not end.
#[must_use]
pub fn run(mib: u64) -> Figures {
    let world = World::builder().terse().start();
    let mut hosts = String::new();
    put_host(&mut hosts, "endless", world.address());
    (1..=HONEST).for_each(|number| put_host(&mut hosts, &format!("h{number}"), world.address()));
    many::write_hosts_toml(&world.client_dir().join("hosts.toml"), &hosts);
    let mut figures = Figures { bytes: mib << 20, runs: Vec::new(), wrong: Vec::new() };
    for (name, line) in LINES_WITHOUT_END {
        let line = format!("{line} | head -c {}", figures.bytes);
        let expected = locally(&line);
        for option in [None, Some("--fold")] {
            let mut client = client(&world, option, &line).spawn().expect("our own program");
            let stdout = client.stdout.take().expect("a pipe");
            let seen = thread::spawn(move || Seen::read(stdout));
            let what = format!("{name}{}", option.map_or(" into a pipe", |_| " into --fold"));
            figures.take(&what, client);
            let seen = seen.join().expect("a thread of our own").expect("a pipe of our own");
            seen.judge(option.is_some(), &expected, &what, &mut figures.wrong);
        }
    }
    figures
}

fn client(world: &World, option: Option<&str>, line: &str) -> Command {
    let mut client = Command::new(&binaries().client);
    client.arg("--dir").arg(world.client_dir()).args(option);
    client.args(["--shell", &format!("endless,h[1-{HONEST}]")]);
    client.arg(format!("if [ {{host}} = endless ]; then {line}; else seq 1 {LINES}; fi"));
    client.env_remove("RCMD_DIR").env("TMPDIR", world.dir());
    client.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    client
}

/// Returns the tally of what a line for a shell writes on this machine.
fn locally(line: &str) -> Tally {
    let mut shell = Command::new("sh");
    let mut shell = shell.args(["-c", line]).stdout(Stdio::piped()).spawn().expect("a shell");
    let tally = Tally::read(shell.stdout.take().expect("a pipe")).expect("a pipe of our own");
    shell.wait().expect("our own child");
    tally
}

/// The lines of standard output: short ones as they are, the long one counted.
#[derive(Default)]
struct Seen {
    short: Vec<String>,
    long: Vec<Tally>,
}

/// A line that is longer is counted.
const SHORT: u64 = 1000;

impl Seen {
    fn read(stdout: ChildStdout) -> io::Result<Self> {
        let (mut seen, mut stdout) = (Self::default(), BufReader::with_capacity(1 << 16, stdout));
        loop {
            let mut line = Vec::new();
            stdout.by_ref().take(SHORT).read_until(b'\n', &mut line)?;
            if line.last() == Some(&b'\n') {
                seen.short.push(String::from_utf8_lossy(&line).trim_end().to_owned());
            } else if line.is_empty() {
                return Ok(seen);
            } else {
                let line = line.strip_prefix(b"endless: ").unwrap_or(&line);
                seen.long.push(Tally::read(line.chain(UntilNewline(&mut stdout)))?);
            }
        }
    }

    fn judge(mut self, folded: bool, expected: &Tally, what: &str, wrong: &mut Vec<String>) {
        if self.long.iter().ne([expected]) {
            wrong.push(format!("{what}: the line came as {:?}, not as {expected:?}", self.long));
        }
        let numbers = || (1..=LINES).map(|number| number.to_string());
        let mut short: Vec<String> = if folded {
            let rule = "---------------".to_owned();
            let heads = [format!("h[1-{HONEST}] ({HONEST})"), "endless (1)".to_owned()];
            let heads = heads.into_iter().flat_map(|head| [rule.clone(), head, rule.clone()]);
            heads.chain(numbers()).collect()
        } else {
            let hosts = 1..=HONEST;
            hosts.flat_map(|host| numbers().map(move |n| format!("h{host}: {n}"))).collect()
        };
        short.sort();
        self.short.sort();
        if self.short != short {
            wrong.push(format!("{what}: lines of honest hosts are not what they wrote"));
        }
    }
}

/// A reader of the bytes before the next newline, which is taken too.
struct UntilNewline<'a>(&'a mut BufReader<ChildStdout>);

impl Read for UntilNewline<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.0.fill_buf()?;
        let bytes = &bytes[..bytes.len().min(into.len())];
        let (count, ends) = match bytes.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at, true),
            None => (bytes.len(), false),
        };
        into[..count].copy_from_slice(&bytes[..count]);
        // A newline stays until it is all that is left: no bytes are the end.
        self.0.consume(if count == 0 && ends { 1 } else { count });
        Ok(count)
    }
}

impl Figures {
    /// Waits for the end of a client, which must be well and small.
    fn take(&mut self, what: &str, mut child: Child) {
        let (began, mut peak_kib) = (Instant::now(), 0);
        let status = loop {
            peak_kib = peak_kib.max(proc::peak_kib(child.id()).unwrap_or(0));
            let pause = Duration::from_millis(50);
            if let Some(status) = exit_within(&mut child, pause).expect("our own child") {
                break status;
            }
            if began.elapsed() > LIMIT {
                let _ = child.kill();
                panic!("the client did not end within {LIMIT:?}");
            }
        };
        if !status.success() {
            self.wrong.push(format!("{what}: the client ended with {status}"));
        }
        if peak_kib > MOST_KIB {
            self.wrong.push(format!("{what}: {peak_kib} KiB resident"));
        }
        self.runs.push(Run { what: what.to_owned(), elapsed: began.elapsed(), peak_kib });
    }
}
