//! The end of a run: what remains is printed, leave is taken, and the exit status found.

use std::io;

use rcmd_client::{Client, ErrorKind, Outcome, Report, Signal, WireError};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{CommandsRun, Scope, printed};
use crate::arguments::commands::Commands;
use crate::arguments::fleet::Summary;
use crate::commands::dispatch::Move;
use crate::commands::lines::Lines;
use crate::commands::one::interrupted;
use crate::commands::results::Results;
use crate::output::piece::Piece;
use crate::output::sink::{Feed, Written};
use crate::session::not_started;
use crate::signals::LAST_OUTPUT;
use crate::text::Tone;
use crate::{status, text};

/// The reason for which a run ends before its commands do.
#[derive(Debug)]
pub(super) enum Abort {
    /// The reader of the results has gone away.
    ReaderGone,
    /// Standard input could not be read, or standard output could not be written.
    LocalIo(WireError),
    /// The run was given up after this signal, because its commands did not end in time.
    GivenUp(Signal),
}

impl Abort {
    /// Returns the reason that the end of the writer is, if it is any.
    pub(super) fn by_writing(end: io::Result<()>) -> Option<Self> {
        let error = end.err()?;
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Some(Self::ReaderGone);
        }
        let message = format!("cannot write standard output: {error}");
        Some(Self::LocalIo(WireError::new(ErrorKind::LocalIo, message).hint(
            "Commands that still ran were killed on their hosts; free space on this machine, or send the results elsewhere.",
        )))
    }
}

impl CommandsRun<'_> {
    /// Prints what remains, takes leave, and returns the exit status.
    pub(in crate::commands) async fn conclude(mut self) -> u8 {
        // Lines that nothing came of.
        let left = self.lines.as_ref().is_some_and(Lines::are_left) || self.dispatch.waiting() > 0;
        // What still runs is killed there.
        self.tasks.abort_all();
        let mut clients = self.account_for_the_rest();
        let (lines, last) = self.account();
        let Self {
            scope,
            commands,
            dispatch,
            results,
            out,
            written,
            interruption,
            interrupted: signal,
            reader_gone,
            tally,
            progress,
            unread,
            mut abort,
            ..
        } = self;
        let gives_up = matches!(abort, Some(Abort::GivenUp(_)));
        let ends_early = abort.is_some() || reader_gone;
        let (is_many, patient) = (scope.is_many(), !gives_up && !interruption.is_impatient());
        let host = match &scope {
            Scope::One { host, .. } => Some(&**host),
            Scope::Many { .. } => None,
        };
        let telling = progress.finish(&tally, host, lines, last);
        let printing = async {
            if reader_gone || ends_early && !gives_up {
                return Ok(());
            }
            print_all(results, commands, out, written).await
        };
        let printed = if is_many && patient {
            // The account is waited for as results are.
            let both = async {
                let printed = printing.await;
                telling.await;
                printed
            };
            interruption.unless_caught(both).await
        } else {
            let printed = match gives_up {
                // Whoever interrupted twice does not wait for a full pager either.
                true => Ok(timeout(LAST_OUTPUT, printing).await.unwrap_or(Ok(()))),
                false => interruption.unless_caught(printing).await,
            };
            let _ = timeout(LAST_OUTPUT, telling).await;
            printed
        };
        if abort.is_none() {
            abort = unread.map(Abort::LocalIo);
        }
        if abort.is_none() {
            abort = printed.map_or_else(|signal| Some(Abort::GivenUp(signal)), Abort::by_writing);
        }
        let status = match (&abort, signal) {
            (Some(Abort::LocalIo(_)), _) => status::LOCAL_IO,
            (Some(Abort::ReaderGone), _) => status::READER_GONE,
            _ if reader_gone => status::READER_GONE,
            (Some(Abort::GivenUp(signal)), None) => signal.exit_status(),
            (Some(Abort::GivenUp(signal)), _) if !is_many => signal.exit_status(),
            (Some(_), Some(signal)) => signal.exit_status(),
            (None, Some(signal)) if left || is_many => signal.exit_status(),
            (None, _) => tally.status(),
        };
        if let Some(Abort::LocalIo(failure)) = &abort {
            text::say(&text::failure(host, failure));
        }
        if !matches!(abort, Some(Abort::GivenUp(_))) {
            clients.extend(dispatch.into_connections());
            let mut leaving = JoinSet::new();
            for client in clients {
                leaving.spawn(client.close());
            }
            while leaving.join_next().await.is_some() {}
        }
        status
    }

    /// Counts what a run over many hosts that ends early has not ended, and returns connections that
    /// nobody needs.
    fn account_for_the_rest(&mut self) -> Vec<Client> {
        let mut clients = Vec::new();
        self.stop_reading();
        let Scope::Many { account, .. } = &mut self.scope else { return clients };
        let lost = || WireError::new(ErrorKind::Lost, "the run ended before its end came");
        for (host, count) in self.dispatch.unfinished() {
            let report = Report::without_job(&host.name, Outcome::Unknown, lost());
            (0..count).for_each(|_| account.add(&report));
        }
        if self.dispatch.waiting() > 0 {
            self.dispatch.stop(interrupted());
        }
        while let Some(next) = self.dispatch.next() {
            match next {
                Move::Fail(line, failure) => {
                    let host = self.dispatch.target(line.host).map(|host| &*host.name);
                    account.add(&not_started(host.unwrap_or_default(), failure));
                }
                Move::Leave(id, client) => {
                    clients.push(client);
                    self.dispatch.left(id);
                }
                Move::Begin(_) | Move::Connect(_) => {}
            }
        }
        clients
    }

    /// Returns the account of many hosts, as lines for people or as an object.
    fn account(&self) -> (Vec<(Tone, String)>, Option<String>) {
        let Scope::Many { account, summary, .. } = &self.scope else { return (Vec::new(), None) };
        match summary {
            Summary::Table => (account.lines(self.verbosity, self.maker.used()), None),
            Summary::Json => (Vec::new(), Some(account.event() + "\n")),
            Summary::None => (Vec::new(), None),
        }
    }
}

/// Prints what ended and was not printed.
async fn print_all(
    mut results: Results,
    commands: &Commands,
    out: Feed,
    written: Written,
) -> io::Result<()> {
    while let Some(done) = results.pop() {
        // A writer that has ended has nothing more to say here.
        let _ = out.send(Piece::Note(printed(&done, commands))).await;
    }
    drop(out);
    written.await
}
