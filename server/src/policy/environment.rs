//! Which settings of the environment a rule permits: `@env("LANG, RELEASE=v*")`.
//!
//! A permit says which variables the request may set, by name or by name and value, each a pattern
//! in which `*` stands for anything. Without `@env` these are the harmless ones. A variable that
//! changes which program runs, or what it loads, is permitted by no pattern that does not name it in
//! full.

/// What may be set without a rule that says so: the language, the time zone, the terminal.
const HARMLESS: [&str; 9] =
    ["LANG", "LANGUAGE", "LC_*", "TZ", "TERM", "COLORTERM", "NO_COLOR", "COLUMNS", "LINES"];

/// Names that a pattern must spell out. They make a loader, a shell, an interpreter or a program
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
    /// Reads what stands in `@env`: patterns with commas between them. A value can hold no comma.
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

    /// Whether it permits this `NAME=VALUE`.
    pub(super) fn permits(&self, setting: &[u8]) -> bool {
        let (name, value) = split(setting);
        let matches = |pattern: &Pattern| {
            let by_name = if is_dangerous(name) {
                pattern.name.as_bytes() == name
            } else {
                like(name, pattern.name.as_bytes())
            };
            by_name && pattern.value.as_ref().is_none_or(|wanted| like(value, wanted.as_bytes()))
        };
        is_harmless(name, value) || self.patterns.iter().any(matches)
    }
}

/// Name and value of a setting.
pub(super) fn split(setting: &[u8]) -> (&[u8], &[u8]) {
    let at = setting.iter().position(|&byte| byte == b'=').unwrap_or(setting.len());
    let (name, value) = setting.split_at(at);
    (name, value.strip_prefix(b"=").unwrap_or(value))
}

/// Whether a pattern must spell this name out.
pub(super) fn is_dangerous(name: &[u8]) -> bool {
    // An exported function of bash, whatever it is called (CVE-2014-6271).
    let is_function = name.contains(&b'(') || name.contains(&b'%');
    is_function || DANGEROUS.iter().any(|pattern| like(name, pattern.as_bytes()))
}

/// A locale or a zone is a path as well if it holds a slash, and a `%` is a format to some.
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
    value_is_plain && HARMLESS.iter().any(|pattern| like(name, pattern.as_bytes()))
}

/// Whether a text is of this pattern, in which `*` stands for any bytes.
fn like(text: &[u8], pattern: &[u8]) -> bool {
    let mut parts = pattern.split(|&byte| byte == b'*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        // The first place is the best: what follows has more left to match in.
        match rest.windows(part.len().max(1)).position(|window| window.starts_with(part)) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None if part.is_empty() => {}
            None => return false,
        }
    }
    true
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

    #[test]
    fn a_star_stands_for_anything_anywhere() {
        let cases: [(&str, &str, bool); 12] = [
            ("", "", true),
            ("", "*", true),
            ("abc", "*", true),
            ("abc", "a*c", true),
            ("ac", "a*c", true),
            ("abcd", "a*c", false),
            ("abcbc", "a*bc", true),
            ("aXbYc", "a*b*c", true),
            ("ab", "a*b*b", false),
            ("x", "**", true),
            ("ab", "b*", false),
            ("aa", "a", false),
        ];
        for (text, pattern, expected) in cases {
            assert_eq!(like(text.as_bytes(), pattern.as_bytes()), expected, "{text} {pattern}");
        }
    }
}
