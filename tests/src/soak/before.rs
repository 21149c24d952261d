//! Measurements of what each kind of peer can make a server or the authority do before anything of
//! that peer was judged: what comes back, what is written and what is kept for what it sends, and
//! how often one peer can have it done.

mod clients;
mod ground;
mod members;
mod strangers;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use self::ground::{Ground, Held, Kept, Side};
use crate::proc::raise_descriptors;
use crate::raw::Wire;
use crate::wait::keep_pace;

/// Threads of one peer that do the same at once, each with a connection of its own.
const THREADS: usize = 4;

/// A count of how often something was done.
#[derive(Debug, Default)]
struct Count(AtomicU64);

impl Count {
    fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The number of times that something was done in a turn, and the bytes that passed for it.
#[derive(Debug, Clone, Copy, Default)]
struct Done {
    times: u64,
    wire: Wire,
}

impl Done {
    fn add(&mut self, times: u64, wire: Wire) {
        self.times += times;
        self.wire.sent += wire.sent;
        self.wire.received += wire.received;
    }
}

/// A deed of a peer, and the most that it may cost.
struct Deed {
    peer: &'static str,
    what: &'static str,
    to: Side,
    /// The function that does the deed some times.
    act: Option<Act>,
    /// The number of times that a peer may hold what the deed makes, and the function by which that
    /// is kept for as long as the peer wants.
    hold: Option<Hold>,
    most: Most,
}

type Act = fn(&Ground, Side, &Count) -> io::Result<Done>;
type Hold = (usize, fn(&Ground, Side) -> io::Result<Held>);

/// The most that a deed may cost.
#[derive(Debug, Clone, Copy)]
struct Most {
    /// The bytes that come back for each that was sent.
    answered: f64,
    /// The bytes on disk, each time; `log` has those in the log.
    disk: u64,
    log: u64,
    /// The memory in KiB for each that is held.
    memory: u64,
}

const fn most(answered: f64, disk: u64, log: u64, memory: u64) -> Most {
    Most { answered, disk, log, memory }
}

const fn deed(
    (peer, what, to): (&'static str, &'static str, Side),
    act: Option<Act>,
    hold: Option<Hold>,
    most: Most,
) -> Deed {
    Deed { peer, what, to, act, hold, most }
}

const STRANGER: &str = "stranger";
const DENIED: &str = "certificate";
const PERMITTED: &str = "permitted";
const MEMBER: &str = "member";
const SERVER: Side = Side::Server;
const AUTHORITY: Side = Side::Authority;

/// A number for deeds that a peer may hold as often as is measured.
const MANY: usize = usize::MAX;

/// All deeds, with the most that each may cost: about twice what it does cost. A line of the log
/// has some 200 bytes and, of what a request holds, 1 KiB; the two records of a denied start have 4
/// KiB. The authority's lists are as long as they are.
static DEEDS: [Deed; 22] = [
    deed(
        (STRANGER, "silence", SERVER),
        Some(strangers::silence),
        Some((MANY, strangers::hold_silence)),
        most(0.0, 0, 400, 40),
    ),
    deed((STRANGER, "garbage", SERVER), Some(strangers::garbage), None, most(0.1, 0, 400, 0)),
    deed(
        (STRANGER, "a first message alone", SERVER),
        Some(strangers::half),
        Some((MANY, strangers::hold_half)),
        most(2.0, 0, 400, 40),
    ),
    deed(
        (STRANGER, "a handshake", SERVER),
        Some(strangers::no_certificate),
        None,
        most(2.0, 0, 400, 0),
    ),
    deed(
        (DENIED, "a handshake and a hello", SERVER),
        Some(clients::dial),
        Some((MANY, clients::hold_connection)),
        most(2.0, 0, 0, 40),
    ),
    deed((DENIED, "pings", SERVER), Some(clients::pings), None, most(1.5, 0, 0, 0)),
    deed(
        (DENIED, "compressed pings", SERVER),
        Some(clients::compressed_pings),
        None,
        most(400.0, 0, 1, 0),
    ),
    deed((DENIED, "asks", SERVER), Some(clients::asks), None, most(2.0, 1024, 0, 0)),
    deed((DENIED, "starts", SERVER), Some(clients::starts), None, most(2.0, 1536, 400, 0)),
    deed(
        (DENIED, "starts of 900 KB", SERVER),
        Some(clients::large_starts),
        None,
        most(0.01, 4096, 2048, 0),
    ),
    deed((DENIED, "unknown keys", SERVER), Some(clients::unknown_keys), None, most(1.0, 0, 0, 0)),
    deed((DENIED, "nonsense", SERVER), Some(clients::nonsense), None, most(2.0, 0, 400, 0)),
    deed(
        (DENIED, "payloads that do not end", SERVER),
        None,
        Some((24, clients::hold_payload)),
        most(0.0, 0, 0, 1280),
    ),
    deed(
        (PERMITTED, "starts called off", SERVER),
        Some(clients::called_off),
        None,
        most(3.0, 2048, 0, 0),
    ),
    deed(
        (PERMITTED, "starts with kept keys", SERVER),
        Some(clients::kept_keys),
        None,
        most(3.0, 3072, 400, 0),
    ),
    deed(
        (PERMITTED, "waits for a lock, of 64 KiB", SERVER),
        None,
        Some((MANY, clients::hold_lock)),
        most(0.0, 0, 0, 320),
    ),
    deed(
        (STRANGER, "silence", AUTHORITY),
        Some(strangers::silence),
        Some((MANY, strangers::hold_silence)),
        most(0.0, 0, 400, 40),
    ),
    deed(
        (STRANGER, "a handshake", AUTHORITY),
        Some(strangers::no_certificate),
        None,
        most(2.0, 0, 400, 0),
    ),
    deed((STRANGER, "asks to renew", AUTHORITY), Some(strangers::asks), None, most(5.0, 0, 400, 0)),
    deed((MEMBER, "a handshake", AUTHORITY), Some(members::dial), None, most(2.0, 0, 0, 0)),
    deed((MEMBER, "asks to renew", AUTHORITY), Some(members::renew), None, most(40.0, 0, 400, 0)),
    deed(
        (MEMBER, "asks for lists", AUTHORITY),
        Some(members::lists),
        Some((4, members::hold_wait)),
        most(16.0, 0, 0, 128),
    ),
];

/// The measurements of a deed.
#[derive(Debug)]
struct Row {
    deed: &'static Deed,
    done: Done,
    disk: f64,
    log: f64,
    /// The memory in KiB for each that was held.
    memory: Option<f64>,
    /// The number of times a second.
    pace: Option<f64>,
}

impl fmt::Debug for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {:?}: {}", self.peer, self.to, self.what)
    }
}

