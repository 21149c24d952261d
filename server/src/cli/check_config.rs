//! The flag `rcmd-server --check-config`.

use std::io::Write;

use anyhow::{Context as _, Result};
use rcmd_certs::tls;

use super::ServerOptions;
use crate::{
    daemon::{
        Loaded,
        notices::{CANT_SPAWN, no_tree_limits},
    },
    process::{self, TreeLimits},
};

/// Prints the configuration and whether a server could run with it.
///
/// # Errors
/// The file that can't be used, and the reason.
pub fn run(options: ServerOptions, out: &mut impl Write) -> Result<()> {
    let loaded = Loaded::load(options.dir.as_deref(), options.listen, options.metrics)?;
    let Loaded { settings, limits, policy, .. } = &loaded;
    for address in &settings.listen {
        writeln!(out, "listen       {address}")?;
    }
    if let Some(address) = settings.metrics {
        writeln!(out, "metrics      {address}")?;
    }
    writeln!(out, "certificate  {}", settings.identity.cert.display())?;
    writeln!(out, "grace        {:?}", settings.grace)?;
    writeln!(out, "keepalive    {:?}", settings.keepalive)?;
    writeln!(out, "running      {} commands at once, {} queued", limits.running, limits.queued)?;
    writeln!(out, "connections  {}", limits.connections)?;
    writeln!(out, "starts       {}", limits.starts)?;
    writeln!(out, "one user     {}", limits.quota_for("", &[]))?;
    for user in limits.user.keys() {
        writeln!(out, "user {user:7} {}", limits.quota_for(user, &[]))?;
    }
    for group in limits.group.keys() {
        let of = limits.quota_for("", std::slice::from_ref(group));
        writeln!(out, "group {group:6} {of}")?;
    }
    match process::probe(settings.spawn, &limits.tree).context(CANT_SPAWN)? {
        Ok(below) => writeln!(out, "spawn        in cgroups below {}", below.display())?,
        Err(why) if limits.tree != TreeLimits::default() => return Err(no_tree_limits(why)),
        Err(None) => writeln!(out, "spawn        portable, as server.toml says")?,
        Err(Some(why)) => writeln!(out, "spawn        portable: {why}")?,
    }
    match policy.is_missing() {
        true => writeln!(out, "policy       none, so everything is denied")?,
        false => {
            let vocabulary = policy.vocabulary().number();
            writeln!(out, "policy       {} rules, vocabulary {vocabulary}", policy.len())?;
        }
    }
    let findings = tls::check_server(&settings.identity)?;
    if let Some(finding) = findings.first() {
        anyhow::bail!("{finding}");
    }
    for doubt in settings.doubts() {
        writeln!(out, "warning      {doubt}")?;
    }
    writeln!(out, "the configuration is valid")?;
    Ok(())
}
