//! The log for people: one line for each command that was asked for, when it is over.

use std::{
    collections::{HashMap, VecDeque},
    io::{self, BufRead, Write},
};

use jiff::Timestamp;
use rcmd_certs::text::escaped;

use self::{
    row::Row,
    told::{ended, other, transferred},
};
use super::{
    asked::command,
    chain::LINE_LIMIT,
    files::{self, LineEnd},
    record::{Attempt, Event, Stub},
    text::{Text, write_json},
};

mod row;
mod told;

/// The maximum number of commands that are remembered until they are over; a server has far fewer. If
/// there are more, the oldest is forgotten.
const OPEN: usize = 65_536;
/// The maximum characters of a command that are shown to people.
const LONGEST: usize = 4096;

/// The choice of records that are shown.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The peer whose records are shown; `None` for all peers.
    pub peer: Option<String>,
    /// The job whose records are shown; `None` for all jobs.
    pub job: Option<String>,
    /// The time of the earliest record that is shown; `None` for the whole log.
    pub since: Option<Timestamp>,
    /// True if records are shown as JSON instead of lines for people.
    pub json: bool,
}

/// The least width of a terminal, in columns, for one line a record: that of the columns with a short command.
const WIDE: usize = 132;

/// The lines in which records are shown to people.
#[derive(Debug)]
enum Lines {
    /// One line a record, the same for every reader: columns that programs can cut.
    Columns {
        /// The width of a terminal, at which a longer record goes on below.
        width: Option<usize>,
    },
    /// Short lines for a narrow terminal: the day stands above its records, and each command below its line.
    Narrow {
        /// The width of the terminal.
        width: usize,
        /// The day that was printed last.
        day: String,
    },
}

/// A view of records, one after another.
#[derive(Debug)]
pub struct Show<W> {
    filter: Filter,
    out: W,
    lines: Lines,
    open: HashMap<String, OpenCommand>,
    order: VecDeque<String>,
    unreadable: u64,
}

/// The facts about a command that is not over.
#[derive(Debug, Default)]
struct OpenCommand {
    time: String,
    peer: String,
    /// True if the peer used an emergency certificate.
    emergency: bool,
    address: String,
    /// The account that it runs as, or was to run as.
    account: String,
    command: String,
    is_line: bool,
    started: bool,
    /// What the process of a transfer said of it.
    transfer: String,
}

impl<W: Write> Show<W> {
    /// Returns a view that writes the records that `filter` selects to `out`.
    pub fn new(filter: Filter, out: W) -> Self {
        let lines = Lines::Columns { width: None };
        Self { filter, out, lines, open: HashMap::new(), order: VecDeque::new(), unreadable: 0 }
    }

    /// Returns this view for a terminal of `width` columns: with short lines, if it is narrow.
    pub fn at_terminal(self, width: usize) -> Self {
        let lines = match width < WIDE {
            true => Lines::Narrow { width, day: String::new() },
            false => Lines::Columns { width: Some(width) },
        };
        Self { lines, ..self }
    }

    /// Shows a file.
    ///
    /// # Errors
    /// If the file can't be read, or `out` can't be written.
    pub fn file(&mut self, reader: &mut impl BufRead) -> io::Result<()> {
        let (mut line, mut skipping) = (Vec::new(), false);
        loop {
            line.clear();
            let ended = files::next_line(reader, &mut line, LINE_LIMIT)?;
            match ended {
                // This is the rest of a line that was too long.
                LineEnd::Whole if std::mem::take(&mut skipping) => {}
                LineEnd::Whole => self.line(&line)?,
                LineEnd::TooLong if skipping => {}
                LineEnd::TooLong => {
                    skipping = true;
                    self.long_line(&line)?;
                }
                LineEnd::Torn | LineEnd::File => return Ok(()),
            }
        }
    }

    /// Shows the commands that have no end yet. Returns the number of lines that were not records.
    ///
    /// # Errors
    /// If `out` can't be written.
    pub fn end(mut self) -> io::Result<u64> {
        if !self.filter.json {
            for job in std::mem::take(&mut self.order) {
                let Some(asked) = self.open.remove(&job) else { continue };
                let what = if asked.started { "running" } else { "waiting" };
                self.command(&asked, &job, what)?;
            }
        }
        self.out.flush()?;
        Ok(self.unreadable)
    }

