//! The settings of the environment that a rule permits: `@env("LANG, RELEASE=v*")`.
//!
//! A permit lists the variables that a request may set, by name or by name and value, each a
//! pattern in which `*` stands for anything. Without `@env` these are the harmless ones. A variable
//! that changes which program runs, or what it loads, is only permitted by a pattern that names it
//! in full.

use crate::glob;

/// Names that may be set without a rule that permits them: language, time zone, terminal.
const HARMLESS: [&str; 9] =
    ["LANG", "LANGUAGE", "LC_*", "TZ", "TERM", "COLORTERM", "NO_COLOR", "COLUMNS", "LINES"];

/// Names that a pattern must spell out: they make a loader, a shell, an interpreter or a program
/// that starts others run or read what the request chose.
const DANGEROUS: [&str; 47] = [
    "LD_*",
    "DYLD_*",
    "GLIBC_TUNABLES",
    "GCONV_PATH",
    "LOCPATH",
    "NLSPATH",
    "MALLOC_*",
    "RES_OPTIONS",
    "LOCALDOMAIN",
    "HOSTALIASES",
    "RESOLV_*",
    "PATH",
    "CDPATH",
    "IFS",
    "ENV",
    "BASH*",
    "SHELL*",
    "PS4",
    "PROMPT_COMMAND",
    "FPATH",
    "ZDOTDIR",
    "HOME",
    "USER",
    "LOGNAME",
    "PYTHON*",
    "PERL*",
    "RUBY*",
    "GEM_*",
    "NODE_*",
    "NPM_*",
    "JAVA_*",
    "_JAVA_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "CLASSPATH",
    "PHP*",
    "LUA_*",
    "GIT_*",
    "SSH_*",
    "SUDO_*",
    "EDITOR",
    "VISUAL",
    "*PAGER",
    "LESS*",
    "TERMINFO*",
    "TERMCAP",
    "SYSTEMD_*",
    "*_PRELOAD",
];

/// The settings that a rule permits.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Allowed {
    patterns: Vec<Pattern>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Pattern {
    name: String,
    value: Option<String>,
}

impl Allowed {
    /// Parses the value of `@env`: patterns with commas between them. A value can't contain a
    /// comma.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let patterns = words.map(|word| {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (word, None),
            };
            if name.is_empty() || word.chars().any(char::is_control) {
                return Err(format!("@env: {word:?} is no NAME and no NAME=VALUE"));
            }
            Ok(Pattern { name: name.to_owned(), value })
        });
        Ok(Self { patterns: patterns.collect::<Result<_, _>>()? })
    }

    /// Returns whether the rule permits this `NAME=VALUE`.
    pub(super) fn permits(&self, setting: &[u8]) -> bool {
        let (name, value) = split(setting);
        let matches = |pattern: &Pattern| {
            let by_name = if is_dangerous(name) {
                pattern.name.as_bytes() == name
            } else {
                glob::matches(pattern.name.as_bytes(), name)
            };
            by_name
                && pattern
                    .value
                    .as_ref()
                    .is_none_or(|wanted| glob::matches(wanted.as_bytes(), value))
        };
        is_harmless(name, value) || self.patterns.iter().any(matches)
    }
}

/// Splits a setting into name and value.
pub(super) fn split(setting: &[u8]) -> (&[u8], &[u8]) {
    let at = setting.iter().position(|&byte| byte == b'=').unwrap_or(setting.len());
    let (name, value) = setting.split_at(at);
    (name, value.strip_prefix(b"=").unwrap_or(value))
}

/// Returns whether a pattern must spell this name out.
pub(super) fn is_dangerous(name: &[u8]) -> bool {
    // A function that bash exported, whatever its name (CVE-2014-6271).
    let is_function = name.contains(&b'(') || name.contains(&b'%');
    is_function || DANGEROUS.iter().any(|pattern| glob::matches(pattern.as_bytes(), name))
}

/// Returns whether a setting is harmless. A locale or time zone with a slash is a path, and some
/// programs take `%` for a format.
fn is_harmless(name: &[u8], value: &[u8]) -> bool {
    let plain = |&byte: &u8| byte.is_ascii_alphanumeric() || b"_.@:+-, ".contains(&byte);
    let zone = |byte: &u8| plain(byte) || *byte == b'/';
    let value_is_plain = match name {
        b"TZ" => {
            value.iter().all(zone)
                && !value.starts_with(b"/")
                && !value.starts_with(b":")
                && !value.contains(&b'.')
        }
        _ => value.iter().all(plain),
    };
    value_is_plain && HARMLESS.iter().any(|pattern| glob::matches(pattern.as_bytes(), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(patterns: &str, setting: &str) -> bool {
        Allowed::parse(patterns).unwrap().permits(setting.as_bytes())
    }

    #[test]
    fn without_a_word_language_zone_and_terminal_may_be_set() {
        for setting in ["LANG=de_DE.UTF-8", "LC_ALL=C", "TZ=Europe/Berlin", "TERM=xterm-256color"] {
            assert!(permits("", setting), "{setting}");
        }
        for setting in ["FOO=bar", "LANG=../../x", "TZ=:/etc/shadow", "TZ=/x", "TERM=%n", "LC=x"] {
            assert!(!permits("", setting), "{setting}");
        }
    }

    #[test]
    fn a_pattern_names_a_variable_and_may_name_its_value() {
        assert!(permits("RELEASE=v*, STAGE", "RELEASE=v1.2"));
        assert!(permits("RELEASE=v*, STAGE", "STAGE=anything\n"));
        assert!(!permits("RELEASE=v*", "RELEASE=1.2"));
        assert!(!permits("RELEASE=v*", "RELEASE_NOTES=v1"));
        assert!(permits("STAGE=", "STAGE="));
        assert!(!permits("STAGE=", "STAGE=x"));
    }

    #[test]
    fn what_changes_the_program_must_be_spelt_out() {
        for name in [
            "LD_PRELOAD",
            "BASH_ENV",
            "ENV",
            "PYTHONPATH",
            "GIT_SSH_COMMAND",
            "IFS",
            "PATH",
            "PAGER",
        ] {
            let setting = format!("{name}=x");
            assert!(!permits("*", &setting), "{name} by *");
            assert!(!permits(&format!("{}*", &name[..2]), &setting), "{name} by its beginning");
            assert!(permits(name, &setting), "{name} by name");
        }
        assert!(permits("LD_PRELOAD=/usr/lib/safe.so", "LD_PRELOAD=/usr/lib/safe.so"));
        assert!(!permits("LD_PRELOAD=/usr/lib/safe.so", "LD_PRELOAD=/tmp/evil.so"));
        assert!(!permits("*", "BASH_FUNC_x%%=() { :; }") && !permits("*", "x()=y"));
        assert!(permits("*", "FOO=bar") && permits("*", "A=\u{fc}\n"));
    }
}
