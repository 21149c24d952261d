//! The log messages about a server's configuration when it starts and reloads.

use std::io;

use anyhow::Result;
use rcmd_certs::tls;
use tracing::{info, warn};

use crate::{
    config::ServerSettings,
    policy::Rules,
    process::{Processes, TreeLimits},
};

/// The context of errors about starting processes.
pub(crate) const CANT_SPAWN: &str =
    "the server cannot start processes in the way that server.toml sets";

/// Warns about certificates that may not be valid now. The server starts all the same, because the
/// peer's clock decides.
pub(super) fn warn_of_certificates(settings: &ServerSettings) {
    match tls::check_server(&settings.identity) {
        Ok(findings) => findings.iter().for_each(|finding| warn!("{finding}")),
        Err(error) => warn!(%error, "certificates could not be checked"),
    }
}

/// Logs the policy in use, with its warnings.
pub(super) fn log_policy(settings: &ServerSettings, policy: &Rules) {
    let file = settings.data.policy.display();
    if policy.is_missing() {
        warn!(%file, "there is no policy, so everything is denied; `rcmd-server policy init` writes one");
    } else {
        let vocabulary = policy.vocabulary().number();
        info!(%file, rules = policy.len(), vocabulary, "policy");
    }
    for warning in policy.warnings() {
        warn!(%file, line = warning.line, column = warning.column, "{}", warning.message);
    }
}

/// Logs how commands are started, and their limits.
pub(super) fn log_spawn(
    settings: &ServerSettings,
    processes: &Processes,
    why: Option<io::Error>,
) -> Result<()> {
    match (processes.cgroups(), why) {
        (Some((base, limits)), _) => info!(cgroup = %base.display(), ?limits, "spawn"),
        (None, why) => {
            if settings.limits.tree != TreeLimits::default() {
                return Err(no_tree_limits(why));
            }
            let why = why.map(|why| why.to_string());
            info!(portable = true, why, "spawn");
        }
    }
    Ok(())
}

/// Returns the error for `[limits.tree]` on a host without usable cgroups, with the reason.
pub(crate) fn no_tree_limits(why: Option<io::Error>) -> anyhow::Error {
    match why {
        None => anyhow::anyhow!(
            "[limits.tree] needs cgroups, and spawn = \"portable\" uses none; remove [limits.tree], or set \
             spawn = \"auto\""
        ),
        Some(why) => anyhow::anyhow!(
            "[limits.tree] needs cgroups, which are not available ({why}); remove [limits.tree], or start \
             the server where it may make cgroups, as with Delegate=yes in its systemd unit"
        ),
    }
}