    /// Shows a notice for a line that is too long to be shown, which earlier versions could write.
    fn long_line(&mut self, start: &[u8]) -> io::Result<()> {
        let Some(Stub { time, .. }) = Stub::at(start) else {
            self.unreadable += 1;
            return Ok(());
        };
        if self.filter.json {
            return Ok(());
        }
        self.notice(&time, "-", "a record that is too long to be shown")
    }

    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        let (Ok(stub), Ok(event)) =
            (serde_json::from_slice::<Stub>(line), serde_json::from_slice::<Event>(line))
        else {
            self.unreadable += 1;
            return Ok(());
        };
        if self.filter.json {
            self.json(line, &stub, &event)
        } else {
            self.event(&stub.time, event)
        }
    }

    fn json(&mut self, line: &[u8], stub: &Stub, event: &Event) -> io::Result<()> {
        let known = event.job().and_then(|job| self.open.get(job));
        let peer = peer(event).or(known.map(|asked| asked.peer.as_str()));
        let fits = self.fits(peer, event.job(), &stub.time);
        if let Event::Attempt(attempt) = event {
            self.remember(&stub.time, attempt);
        } else if let Some(job) = event.job().filter(|_| is_over(event)) {
            self.open.remove(job);
        }
        if fits {
            // Not the bytes of the file, which anybody may have written.
            let value: serde_json::Value = serde_json::from_slice(line)?;
            let mut safe = Vec::new();
            write_json(&value, &mut safe)?;
            safe.push(b'\n');
            self.out.write_all(&safe)?;
        }
        Ok(())
    }

    fn event(&mut self, time: &str, event: Event) -> io::Result<()> {
        match event {
            Event::Attempt(attempt) => self.remember(time, &attempt),
            Event::Start { job, peer, user, program, request, .. } => {
                let asked = self.open.entry(job).or_insert_with(|| OpenCommand {
                    time: time.to_owned(),
                    peer,
                    command: program.shown(),
                    ..OpenCommand::default()
                });
                asked.account = user.shown();
                asked.started = true;
                if let Some(request) = request {
                    asked.command = command(asked.is_line, &request.args, LONGEST);
                }
            }
            Event::Transfer(transfer) => {
                if let Some(asked) = self.open.get_mut(&transfer.job) {
                    asked.transfer = transferred(&transfer);
                }
            }
            Event::End(end) => {
                let transfer = self.open.get(&end.job).map(|asked| asked.transfer.as_str());
                let what = ended(&end) + transfer.unwrap_or_default();
                self.over(time, &end.job, None, &what)?;
            }
            Event::Denial { job, peer, reason, .. } => {
                let job = job.unwrap_or_default();
                self.over(time, &job, Some(&peer), &format!("denied ({reason})"))?;
            }
            Event::Refusal { job, peer, kind, message } => {
                self.over(time, &job, Some(&peer), &format!("{kind} ({message})"))?;
            }
            Event::Ask { peer, address, mode, asked, kind, .. } => {
                let what = format!("asked ({})", kind.as_deref().unwrap_or("permitted"));
                let account = asked.user.as_ref().map(Text::shown).unwrap_or_default();
                let command = command(mode == "shell", &asked.args, LONGEST);
                self.row(&Row {
                    time,
                    peer: &peer,
                    address: &address,
                    account: &account,
                    job: "",
                    what: &what,
                    command: &command,
                })?;
            }
            event => {
                if let Some((peer, what)) = other(&event) {
                    self.notice(time, peer, &what)?;
                }
            }
        }
        Ok(())
    }

    fn remember(&mut self, time: &str, attempt: &Attempt) {
        let is_line = attempt.mode == "shell";
        let asked = OpenCommand {
            time: time.to_owned(),
            peer: attempt.peer.clone(),
            emergency: attempt.break_glass,
            address: attempt.address.clone(),
            account: attempt.asked.user.as_ref().map(Text::shown).unwrap_or_default(),
            command: command(is_line, &attempt.asked.args, LONGEST),
            is_line,
            started: false,
            transfer: String::new(),
        };
        self.open.insert(attempt.job.clone(), asked);
        self.order.push_back(attempt.job.clone());
        while self.order.len() > OPEN {
            if let Some(oldest) = self.order.pop_front() {
                self.open.remove(&oldest);
            }
        }
    }

    fn over(&mut self, time: &str, job: &str, peer: Option<&str>, what: &str) -> io::Result<()> {
        let asked = self.open.remove(job).unwrap_or_else(|| OpenCommand {
            time: time.to_owned(),
            peer: peer.unwrap_or("?").to_owned(),
            ..OpenCommand::default()
        });
        // Commands at the front that are over need not be remembered.
        while self.order.front().is_some_and(|job| !self.open.contains_key(job)) {
            self.order.pop_front();
        }
        self.command(&asked, job, what)
    }

    fn fits(&self, peer: Option<&str>, job: Option<&str>, time: &str) -> bool {
        let time = time.parse::<Timestamp>().ok();
        self.filter.peer.as_deref().is_none_or(|wanted| peer == Some(wanted))
            && self.filter.job.as_deref().is_none_or(|wanted| job == Some(wanted))
            && self.filter.since.is_none_or(|since| time.is_some_and(|time| time >= since))
    }

    fn command(&mut self, asked: &OpenCommand, job: &str, what: &str) -> io::Result<()> {
        let OpenCommand { time, peer, address, account, command, .. } = asked;
        let command = &match asked.emergency {
            true => format!("(break-glass) {command}"),
            false => command.clone(),
        };
        self.row(&Row { time, peer, address, account, job, what, command })
    }

    fn notice(&mut self, time: &str, peer: &str, what: &str) -> io::Result<()> {
        self.row(&Row { time, peer, address: "", account: "", job: "", what, command: "" })
    }

    fn row(&mut self, row: &Row<'_>) -> io::Result<()> {
        if !self.fits(Some(row.peer), Some(row.job), row.time) {
            return Ok(());
        }
        match &mut self.lines {
            Lines::Columns { width } => writeln!(self.out, "{}", row.columns(*width)),
            Lines::Narrow { width, day } => {
                if row.day() != day.as_str() {
                    row.day().clone_into(day);
                    writeln!(self.out, "{}, in UTC", escaped(day))?;
                }
                self.out.write_all(row.narrow(*width).as_bytes())
            }
        }
    }
}

fn is_over(event: &Event) -> bool {
    matches!(event, Event::End(_) | Event::Denial { .. } | Event::Refusal { .. })
}

fn peer(event: &Event) -> Option<&str> {
    match event {
        Event::Attempt(attempt) => Some(&attempt.peer),
        Event::Transfer(transfer) => Some(&transfer.peer),
        Event::Start { peer, .. }
        | Event::Denial { peer, .. }
        | Event::Refusal { peer, .. }
        | Event::Ask { peer, .. }
        | Event::TurnedAway { peer, .. }
        | Event::Kill { peer, .. }
        | Event::Cut { peer, .. } => Some(peer),
        _ => None,
    }
}
