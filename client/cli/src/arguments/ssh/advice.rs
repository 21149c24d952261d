//! The advice for what ssh can do and this version can't, whether by an option of its own or by `-o`.

/// The advice for what forwards ports.
pub(super) const NO_FORWARD: &str = "This version forwards no ports.";
/// The advice for what goes through another host.
pub(super) const NO_WAY: &str = "This version connects to hosts directly.";
/// The advice for what chooses the address to connect from.
pub(super) const NO_BIND: &str = "Leave it out: the system chooses the address to connect from.";
/// The advice for what goes to the background.
pub(super) const NO_BACKGROUND: &str =
    "Start it in the background with your shell: `... HOST COMMAND &`.";
/// The advice for what makes a tunnel.
pub(super) const NO_TUNNEL: &str = "There are no tunnels.";
