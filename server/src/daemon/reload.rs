//! SIGHUP: limits, policy, certificates and keys are read again, on the thread of `upkeep`.

use std::sync::Arc;

use rcmd_certs::Layout;
use tracing::{error, info};

use super::notices::{log_policy, warn_of_certificates};
use crate::{config::ServerSettings, job::Message, policy, state::ServerState};

/// Reloads the limits of identities. The old ones stay in use if the new ones are invalid.
fn reload_limits(layout: &Layout, state: &ServerState) {
    let audit = &state.jobs.audit;
    match ServerSettings::load(layout, state.settings.listen.clone()) {
        Ok(settings) => {
            state.relimit(&settings.limits);
            audit.reloaded("limits", None, None);
            info!("limits of identities reloaded");
        }
        Err(error) => {
            audit.reloaded("limits", Some(error.to_string()), None);
            error!(%error, "limits not reloaded; the old ones stay in use");
        }
    }
}

/// Reloads limits, policy, certificates and keys. Each that is invalid leaves the old one in use.
/// Waits for the disk.
///
/// # Panics
/// Outside a tokio runtime, whose tasks notify the jobs of the new policy.
pub(super) fn reload(layout: &Layout, state: &ServerState) {
    reload_limits(layout, state);
    let (settings, audit) = (&state.settings, &state.jobs.audit);
    match policy::file::load(&settings.data.policy, &settings.host) {
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
        }
    }
    match state.reload_trust("certificates") {
        Ok(()) => {
            warn_of_certificates(&state.settings);
            info!("certificates reloaded");
        }
        Err(error) => error!(%error, "certificates not reloaded; the old ones stay in use"),
    }
}
