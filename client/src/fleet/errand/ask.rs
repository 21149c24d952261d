//! Asking a host what it would permit, instead of running anything there.

use std::sync::Arc;

use rcmd_protocol::outcome::Outcome;

use super::{End, Errand, held_back};
use crate::{client::Client, fleet::FleetEvent, report::Report};

impl Errand {
    /// Asks a host about its command.
    pub(super) async fn ask(&mut self, host: &str, client: &Client) -> End {
        let (run, place) = (Arc::clone(&self.run), self.place);
        let answer = async {
            let mut command = (run.command)(place, client)?;
            command.dry_run().await
        };
        let answer = tokio::select! {
            answer = answer => Ok(answer),
            // Nothing runs there that would have to end first.
            why = self.stopped() => Err(why),
        };
        match answer {
            Ok(Ok(note)) => {
                self.tell(FleetEvent::Permitted(note)).await;
                Report::permitted(host).into()
            }
            Ok(Err(error)) => Report::without_job(host, Outcome::NotStarted, error.into()).into(),
            Err(why) => End { report: held_back(host, why), held_back: Some(why) },
        }
    }
}
