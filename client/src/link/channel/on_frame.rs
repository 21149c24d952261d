//! The handling of the server's frames for a command: each is allowed in certain states only.

use rcmd_protocol::{
    digest::Algorithm,
    error::ProtocolError,
    frame::{Attached, Data, End, Exit, Frame, Refusal, Stream, Verdict, Window},
    ids::JobId,
    outcome::{ErrorKind, Outcome, WireError},
    stream::EndError,
};

use super::{
    Channel, GENERATION_RETRIES, Next,
    state::{Job, Named, StartSent, State},
};
use crate::link::{
    connection::Connection, input::Senders, notices::Notice, order::Purpose, progress::Started,
};

impl Channel {
    /// Takes a frame of its channel.
    pub(in crate::link) fn handle(
        &mut self,
        frame: Frame,
        connection: &mut Connection,
    ) -> Result<Next, ProtocolError> {
        let kind = frame.kind().as_str();
        match (self.purpose, &frame) {
            (Purpose::DryRun, Frame::Verdict(_)) => {}
            (Purpose::DryRun, _) => return Err(unexpected(kind, "nothing was to run")),
            (_, Frame::Verdict(_)) => return Err(unexpected(kind, "nobody asked for it")),
            (_, _) => {}
        }
        match frame {
            Frame::Verdict(verdict) => return Ok(self.judged(verdict)),
            Frame::Queued { position, .. } => {
                self.state = self.state.mended();
                self.notice(Notice::Queued(position));
            }
            Frame::Started(started) => {
                if matches!(self.state, State::Attaching { .. }) || self.job.started_at().is_some()
                {
                    return Err(unexpected("started", "the command had started"));
                }
                self.state = State::Running { ch: started.ch };
                self.identify(started.job, started.digest, "started")?;
                self.note_start(started.started_at, started.note);
                self.streams.stdout.resume(started.digest, 0);
                self.streams.stderr.resume(started.digest, 0);
            }
            Frame::Attached(attached) => self.attached(attached, connection)?,
            Frame::Refused { reason, generation, .. } => {
                return Ok(self.refused(reason, generation, connection));
            }
            Frame::Data(data) => self.data(data, connection)?,
            Frame::End(end) => return self.end(&end, connection),
            Frame::Window(Window { got, upto, .. }) => {
                if let Some(input) = &mut self.streams.input {
                    input.window(got, upto)?;
                    self.send_input_if(Some(connection));
                }
            }
            Frame::Stop { .. } => {
                self.streams.close_input();
            }
            Frame::Exit { exit, .. } => return self.exit(&exit, connection),
            _ => {}
        }
        Ok(Next::Continue)
    }

    /// Takes the answer to a dry run.
    fn judged(&mut self, verdict: Verdict) -> Next {
        match verdict.answer {
            Err(failure) => self.conclude(Outcome::NotStarted, failure),
            Ok(note) => {
                self.reporter.permitted(note.unwrap_or_default());
                Next::Ended
            }
        }
    }

    fn identify(
        &mut self,
        job: JobId,
        digest: Algorithm,
        frame: &'static str,
    ) -> Result<(), ProtocolError> {
        let named = Named { id: job, digest };
        match self.job.named() {
            None => self.job = Job::Named(named),
            Some(known) if *known == named => {}
            Some(_) => return Err(unexpected(frame, "the command had another job or digest")),
        }
        Ok(())
    }

    fn note_start(&mut self, started_at: u64, note: Option<String>) {
        let named = match &mut self.job {
            Job::Started { at, .. } => {
                *at = started_at;
                return;
            }
            Job::Named(named) => named.clone(),
            // A job is named by the frame that tells of its start.
            Job::Unnamed => return,
        };
        let job = named.id.to_string();
        self.job = Job::Started { named, at: started_at };
        self.await_end();
        self.reporter.started(Started { job, note, started_at });
    }

    fn attached(
        &mut self,
        attached: Attached,
        connection: &mut Connection,
    ) -> Result<(), ProtocolError> {
        let (asked, lost) = match self.state {
            State::Starting { lost, .. } => (true, lost),
            State::Attaching { lost, .. } => (false, lost),
            State::Detached { .. } | State::Resting { .. } | State::Running { .. } => {
                return Err(unexpected("attached", "nothing was to be attached"));
            }
        };
        self.identify(attached.job, attached.digest, "attached")?;
        self.state = State::Running { ch: attached.ch };
        if let Some(started_at) = attached.started_at {
            self.note_start(started_at, None);
        }
        if let Some(lost) = lost {
            self.notice(Notice::Resumed(lost.since.elapsed()));
        }
        self.streams.stdout.resume(attached.digest, attached.output.stdout);
        self.streams.stderr.resume(attached.digest, attached.output.stderr);
        if let Some(input) = &mut self.streams.input {
            let is_shared = asked || self.start.body().keep();
            let senders = if is_shared { Senders::Several } else { Senders::Own };
            input.resume(attached.stdin, attached.stdin_ended, senders)?;
        }
        if asked {
            // Another client's signals came before; ours follow them.
            self.requests.follow(attached.number);
        } else {
            self.requests.carried_out(attached.number);
        }
        self.repeat_requests(connection);
        self.repeat_window(Stream::Stdout, connection);
        self.repeat_window(Stream::Stderr, connection);
        self.send_input(connection);
        Ok(())
    }

