//! What `-o` sets: the keywords of ssh_config(5), and what each of them is here.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use rcmd_client::AddressFamily;
use rcmd_protocol::outcome::{ErrorKind, WireError};

use super::{FamilyChoice, SshLine, SshVerbosity};
use crate::arguments::duration;

/// The advice for a value that can't be used.
pub(super) const FORM: &str = "Write -o KEY=VALUE, as in ssh_config(5).";

/// A keyword of ssh_config(5).
pub(super) enum Keyword {
    /// It has a meaning here. The function takes its values, and returns what is wrong with them.
    Meant(fn(&mut SshLine, &[OsString]) -> Result<(), String>),
    /// It has no meaning here, and nothing is lost without it.
    Ignored,
    /// Only these values can be taken, which switch it off; with the advice for all others.
    Only(&'static [&'static [u8]], &'static str),
}

/// The values that switch something off.
const OFF: &[&[u8]] = &[b"no", b"none", b"false"];
/// The advice for what is forwarded.
const NO_FORWARD: &str = "This version forwards no ports.";
/// The advice for another way to the host.
const NO_WAY: &str = "This version connects to hosts directly.";
/// The advice for an address to connect from.
const NO_BIND: &str = "Leave it out: the system chooses the address to connect from.";

/// The keywords with a meaning, in lower case.
const MEANT: &[(&str, Keyword)] = &[
    ("port", Keyword::Meant(set_port)),
    ("user", Keyword::Meant(set_user)),
    ("hostname", Keyword::Meant(set_host_name)),
    ("connecttimeout", Keyword::Meant(set_connect_timeout)),
    ("sendenv", Keyword::Meant(add_send_env)),
    ("setenv", Keyword::Meant(set_env)),
    ("compression", Keyword::Meant(set_compression)),
    ("addressfamily", Keyword::Meant(set_family)),
    ("requesttty", Keyword::Meant(set_terminal)),
    ("stdinnull", Keyword::Meant(set_stdin_null)),
    ("sessiontype", Keyword::Meant(set_session_type)),
    ("loglevel", Keyword::Meant(set_log_level)),
    ("bindaddress", Keyword::Only(&[], NO_BIND)),
    ("bindinterface", Keyword::Only(&[], NO_BIND)),
    ("dynamicforward", Keyword::Only(&[], NO_FORWARD)),
    (
        "forkafterauthentication",
        Keyword::Only(OFF, "Start it in the background with your shell: `... HOST COMMAND &`."),
    ),
    ("localforward", Keyword::Only(&[], NO_FORWARD)),
    ("proxycommand", Keyword::Only(OFF, NO_WAY)),
    ("proxyjump", Keyword::Only(OFF, NO_WAY)),
    ("remotecommand", Keyword::Only(OFF, "Write the command behind the host.")),
    ("remoteforward", Keyword::Only(&[], NO_FORWARD)),
    ("tunnel", Keyword::Only(OFF, "There are no tunnels.")),
];

