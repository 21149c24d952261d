//! Helpers for tests of the display: screens that keep what is written to them, targets, and ends
//! of targets.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rcmd_client::hosts::{Evaluation, Expression, HostTarget};
use rcmd_client::inventory::Inventory;
use rcmd_client::{Chunk, ErrorKind, Outcome, Report, WireError};
use tokio::sync::mpsc;

use crate::fleet::display::context::Context;
use crate::fleet::display::place::{Failures, Place};
use crate::fleet::display::screen::{Look, Screen, Screens};
use crate::fleet::display::store::Store;

/// The bytes that were written to both screens.
#[derive(Clone, Default)]
pub(in crate::fleet::display) struct Captured {
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    /// The bytes of both screens, in the order in which they were written.
    all: Arc<Mutex<Vec<u8>>>,
}

struct Pen(Arc<Mutex<Vec<u8>>>, Arc<Mutex<Vec<u8>>>);

impl Write for Pen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        self.1.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The kind of screens that a test wants.
#[derive(Clone, Copy)]
pub(in crate::fleet::display) struct Kind {
    /// True if standard error is a terminal, and standard output too unless it is piped.
    pub(in crate::fleet::display) terminal: bool,
    pub(in crate::fleet::display) piped: bool,
    pub(in crate::fleet::display) colour: bool,
    pub(in crate::fleet::display) columns: usize,
    pub(in crate::fleet::display) live: bool,
}

pub(in crate::fleet::display) const PIPE: Kind =
    Kind { terminal: false, piped: false, colour: false, columns: 80, live: false };
pub(in crate::fleet::display) const TERMINAL: Kind = Kind { terminal: true, ..PIPE };

impl Captured {
    pub(in crate::fleet::display) fn pipes() -> (Self, Screens) {
        let (captured, screens, _) = Self::screens(PIPE);
        (captured, screens)
    }

    pub(in crate::fleet::display) fn screens(
        kind: Kind,
    ) -> (Self, Screens, mpsc::Receiver<(Place, io::Error)>) {
        let captured = Self::default();
        let all = &captured.all;
        let screen = |seen: &Arc<Mutex<Vec<u8>>>, terminal| {
            let Kind { colour, columns, .. } = kind;
            let look = Look { terminal, colour, columns: Box::new(move || columns) };
            Screen::new(look, Box::new(Pen(Arc::clone(seen), Arc::clone(all))))
        };
        let (failures, told) = Failures::channel();
        let (stdout, stderr) = (
            screen(&captured.stdout, kind.terminal && !kind.piped),
            screen(&captured.stderr, kind.terminal),
        );
        let screens = Screens::new(stdout, stderr, kind.live, failures);
        (captured, screens, told)
    }

    /// Returns what writes to standard error alone.
    pub(in crate::fleet::display) fn err_pen(&self) -> Box<dyn Write + Send> {
        Box::new(Pen(Arc::clone(&self.stderr), Arc::clone(&self.all)))
    }

    pub(in crate::fleet::display) fn stdout(&self) -> Vec<u8> {
        self.stdout.lock().unwrap().clone()
    }

    pub(in crate::fleet::display) fn out(&self) -> String {
        String::from_utf8(self.stdout()).unwrap()
    }

    pub(in crate::fleet::display) fn err(&self) -> String {
        String::from_utf8(self.stderr.lock().unwrap().clone()).unwrap()
    }

    pub(in crate::fleet::display) fn all(&self) -> String {
        String::from_utf8(self.all.lock().unwrap().clone()).unwrap()
    }
}

/// Returns the targets of an expression.
pub(in crate::fleet::display) fn targets(hosts: &str) -> Arc<[HostTarget]> {
    let inventory = Inventory::default();
    let expression = Expression::parse(hosts).unwrap();
    let set = Evaluation::new(&inventory).evaluate(&expression).unwrap();
    set.targets(&inventory).unwrap().into()
}

/// Returns a context of captured screens.
pub(in crate::fleet::display) fn context(hosts: &str, kind: Kind) -> (Captured, Context) {
    let (captured, screens, _) = Captured::screens(kind);
    let store = Store::default();
    (captured, Context { targets: targets(hosts), screens, store, raw: false })
}

/// Returns a piece of output.
pub(in crate::fleet::display) fn chunk(bytes: &[u8]) -> Chunk {
    Chunk { offset: 0, time: Some(0), bytes: Bytes::copy_from_slice(bytes) }
}

/// Returns the report of a command that exited.
pub(in crate::fleet::display) fn exited(code: u8) -> Report {
    Report { code: Some(code), error: None, ..failed(Outcome::Exited, ErrorKind::Lost, "") }
}

/// Returns the report of a target of which something went wrong.
pub(in crate::fleet::display) fn failed(
    outcome: Outcome,
    kind: ErrorKind,
    message: &str,
) -> Report {
    Report::without_job("a", outcome, WireError::new(kind, message))
}
