//! The settings of the environment that a rule permits: `@env("STAGE, RELEASE=v*")`.
//!
//! A permit lists the variables that a request may set: by name, or by name and a pattern of the
//! value in which `*` matches any text. A star in a name matches the harmless names alone, a closed
//! list: nobody knows all other variables that make some program run or load what they contain. A
//! policy that permits them all the same must write so: `may-run-code: *`.

use crate::glob;

/// The names that may be set without a rule that permits them: language, time zone, terminal, and
/// the version of git's protocol, which git sends over ssh unasked.
const HARMLESS: [&str; 22] = [
    "LANG",
    "LANGUAGE",
    "LC_ADDRESS",
    "LC_ALL",
    "LC_COLLATE",
    "LC_CTYPE",
    "LC_IDENTIFICATION",
    "LC_MEASUREMENT",
    "LC_MESSAGES",
    "LC_MONETARY",
    "LC_NAME",
    "LC_NUMERIC",
    "LC_PAPER",
    "LC_TELEPHONE",
    "LC_TIME",
    "TZ",
    "TERM",
    "COLORTERM",
    "NO_COLOR",
    "COLUMNS",
    "LINES",
    GIT_PROTOCOL,
];

/// The variable in which git says the version of its protocol: `version=` and a digit.
const GIT_PROTOCOL: &str = "GIT_PROTOCOL";

/// The prefix of a pattern of names whose variables may make a program run anything.
const MAY_RUN_CODE: &str = "may-run-code:";

/// The settings of the environment that a rule permits.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Allowed {
    patterns: Vec<Pattern>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Pattern {
    name: Name,
    value: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Name {
    /// The variable of this name.
    Exactly(String),
    /// The harmless variables whose names match this pattern.
    Harmless(String),
    /// All variables whose names match this pattern, whatever they do.
    MayRunCode(String),
}

impl Allowed {
    /// Parses the value of `@env`: patterns with commas between them. The pattern of a value can't
    /// contain a comma.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let patterns = words.map(|word| {
            let (any, pattern) = match word.strip_prefix(MAY_RUN_CODE) {
                Some(pattern) => (true, pattern.trim_start()),
                None => (false, word),
            };
            let (name, value) = match pattern.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (pattern, None),
            };
            if name.is_empty() || word.chars().any(char::is_control) {
                return Err(format!("@env: {word:?} is neither NAME nor NAME=VALUE"));
            }
            let name = match (name.to_owned(), name.contains('*')) {
                (name, false) => Name::Exactly(name),
                (name, true) if any => Name::MayRunCode(name),
                (name, true) => Name::Harmless(name),
            };
            Ok(Pattern { name, value })
        });
        Ok(Self { patterns: patterns.collect::<Result<_, _>>()? })
    }

    /// Returns whether the rule permits this `NAME=VALUE`.
    pub(super) fn permits(&self, setting: &[u8]) -> bool {
        let (name, value) = split(setting);
        let by_value = |pattern: &Pattern| {
            pattern.value.as_ref().is_none_or(|wanted| glob::matches(wanted.as_bytes(), value))
        };
        let mut patterns = self.patterns.iter();
        is_harmless(name, value)
            || patterns.any(|pattern| pattern.name.is(name, value) && by_value(pattern))
    }

    /// Returns warnings about patterns of names that match less than they seem to.
    pub(super) fn doubts(&self) -> impl Iterator<Item = String> {
        self.patterns.iter().filter_map(|Pattern { name, .. }| match name {
            Name::Harmless(name) => Some(format!(
                "@env: the star in \"{name}\" stands for names of language, time zone and terminal \
                 alone, which need no rule; list each variable by its name, or write \
                 \"{MAY_RUN_CODE} {name}\" if a variable may also make the program run any other"
            )),
            _ => None,
        })
    }
}

impl Name {
    fn is(&self, name: &[u8], value: &[u8]) -> bool {
        match self {
            Self::Exactly(own) => own.as_bytes() == name,
            Self::Harmless(pattern) => {
                is_harmless(name, value) && glob::matches(pattern.as_bytes(), name)
            }
            Self::MayRunCode(pattern) => glob::matches(pattern.as_bytes(), name),
        }
    }
}

/// Splits a setting into its name and its value.
pub(super) fn split(setting: &[u8]) -> (&[u8], &[u8]) {
    let at = setting.iter().position(|&byte| byte == b'=').unwrap_or(setting.len());
    let (name, value) = setting.split_at(at);
    (name, value.strip_prefix(b"=").unwrap_or(value))
}

/// Returns whether a setting is harmless. A locale or time zone with a slash is a path, and some
/// programs interpret `%` as a format.
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
        name if name == GIT_PROTOCOL.as_bytes() => {
            matches!(value.strip_prefix(b"version="), Some([version]) if version.is_ascii_digit())
        }
        _ => value.iter().all(plain),
    };
    value_is_plain && HARMLESS.iter().any(|harmless| harmless.as_bytes() == name)
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
        assert!(permits("", "GIT_PROTOCOL=version=2"));
        for setting in ["GIT_PROTOCOL=version=", "GIT_PROTOCOL=version=2:x", "GIT_PROTOCOL=2"] {
            assert!(!permits("", setting), "{setting}");
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

    /// Variables that make some program run or load what they contain, and that are in no list
    /// here.
    const UNLISTED: [&str; 8] = [
        "TAR_OPTIONS",
        "RSYNC_RSH",
        "OPENSSL_CONF",
        "APT_CONFIG",
        "LD_PRELOAD",
        "BASH_FUNC_x%%",
        "GIT_SSH_COMMAND",
        "WHAT_IS_NOT_WRITTEN_YET",
    ];

    #[test]
    fn a_star_in_a_name_stands_for_harmless_names_alone() {
        for name in UNLISTED {
            let setting = format!("{name}=x");
            for pattern in ["*", &format!("{}*", &name[..2]), &format!("*{}", &name[2..])] {
                assert!(!permits(pattern, &setting), "{name} by {pattern}");
            }
            assert!(permits(name, &setting), "{name} by name");
        }
        assert!(!permits("*", "x()=y") && !permits("LC_*", "LC_OTHER=x"));
        assert!(!permits("*", "LANG=../x") && permits("LANG", "LANG=../x"));
        assert!(permits("LD_PRELOAD=/usr/lib/safe.so", "LD_PRELOAD=/usr/lib/safe.so"));
        assert!(!permits("LD_PRELOAD=/usr/lib/safe.so", "LD_PRELOAD=/tmp/evil.so"));
    }

    #[test]
    fn whoever_wants_every_name_says_what_that_means() {
        for name in UNLISTED {
            assert!(permits("may-run-code: *", &format!("{name}=x")), "{name}");
        }
        assert!(permits("may-run-code:APP_*=v*", "APP_X=v1"));
        assert!(!permits("may-run-code:APP_*=v*", "APP_X=1"));
        assert!(!permits("may-run-code: APP_*", "TAR_OPTIONS=x"));
        assert!(Allowed::parse("may-run-code:").is_err());
    }

    #[test]
    fn a_pattern_from_before_is_told_what_it_stands_for_now() {
        let doubts = |text: &str| Allowed::parse(text).unwrap().doubts().collect::<Vec<_>>();
        let told = doubts("RELEASE=v*, APP_*, *");
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("\"may-run-code: APP_*\""), "{told:?}");
        assert_eq!(doubts("RELEASE=v*, STAGE, may-run-code: *").len(), 0);
    }
}