/// The keywords without a meaning here, in lower case: keys and their files, algorithms, files of known hosts,
/// shared connections, agents, X11.
const IGNORED: &str = "addkeystoagent batchmode canonicaldomains canonicalizefallbacklocal canonicalizehostname \
    canonicalizemaxdots canonicalizepermittedcnames casignaturealgorithms certificatefile \
    challengeresponseauthentication channeltimeout checkhostip cipher ciphers clearallforwardings compressionlevel \
    connectionattempts controlmaster controlpath controlpersist dsaauthentication enableescapecommandline \
    enablesshkeysign escapechar exitonforwardfailure fingerprinthash forwardagent forwardx11 forwardx11timeout \
    forwardx11trusted gatewayports globalknownhostsfile gssapiauthentication gssapiclientidentity \
    gssapidelegatecredentials gssapikexalgorithms gssapikeyexchange gssapirenewalforcesrekey gssapiserveridentity \
    gssapitrustdns hashknownhosts hostbasedacceptedalgorithms hostbasedauthentication hostbasedkeytypes \
    hostkeyalgorithms hostkeyalias identitiesonly identityagent identityfile ignoreunknown ipqos \
    kbdinteractiveauthentication kbdinteractivedevices kexalgorithms keepalive knownhostscommand localcommand \
    logverbose macs nohostauthenticationforlocalhost numberofpasswordprompts obscurekeystroketiming \
    passwordauthentication permitlocalcommand permitremoteopen pkcs11provider preferredauthentications protocol \
    proxyusefdpass pubkeyacceptedalgorithms pubkeyacceptedkeytypes pubkeyauthentication refuseconnection rekeylimit \
    requiredrsasize revokedhostkeys rhostsrsaauthentication rsaauthentication securitykeyprovider \
    serveralivecountmax serveraliveinterval skeyauthentication smartcarddevice streamlocalbindmask \
    streamlocalbindunlink stricthostkeychecking syslogfacility tag tcpkeepalive tunneldevice updatehostkeys \
    usekeychain useprivilegedport useroaming userknownhostsfile verifyhostkeydns versionaddendum visualhostkey \
    warnweakcrypto xauthlocation";

/// Returns the keyword of this name, in any case.
pub(super) fn named(name: &str) -> Option<&'static Keyword> {
    let name = name.to_ascii_lowercase();
    let meant = MEANT.iter().find(|(known, _)| *known == name).map(|(_, keyword)| keyword);
    let is_ignored = || IGNORED.split_ascii_whitespace().any(|known| known == name);
    meant.or_else(|| is_ignored().then_some(&Keyword::Ignored))
}

/// Splits `Key=value`, `Key value` and `Key = value` into the keyword and its value, without blanks around them.
pub(super) fn split(typed: &[u8]) -> (&[u8], &[u8]) {
    let typed = typed.trim_ascii();
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'=';
    let at = typed.iter().position(is_end).unwrap_or(typed.len());
    let (name, rest) = typed.split_at(at);
    let rest = rest.trim_ascii_start();
    (name, rest.strip_prefix(b"=").unwrap_or(rest).trim_ascii())
}

/// Splits a value at blanks. Quotes, double or single, hold what is between them together.
///
/// # Errors
/// A quote is not closed.
pub(super) fn words(name: &str, value: &[u8]) -> Result<Vec<OsString>, WireError> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    for &byte in value {
        match (quote, byte) {
            (Some(open), _) if open == byte => quote = None,
            (None, b'"' | b'\'') => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (None, _) if byte.is_ascii_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(byte),
        }
    }
    if quote.is_some() {
        let message = format!("a quote is not closed in the value of `-o {name}`");
        return Err(WireError::new(ErrorKind::Usage, message).hint(FORM));
    }
    words.extend(word);
    Ok(words.into_iter().map(OsString::from_vec).collect())
}

/// Reads the number of a port.
///
/// # Errors
/// A usage error.
pub(super) fn port(text: &str) -> Result<u16, WireError> {
    text.parse().ok().filter(|&port| port > 0).ok_or_else(|| {
        WireError::new(ErrorKind::Usage, format!("`{text}` is not a port"))
            .hint("A port is a number from 1 to 65535.")
    })
}

/// Returns the only value, which must be UTF-8.
fn one(values: &[OsString]) -> Result<&str, String> {
    match values {
        [value] => {
            let text = value.to_str().filter(|text| !text.is_empty());
            text.ok_or_else(|| format!("`{}` cannot be its value", value.display()))
        }
        _ => Err(format!("it takes one value, but there are {}", values.len())),
    }
}

/// Returns the only value as true or false.
fn yes(values: &[OsString]) -> Result<bool, String> {
    match one(values)?.to_ascii_lowercase().as_str() {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        other => Err(format!("`{other}` is neither yes nor no")),
    }
}

fn unknown(value: &str) -> String {
    format!("`{value}` is none of its values")
}

fn set_port(line: &mut SshLine, values: &[OsString]) -> Result<(), String> {
    let port = port(one(values)?).map_err(|error| error.message)?;
    line.port.get_or_insert(port);
    Ok(())
}

