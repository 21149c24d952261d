//! `rotate`: a new authority in place of the old one, step by step.

use std::{io::Write, process::ExitCode};

use clap::Args;
use rcmd_authority::state::{
    AdminClient, AdminRequest, AdminResponse, Rotation, RotationAction, Step,
};
use rcmd_certs::text::printable;

use super::{error::Error, options::DirOption};

#[derive(Args, Debug)]
pub(super) struct RotateOptions {
    #[command(flatten)]
    dir: DirOption,
    /// Only show the state of the rotation
    #[arg(long, conflicts_with_all = ["force", "abort"])]
    status: bool,
    /// Take the next step without waiting; members left behind have to enroll again
    #[arg(long, conflicts_with = "abort")]
    force: bool,
    /// Cancel a rotation that was only announced
    #[arg(long)]
    abort: bool,
}

/// Carries the rotation on. The exit status is 1 when some members must be waited for.
pub(super) async fn rotate(
    options: &RotateOptions,
    out: &mut impl Write,
) -> Result<ExitCode, Error> {
    let action = match options {
        RotateOptions { status: true, .. } => RotationAction::Tell,
        RotateOptions { force: true, .. } => RotationAction::Force,
        RotateOptions { abort: true, .. } => RotationAction::Abort,
        _ => RotationAction::Next,
    };
    let mut admin_client = AdminClient::open(&options.dir.layout()).await?;
    let AdminResponse::Rotation(rotation) =
        admin_client.request(AdminRequest::Rotate(action)).await?
    else {
        return Err(Error::Response);
    };
    let Rotation { step, moved, signing, other, waiting, waiting_for, left_behind } = rotation;
    let told = match (step, moved) {
        (None, false) => "no rotation is in progress; `rcmd-certs rotate` begins one",
        (None, true) if action == RotationAction::Abort => "the rotation was canceled",
        (None, true) => "the rotation is complete: the new authority is the only one",
        (Some(Step::Announced), true) => "a new authority was announced; the old one still signs",
        (Some(Step::Announced), false) => "a new authority is announced; the old one still signs",
        (Some(Step::Switched), true) => "the new authority signs from now on; both are trusted",
        (Some(Step::Switched | Step::Settling), _) => "the new authority signs; both are trusted",
    };
    writeln!(out, "{told}")?;
    writeln!(out, "signing   {signing}")?;
    if let Some(other) = other {
        writeln!(out, "trusted   {other}")?;
    }
    for name in &waiting {
        writeln!(out, "waiting   {}", printable(name))?;
    }
    let hidden = waiting_for.saturating_sub(waiting.len());
    if hidden > 0 {
        writeln!(out, "waiting   and {hidden} more")?;
    }
    for name in &left_behind {
        writeln!(out, "behind    {}", printable(name))?;
    }
    if !left_behind.is_empty() {
        writeln!(
            out,
            "these were certified by `rcmd-certs issue` and never renew: the next step does not wait for them \
             and locks them out, unless they enroll with a token before"
        )?;
    }
    if step.is_some() {
        let next = match waiting_for {
            0 => "`rcmd-certs rotate` takes the next step",
            _ => {
                "`rcmd-certs rotate` takes the next step once they have renewed; \
                 --force leaves them behind"
            }
        };
        writeln!(out, "next      {next}")?;
    }
    out.flush()?;
    let stuck = matches!(action, RotationAction::Next) && !moved;
    Ok(if stuck { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
