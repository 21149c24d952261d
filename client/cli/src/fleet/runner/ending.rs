//! The end of a run: what remains is printed, and the exit status found.

use std::io;
use std::time::Duration;

use rcmd_client::{ErrorKind, Outcome, Report, WireError};
use tokio::time::timeout;

use super::Runner;
use crate::fleet::account::Stopped;
use crate::fleet::display::{Place, Shown};
use crate::output::sink;
use crate::settings::Verbosity;
use crate::signals::{Caught, LAST_OUTPUT, Signals};
use crate::status;
use crate::text::{self, Tone};

impl Runner {
    /// Ends the targets of which no end came: each has one.
    pub(super) fn end_the_rest(&mut self) {
        for index in self.account.unended() {
            let report = no_end(&self.maker.host(index), self.maker.asks());
            self.end(index, Box::new(report), false);
        }
    }

    /// Prints what remains and the account, and returns the exit status.
    pub(super) async fn conclude(mut self, mut signals: Signals) -> u8 {
        if let Ok(failure) = self.warnings.try_recv() {
            self.show(Shown::Warning(failure));
        }
        let Self { feed, waiting, display, mut account, .. } = self;
        let Self { maker, escalation, failure, reader_gone, .. } = self;
        if maker.run().is_none() {
            account.set_next(None);
        }
        let signal = escalation.first().filter(|_| failure.is_none() && !reader_gone);
        let stopped = match signal {
            Some(signal) => Some(Stopped::Signal(signal)),
            None => self.stopped,
        };
        let status = account.status(stopped);
        // For when the display, which tells it, waits for a reader that does not read.
        let lines = account.lines(Verbosity::Normal);
        let finishing = async move {
            for shown in waiting {
                if feed.send(shown).await.is_err() {
                    break;
                }
            }
            drop(feed);
            display.finish(account).await
        };
        let mut finishing = std::pin::pin!(finishing);
        let finished = if escalation.is_impatient() {
            match timeout(LAST_OUTPUT, finishing).await {
                Ok(finished) => finished,
                Err(_) => {
                    say_within(LAST_OUTPUT, lines);
                    Ok(())
                }
            }
        } else {
            loop {
                tokio::select! {
                    finished = &mut finishing => break finished,
                    caught = signals.next() => if let Caught::Ending(signal) = caught {
                        // Nothing runs any more: it is for this process alone.
                        let finished = timeout(LAST_OUTPUT, finishing).await;
                        match finished {
                            Ok(finished) => break finished,
                            Err(_) if reader_gone => return status::READER_GONE,
                            Err(_) => return signal.exit_status(),
                        }
                    }
                }
            }
        };
        let failure = failure.or(finished.err());
        match failure {
            Some((Place::Screen(sink::Place::Stdout), error))
                if error.kind() == io::ErrorKind::BrokenPipe =>
            {
                status::READER_GONE
            }
            _ if reader_gone => status::READER_GONE,
            Some((Place::Screen(sink::Place::Stderr), error))
                if error.kind() == io::ErrorKind::BrokenPipe =>
            {
                status
            }
            Some((place, error)) => {
                text::say(&text::failure(None, &unwritten(&place, &error)));
                status::LOCAL_IO
            }
            None => status,
        }
    }
}

/// Returns the report of a target of which no end came; with `asks` nothing was to run on it.
fn no_end(host: &str, asks: bool) -> Report {
    let failure = |message: &str| WireError::new(ErrorKind::Lost, message);
    let (outcome, failure) = match asks {
        true => (
            Outcome::NotStarted,
            failure("the host did not answer")
                .hint("The host was only asked, and nothing ran; repeat the command."),
        ),
        false => (
            Outcome::Unknown,
            failure("the host did not report the end of the command")
                .hint("Look on the host for what became of the command."),
        ),
    };
    Report::without_job(host, outcome, failure)
}

/// Writes an account past the display, as far as standard error takes it within this time.
fn say_within(limit: Duration, lines: Vec<(Tone, String)>) {
    let (said, heard) = std::sync::mpsc::channel();
    let say = move || {
        lines.iter().for_each(|(tone, line)| text::say(&text::line(*tone, line)));
        // Whoever waited may have left.
        let _ = said.send(());
    };
    if std::thread::Builder::new().name("account".to_owned()).spawn(say).is_ok() {
        let _ = heard.recv_timeout(limit);
    }
}

fn unwritten(place: &Place, error: &io::Error) -> WireError {
    let message = format!("cannot write {}: {error}", place.name());
    WireError::new(ErrorKind::LocalIo, message)
        .hint("Commands that still ran were ended; make room here, or send the output elsewhere.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_was_only_asked_has_run_nothing_and_any_other_may_have() {
        let asked = no_end("web1", true);
        assert_eq!((asked.outcome, asked.retry_safe), (Outcome::NotStarted, true));
        assert!(asked.error.unwrap().hint.unwrap().contains("nothing ran"));
        let ran = no_end("web1", false);
        assert_eq!((ran.outcome, ran.retry_safe), (Outcome::Unknown, false));
    }
}