fn set_user(line: &mut SshLine, values: &[OsString]) -> Result<(), String> {
    let user = one(values)?;
    line.user.get_or_insert(user.into());
    Ok(())
}

fn set_host_name(line: &mut SshLine, values: &[OsString]) -> Result<(), String> {
    let name = one(values)?;
    line.host_name.get_or_insert(name.to_owned());
    Ok(())
}

fn set_connect_timeout(line: &mut SshLine, values: &[OsString]) -> Result<(), String> {
    let text = one(values)?;
    // In OpenSSH these are the system's own time limits; here, the default.
    if text != "0" && !text.eq_ignore_ascii_case("none") {
        let limit = duration::parse(text)?;
        line.connect_timeout.get_or_insert(limit);
    }
    Ok(())
}

fn add_send_env(line: &mut SshLine, values: &[OsString]) -> Result<(), String> {
    for value in values {
        let name = value.to_str().filter(|name| !name.is_empty() && !name.contains('='));
        let name = name.ok_or_else(|| format!("`{}` is no name of a variable", value.display()))?;
        line.send_env.push(name.to_owned());
    }
    Ok(())
}

fn set_env(line: &mut SshLine, values: &[OsString]) -> Result<(), String> {
    let setting = |value: &OsString| {
        let bytes = value.as_bytes();
        let at = bytes.iter().position(|&byte| byte == b'=').filter(|&at| at > 0);
        let (name, value) = bytes.split_at_checked(at?)?;
        Some((OsStr::from_bytes(name).to_owned(), OsStr::from_bytes(value.get(1..)?).to_owned()))
    };
    let settings: Option<Vec<_>> = values.iter().map(setting).collect();
    let settings = settings.ok_or_else(|| "write it as NAME=VALUE".to_owned())?;
    line.set_env.get_or_insert(settings);
    Ok(())
}

fn set_compression(line: &mut SshLine, values: &[OsString]) -> Result<(), String> {
    let compress = yes(values)?;
    line.compress.get_or_insert(compress);
    Ok(())
}

fn set_family(line: &mut SshLine, values: &[OsString]) -> Result<(), String> {
    let family = match one(values)?.to_ascii_lowercase().as_str() {
        "any" => FamilyChoice::Any,
        "inet" => FamilyChoice::Only(AddressFamily::V4),
        "inet6" => FamilyChoice::Only(AddressFamily::V6),
        other => return Err(unknown(other)),
    };
    line.family.get_or_insert(family);
    Ok(())
}

fn set_terminal(line: &mut SshLine, values: &[OsString]) -> Result<(), String> {
    let wanted = match one(values)?.to_ascii_lowercase().as_str() {
        "yes" | "true" | "force" => true,
        "no" | "false" => false,
        "auto" => return Ok(()),
        other => return Err(unknown(other)),
    };
    line.terminal.get_or_insert(wanted);
    Ok(())
}

fn set_stdin_null(line: &mut SshLine, values: &[OsString]) -> Result<(), String> {
    line.no_input |= yes(values)?;
    Ok(())
}

fn set_session_type(line: &mut SshLine, values: &[OsString]) -> Result<(), String> {
    match one(values)?.to_ascii_lowercase().as_str() {
        "default" => Ok(()),
        "subsystem" => {
            line.is_subsystem = true;
            Ok(())
        }
        "none" => Err("this version forwards no ports, so that nothing would happen".to_owned()),
        other => Err(unknown(other)),
    }
}

fn set_log_level(line: &mut SshLine, values: &[OsString]) -> Result<(), String> {
    let verbosity = match one(values)?.to_ascii_lowercase().as_str() {
        "quiet" | "fatal" | "error" => SshVerbosity::Quiet,
        "info" => SshVerbosity::Normal,
        "verbose" | "debug" | "debug1" | "debug2" | "debug3" => SshVerbosity::Verbose,
        other => return Err(unknown(other)),
    };
    line.verbosity.get_or_insert(verbosity);
    Ok(())
}