    fn refused(
        &mut self,
        reason: Refusal,
        other: Option<u64>,
        connection: &mut Connection,
    ) -> Next {
        let host = &self.host;
        let asking = matches!(self.state, State::Starting { .. });
        // Whoever began it may have spoken last by a clock that goes ahead of this one.
        let may_exceed = asking || self.purpose == Purpose::Attach;
        match reason {
            Refusal::UnknownKey
                if self.purpose == Purpose::Attach && self.job.named().is_none() =>
            {
                // Only keys that are kept are taken up so, and a start under one is recorded and synced
                // before it happens.
                let message = format!("{host} has never started it");
                let hint = "Start it, under the same key.";
                let failure = WireError::new(ErrorKind::NeverStarted, message).hint(hint);
                self.conclude(Outcome::NotStarted, failure)
            }
            Refusal::UnknownKey if !asking && self.may_start_again(connection) => Next::Restart,
            Refusal::UnknownKey => {
                let (message, hint) = match self.sent {
                    StartSent::Unknown => (
                        format!(
                            "{host} knows nothing of the command, and the connection that carried it broke \
                             before the server answered"
                        ),
                        "Look on the host whether the command ran.",
                    ),
                    _ => (
                        format!("{host} knows nothing of the command any more"),
                        "The server was restarted; look on the host for what the command did.",
                    ),
                };
                self.end_without(WireError::new(ErrorKind::Lost, message).hint(hint))
            }
            Refusal::Superseded if may_exceed && self.generation_retries < GENERATION_RETRIES => {
                self.generation_retries += 1;
                self.start.exceed(other.unwrap_or_default());
                Next::Restart
            }
            Refusal::Superseded => {
                let message = format!("another client has taken the command on {host} over");
                self.end_without(
                    WireError::new(ErrorKind::Lost, message)
                        .hint("That client has its output and end."),
                )
            }
            Refusal::Conflict => {
                let message = format!("on {host} this key stands for another request");
                let failure =
                    WireError::new(ErrorKind::KeyConflict, message).hint("Choose another --key.");
                let ran = self.job.named().is_some();
                self.conclude(if ran { Outcome::Unknown } else { Outcome::NotStarted }, failure)
            }
            Refusal::Gone => {
                let message = format!("{host} keeps the command's end no longer");
                let hint = "Look on the host for what the command did.";
                self.end_without(WireError::new(ErrorKind::Lost, message).hint(hint))
            }
        }
    }

    /// See the reasons above [`super`].
    fn may_start_again(&self, connection: &Connection) -> bool {
        let here = connection.hello.as_ref().map(|hello| hello.instance);
        let never =
            self.job.named().is_none() && here.is_some_and(|here| self.sent == StartSent::To(here));
        never || self.start.body().keep()
    }

    fn data(&mut self, data: Data, connection: &mut Connection) -> Result<(), ProtocolError> {
        self.on_job("data")?;
        let stream = data.stream;
        // A time that was not asked for is not passed on.
        let time = data.time.filter(|_| self.start.body().timestamps());
        self.streams.output(stream).data(Data { time, ..data })?;
        self.send_window_due(stream, connection);
        Ok(())
    }

    fn end(&mut self, end: &End, connection: &mut Connection) -> Result<Next, ProtocolError> {
        self.on_job("end")?;
        match self.streams.output(end.stream).end(end) {
            Ok(()) => Ok(Next::Continue),
            Err(EndError::Protocol(fault)) => Err(fault),
            Err(EndError::Corrupt(corrupt)) => Ok(self.corrupt(&corrupt, connection)),
        }
    }

    fn exit(&mut self, exit: &Exit, connection: &mut Connection) -> Result<Next, ProtocolError> {
        match exit.outcome() {
            Outcome::NotStarted if self.job.started_at().is_some() => {
                return Err(unexpected("exit", "the command had started"));
            }
            Outcome::NotStarted | Outcome::Unknown => {}
            Outcome::Exited | Outcome::Signaled | Outcome::TimedOut => {
                self.on_job("exit")?;
                let (stdout, stderr) = (exit.stdout(), exit.stderr());
                let streams = &self.streams;
                let settled = streams
                    .stdout
                    .check_exit(stdout.bytes, stdout.digest)
                    .and_then(|()| streams.stderr.check_exit(stderr.bytes, stderr.digest));
                match settled {
                    Ok(()) => {}
                    Err(EndError::Protocol(fault)) => return Err(fault),
                    Err(EndError::Corrupt(corrupt)) => {
                        return Ok(self.corrupt(&corrupt, connection));
                    }
                }
            }
        }
        if let Some(ch) = self.state.ch() {
            connection.send(Frame::Done { ch });
        }
        let not_started = exit.outcome() == Outcome::NotStarted;
        if exit.failure().is_some_and(|failure| not_started && self.rest(failure)) {
            return Ok(Next::RetryLater);
        }
        Ok(self.verified(exit))
    }

    fn on_job(&self, frame: &'static str) -> Result<(), ProtocolError> {
        match self.state {
            State::Running { .. } => Ok(()),
            _ => Err(unexpected(frame, "its command has not started")),
        }
    }

    /// Sends the server credit, if there is enough for a window.
    pub(super) fn send_window_due(&mut self, stream: Stream, connection: &mut Connection) {
        let window = self.state.ch().and_then(|ch| self.streams.output(stream).window_due(ch));
        window.into_iter().for_each(|window| connection.send(Frame::Window(window)));
    }

    /// Sends the server the offset that the stream has reached here, on a connection on which it has not had it.
    fn repeat_window(&mut self, stream: Stream, connection: &mut Connection) {
        let window = self.state.ch().and_then(|ch| self.streams.output(stream).window(ch));
        window.into_iter().for_each(|window| connection.send(Frame::Window(window)));
    }
}

fn unexpected(frame: &'static str, why: &'static str) -> ProtocolError {
    ProtocolError::Unexpected { frame, why }
}
