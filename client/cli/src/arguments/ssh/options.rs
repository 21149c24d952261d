//! The options of ssh, and what each of them is here.

use rcmd_client::AddressFamily;

/// An option of ssh.
pub(super) struct SshOption {
    pub(super) letter: u8,
    /// The name of its value; empty if it takes none.
    pub(super) value: &'static str,
    pub(super) meaning: Meaning,
    /// What the help says of it; empty for one that is not shown.
    pub(super) help: &'static str,
}

/// What an option is here.
#[derive(Clone, Copy)]
pub(super) enum Meaning {
    Port,
    User,
    /// The value is a keyword with its value.
    Setting,
    Quiet,
    Verbose,
    NoInput,
    Terminal,
    NoTerminal,
    Compress,
    Family(AddressFamily),
    Subsystem,
    /// The settings are printed, and nothing is run.
    Settings,
    Version,
    Help,
    /// It has no meaning here, and nothing is lost without it.
    Ignored,
    /// Without it, something else would happen than was asked for: the advice.
    Refused(&'static str),
}

const fn flag(letter: u8, meaning: Meaning, help: &'static str) -> SshOption {
    SshOption { letter, value: "", meaning, help }
}

const fn valued(
    letter: u8,
    value: &'static str,
    meaning: Meaning,
    help: &'static str,
) -> SshOption {
    SshOption { letter, value, meaning, help }
}

/// The advice for options that forward.
const NO_FORWARD: &str = "This version forwards no ports.";
/// The advice for options that go through another host.
const NO_WAY: &str = "This version connects to hosts directly.";
/// The advice for an option that chooses from where to connect.
const NO_BIND: &str = "Leave it out: the system chooses the address to connect from.";

/// All options of ssh(1), each letter once.
pub(super) const OPTIONS: [SshOption; 48] = [
    valued(b'p', "PORT", Meaning::Port, "Port [default: that of hosts.toml, 7263]"),
    valued(
        b'l',
        "USER",
        Meaning::User,
        "Remote user [default: that of hosts.toml or of the server]",
    ),
    flag(b'n', Meaning::NoInput, "Send no standard input"),
    flag(b's', Meaning::Subsystem, "COMMAND is the name of a subsystem: sftp"),
    valued(
        b'o',
        "KEY=VALUE",
        Meaning::Setting,
        "Set Port, User, HostName, ConnectTimeout, SendEnv, ...",
    ),
    flag(b'C', Meaning::Compress, "Compress the connection"),
    flag(b'4', Meaning::Family(AddressFamily::V4), "Use IPv4 addresses only"),
    flag(b'6', Meaning::Family(AddressFamily::V6), "Use IPv6 addresses only"),
    flag(b't', Meaning::Terminal, "Ask for a terminal; this version goes on without"),
    flag(b'T', Meaning::NoTerminal, "Ask for no terminal"),
    flag(b'G', Meaning::Settings, "Print the settings for the host; run nothing"),
    flag(b'q', Meaning::Quiet, "Print errors but no notices"),
    flag(b'v', Meaning::Verbose, "Print more notices"),
    flag(b'V', Meaning::Version, "Print the version"),
    flag(b'h', Meaning::Help, ""),
    // Keys, files and connections of ssh's own.
    flag(b'1', Meaning::Ignored, ""),
    flag(b'2', Meaning::Ignored, ""),
    flag(b'A', Meaning::Ignored, ""),
    flag(b'a', Meaning::Ignored, ""),
    flag(b'g', Meaning::Ignored, ""),
    flag(b'K', Meaning::Ignored, ""),
    flag(b'k', Meaning::Ignored, ""),
    flag(b'M', Meaning::Ignored, ""),
    flag(b'X', Meaning::Ignored, ""),
    flag(b'x', Meaning::Ignored, ""),
    flag(b'Y', Meaning::Ignored, ""),
    flag(b'y', Meaning::Ignored, ""),
    valued(b'c', "CIPHER", Meaning::Ignored, ""),
    valued(b'E', "FILE", Meaning::Ignored, ""),
    valued(b'e', "CHARACTER", Meaning::Ignored, ""),
    valued(b'F', "FILE", Meaning::Ignored, ""),
    valued(b'I', "FILE", Meaning::Ignored, ""),
    valued(b'i', "FILE", Meaning::Ignored, ""),
    valued(b'm', "MAC", Meaning::Ignored, ""),
    valued(b'P', "TAG", Meaning::Ignored, ""),
    valued(b'S', "PATH", Meaning::Ignored, ""),
    valued(b'B', "INTERFACE", Meaning::Refused(NO_BIND), ""),
    valued(b'b', "ADDRESS", Meaning::Refused(NO_BIND), ""),
    valued(b'D', "PORT", Meaning::Refused(NO_FORWARD), ""),
    flag(
        b'f',
        Meaning::Refused("Start it in the background with your shell: `... HOST COMMAND &`."),
        "",
    ),
    valued(b'J', "HOST", Meaning::Refused(NO_WAY), ""),
    valued(b'L', "PORT", Meaning::Refused(NO_FORWARD), ""),
    flag(b'N', Meaning::Refused("Write a command: without one, nothing would happen."), ""),
    valued(
        b'O',
        "ORDER",
        Meaning::Refused("There is no shared connection to control: each call connects by itself."),
        "",
    ),
    valued(
        b'Q',
        "QUERY",
        Meaning::Refused("TLS 1.3 chooses the algorithms; see docs/protocol.md."),
        "",
    ),
    valued(b'R', "PORT", Meaning::Refused(NO_FORWARD), ""),
    valued(b'W', "HOST:PORT", Meaning::Refused(NO_FORWARD), ""),
    valued(b'w', "TUNNEL", Meaning::Refused("There are no tunnels."), ""),
];

/// Returns the option of this letter.
pub(super) fn named(letter: u8) -> Option<&'static SshOption> {
    OPTIONS.iter().find(|option| option.letter == letter)
}