impl Row {
    /// Returns the bytes that came back for each that was sent.
    fn answered(&self) -> f64 {
        self.done.wire.received as f64 / self.done.wire.sent.max(1) as f64
    }

    /// Returns what is more than it may be.
    fn excess(&self) -> Vec<String> {
        let Most { answered, disk, log, memory } = self.deed.most;
        let figures = [
            ("answered, times", self.answered(), answered),
            ("bytes on disk", self.disk, disk as f64),
            ("bytes in the log", self.log, log as f64),
            ("KiB kept", self.memory.unwrap_or_default(), memory as f64),
        ];
        let past = figures.into_iter().filter(|(_, is, most)| is > most);
        past.map(|(of, is, most)| format!("{:?}: {of}: {is:.1}, at most {most}", self.deed))
            .collect()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Deed { peer, what, to, .. } = self.deed;
        let to = if *to == SERVER { "server" } else { "authority" };
        write!(f, "{peer:<12}{to:<10}{what:<28}")?;
        if self.done.times > 0 {
            let each = |bytes: u64| bytes as f64 / self.done.times as f64;
            let Wire { sent, received } = self.done.wire;
            write!(f, "{:>9.1}{:>9.1}{:>8.2}", each(sent), each(received), self.answered())?;
            write!(f, "{:>7.0}{:>7.0}", self.disk, self.log)?;
        } else {
            write!(f, "{:>9}{:>9}{:>8}{:>7}{:>7}", "-", "-", "-", "-", "-")?;
        }
        let or_none = |figure: Option<f64>| figure.map_or("-".to_owned(), |is| format!("{is:.0}"));
        write!(f, "{:>8}{:>10}", or_none(self.memory), or_none(self.pace))
    }
}

