//! The beginnings of connections, of commands, and of taking leave.

use std::sync::Arc;

use rcmd_client::{Client, ErrorKind, WireError};
use tokio::time::Instant;

use super::{CommandsRun, Finished};
use crate::commands::dispatch::{HostId, HostLine, Move};
use crate::commands::one::{self, Done};
use crate::session::not_started;

impl CommandsRun<'_> {
    /// Begins all that can begin now.
    pub(super) fn begin(&mut self) {
        // On one host nothing begins after a signal; its connection is left at the end.
        let ends = self.interrupted.is_some() && !self.scope.is_many();
        while !ends
            && self.abort.is_none()
            && self.has_room()
            && let Some(next) = self.dispatch.next()
        {
            match next {
                Move::Connect(id) => self.connect(id),
                Move::Leave(id, client) => self.leave(Some(id), client),
                Move::Begin(line) => self.begin_line(line),
                Move::Fail(line, failure) => self.fail(&line, failure),
            }
        }
    }

    /// Takes leave of a host.
    pub(super) fn leave(&mut self, id: Option<HostId>, client: Client) {
        self.tasks.spawn(async move {
            client.close().await;
            Finished::Left(id)
        });
    }

    fn connect(&mut self, id: HostId) {
        if let Some(failure) = self.refusals.of(id, Instant::now()) {
            return self.dispatch.connected(id, Err(failure));
        }
        let Some(host) = self.dispatch.target(id) else { return };
        let (config, target) = (self.scope.config().clone(), host.target.clone());
        self.progress.forget(&host.name);
        let task = self.tasks.spawn(async move {
            let connected = Client::connect(&config, &target).await;
            Finished::Connected(id, connected.map_err(WireError::from))
        });
        self.connecting.insert(id, task);
    }

    fn begin_line(&mut self, line: HostLine) {
        let HostLine { host: id, index, entry } = &line;
        let made = match (self.dispatch.target(*id), self.dispatch.connection(*id), &entry.words) {
            (_, _, Err(failure)) => Err(failure.clone()),
            (Some(host), Some(client), Ok(words)) => {
                let command = self.maker.make(host, *index, words, client);
                command.map(|command| (Arc::clone(&host.name), command))
            }
            _ => Err(WireError::new(ErrorKind::Lost, "there is no such host")),
        };
        match made {
            Err(failure) => {
                self.dispatch.ended(line.host, false);
                self.fail(&line, failure);
            }
            Ok((host, command)) => {
                let (handles, most) = (self.controls.handles(), self.commands.max_output);
                let index = self.scope.is_many().then_some(line.index);
                self.tasks.spawn(async move {
                    let (report, stdout, stderr) =
                        one::carry_out(&host, command, most, handles).await;
                    let (id, HostLine { entry, .. }) = (line.host, line);
                    let (place, line) = (entry.place, entry.number);
                    let done = Done { place, line, index, report, stdout, stderr };
                    Finished::Ended(id, Box::new(done))
                });
            }
        }
    }

    /// Ends a line on a host that was not begun there. A line that is no command ends for that, whatever
    /// became of the host.
    pub(super) fn fail(&mut self, line: &HostLine, failure: WireError) {
        let HostLine { host, index, entry } = line;
        let failure = entry.words.as_ref().err().cloned().unwrap_or(failure);
        let index = self.scope.is_many().then_some(*index);
        let host = self.dispatch.target(*host).map(|host| &*host.name).unwrap_or_default();
        let report = not_started(host, failure);
        self.end(Done::not_started(entry.place, entry.number, index, report));
    }
}
