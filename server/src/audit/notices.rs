//! Records of what happens on the host without a request: files are read again, peers are cut off,
//! certificates are renewed, operators end commands.

use rcmd_certs::signature::Signer;
use tracing::warn;

use super::{Audit, AuditHealth, record::Event};
use crate::trust::Peer;

impl Audit {
    /// Records that files were read again. If `signer` is given, it signs from now on. Waits for
    /// the disk.
    pub fn reloaded(&self, what: &str, failure: Option<String>, signer: Option<Signer>) {
        let event = Event::Reload { what: what.to_owned(), failure }.bounded();
        let noted = self.shared.order(|writer| {
            writer.note_late(event);
            if let Some(signer) = signer {
                writer.replace_signer(signer);
                if let Err(error) = writer.sign() {
                    warn!(%error, "audit: no checkpoint under the new key");
                }
            }
        });
        drop(noted);
        self.shared.carry_out();
    }

    /// Orders the record that a peer's connection or commands are ended because they are no longer
    /// permitted. It is written soon; nothing waits for it.
    pub fn cut(&self, peer: &Peer, reason: &str) {
        let event = Event::Cut {
            peer: peer.user().to_owned(),
            address: peer.origin().to_string(),
            reason: reason.to_owned(),
        };
        drop(self.shared.order(move |writer| writer.note_late(event.bounded())));
    }

    /// Orders the record that an operator of the host, the local user `uid`, ends a command of
    /// `peer`. It is written before the record of the command's end; nothing waits for it, so that
    /// a command can be ended although the log can't be written.
    pub fn killed(&self, job: &str, peer: &str, uid: u32) {
        let event = Event::Kill { job: job.to_owned(), peer: peer.to_owned(), uid };
        drop(self.shared.order(move |writer| writer.note_late(event)));
    }

    /// Records that the host's own certificate was renewed, or could not be. Waits for the disk.
    pub fn enrollment(&self, what: &str, failure: Option<String>) {
        let event = Event::Enrollment { what: what.to_owned(), failure };
        drop(self.shared.order(move |writer| writer.note_late(event.bounded())));
        self.shared.carry_out();
    }

    /// Returns the state of the log. Never waits for the disk.
    pub fn health(&self) -> AuditHealth {
        self.shared.health()
    }
}