/// The measurements of all deeds.
#[derive(Debug)]
pub struct Figures(Vec<Row>);

impl Figures {
    /// Returns what is past its bound.
    #[must_use]
    pub fn excess(&self) -> Vec<String> {
        self.0.iter().flat_map(Row::excess).collect()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<12}{:<10}{:<28}{:>9}{:>9}{:>8}{:>7}{:>7}{:>8}{:>10}",
            "peer", "of the", "does", "sent", "back", "times", "disk", "log", "KiB", "a second"
        )?;
        self.0.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}

/// Measures all, with so many of each held at once, and each repeated for so long by one peer; without a time
/// nothing is measured of its pace.
///
/// # Panics
///
/// When a peer is not answered as it should be.
#[must_use]
pub fn run(held: usize, lasting: Option<Duration>) -> Figures {
    raise_descriptors();
    let ground = Arc::new(Ground::lay());
    let mut rows: Vec<_> = DEEDS.iter().map(|deed| measure(&ground, deed, held)).collect();
    // Afterwards, since what is repeated uses up what may come at once.
    for row in &mut rows {
        if let (Some(act), Some(lasting)) = (row.deed.act, lasting) {
            row.pace = Some(pace(&ground, row.deed.to, act, lasting));
        }
    }
    Figures(rows)
}

fn measure(ground: &Ground, deed: &'static Deed, held: usize) -> Row {
    let fail = |error: io::Error| panic!("{deed:?}: {error}");
    let count = Count::default();
    // What is made for the first of them stays.
    if let Some(act) = deed.act {
        act(ground, deed.to, &count).unwrap_or_else(fail);
    }
    let before = ground.rest(deed.to);
    let done = deed.act.map(|act| act(ground, deed.to, &count).unwrap_or_else(fail));
    let done = done.unwrap_or_default();
    let after = ground.rest(deed.to);
    let each = |of: fn(&Kept) -> u64| {
        (of(&after).saturating_sub(of(&before))) as f64 / done.times.max(1) as f64
    };
    let (disk, log) = (each(|kept| kept.disk), each(|kept| kept.log));
    let memory = deed.hold.map(|(most, hold)| {
        let held = held.min(most);
        let all: Vec<_> = (0..held)
            .map(|_| hold(ground, deed.to).unwrap_or_else(|error| panic!("{deed:?}: {error}")))
            .collect();
        let with = ground.rest(deed.to);
        drop(all);
        with.memory.saturating_sub(after.memory) as f64 / held as f64
    });
    if memory.is_some() {
        ground.rest(deed.to);
    }
    Row { deed, done, disk, log, memory, pace: None }
}

/// Returns how often a second one peer comes to do it over and over, in the second half of the time.
fn pace(ground: &Arc<Ground>, to: Side, act: Act, lasting: Duration) -> f64 {
    let (count, over) = (Arc::new(Count::default()), Arc::new(AtomicBool::new(false)));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (ground, count, over) = (Arc::clone(ground), Arc::clone(&count), Arc::clone(&over));
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    // A connection that is cut or refused is an answer as well.
                    let _ = act(&ground, to, &count);
                }
            })
        })
        .collect();
    keep_pace(Instant::now(), lasting / 2);
    let (before, began) = (count.get(), Instant::now());
    keep_pace(began, lasting / 2);
    let pace = (count.get() - before) as f64 / began.elapsed().as_secs_f64();
    over.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().expect("a peer that does not panic");
    }
    pace
}
