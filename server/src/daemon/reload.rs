//! SIGHUP: limits, policy, certificates and keys are read again, on the thread of `upkeep`.

use std::sync::Arc;

use rcmd_certs::Layout;
use tracing::{error, info};

use super::notices::{log_policy, warn_of_certificates};
use crate::{
    config::ServerSettings,
    job::Message,
    policy::{self, Vocabulary},
    state::ServerState,
};

/// Reloads the limits of identities, and returns the policy's vocabulary and whether the file is valid. If it is not,
/// the old ones stay in use.
fn reload_settings(layout: &Layout, state: &ServerState) -> (Vocabulary, bool) {
    let audit = &state.jobs.audit;
    match ServerSettings::load(layout, state.settings.listen.clone()) {
        Ok(settings) => {
            state.relimit(&settings.limits);
            audit.reloaded("limits", None, None);
            info!("limits of identities reloaded");
            (settings.vocabulary, true)
        }
        Err(error) => {
            audit.reloaded("limits", Some(error.to_string()), None);
            error!(%error, "limits not reloaded; they and the policy's vocabulary stay as they were");
            (state.policy.load().vocabulary(), false)
        }
    }
}

/// Reloads limits, policy, certificates and keys. Each that is invalid leaves the old one in use; returns the names of
/// these. Waits for the disk.
///
/// # Panics
/// Outside a tokio runtime, whose tasks notify the jobs of the new policy.
pub(super) fn reload(layout: &Layout, state: &ServerState) -> Vec<&'static str> {
    let (vocabulary, is_valid) = reload_settings(layout, state);
    let mut failed = if is_valid { Vec::new() } else { vec!["limits"] };
    let (settings, audit) = (&state.settings, &state.jobs.audit);
    match policy::file::load(&settings.data.policy, &settings.host, vocabulary) {
        Ok(policy) => {
            log_policy(settings, &policy);
            let policy = Arc::new(policy);
            audit.reloaded("policy", None, None);
            state.policy.store(Arc::clone(&policy));
            info!("policy reloaded");
            for job in state.registry.all_live() {
                job.tell_soon(Message::Judge(Arc::clone(&policy)), &state.tasks);
            }
        }
        Err(error) => {
            audit.reloaded("policy", Some(error.to_string()), None);
            error!(%error, "policy not reloaded; the old one stays in use");
            failed.push("policy");
        }
    }
    match state.reload_trust("certificates") {
        Ok(()) => {
            warn_of_certificates(&state.settings);
            info!("certificates reloaded");
        }
        Err(error) => {
            error!(%error, "certificates not reloaded; the old ones stay in use");
            failed.push("certificates");
        }
    }
    failed
}
