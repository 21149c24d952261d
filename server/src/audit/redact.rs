//! Redacting secrets in requests before anything is written.
//!
//! A text in which a pattern occurs is redacted word by word if its words can be determined for
//! certain. If they can't, only its digest and its length are kept.

mod words;

use self::words::{Scan, Words};
use super::text::Text;
use crate::glob;

const REDACTED: &str = "***";

/// The configured patterns of secrets, and what is redacted:
///
/// - `--password=*`: the text that follows in the same word.
/// - `--password`: the next word, or the text that follows `--password=`.
/// - `*TOKEN*=`: the value of each setting whose name matches; `*` stands for any characters.
#[derive(Clone, Debug, Default)]
pub(super) struct Redactor {
    /// The texts that a secret follows in the same word.
    prefixes: Vec<String>,
    words: Vec<String>,
    settings: Vec<String>,
    /// The same patterns for places where other text may precede a name.
    loose_settings: Vec<String>,
}

/// A text whose words can't be determined for certain, and which may contain a secret.
struct Doubtful;

impl Redactor {
    /// Sorts patterns by what they apply to.
    ///
    /// # Errors
    /// A pattern that would redact everything or nothing.
    pub(super) fn new(patterns: &[String]) -> Result<Self, String> {
        let mut redactor = Self::default();
        for pattern in patterns {
            let (list, text) = if let Some(name) = pattern.strip_suffix('=') {
                (&mut redactor.settings, name)
            } else if let Some(prefix) = pattern.strip_suffix('*') {
                (&mut redactor.prefixes, prefix)
            } else {
                (&mut redactor.words, pattern.as_str())
            };
            let stars = text.matches('*').count();
            if text.len() == stars || (stars > 0 && !pattern.ends_with('=')) {
                return Err(pattern.clone());
            }
            list.push(text.to_owned());
        }
        redactor.prefixes.extend(redactor.words.iter().map(|word| format!("{word}=")));
        redactor.loose_settings = redactor.settings.iter().map(|name| format!("*{name}")).collect();
        Ok(redactor)
    }

    fn is_empty(&self) -> bool {
        self.prefixes.is_empty() && self.settings.is_empty()
    }

    /// Redacts the arguments of a program.
    pub(super) fn args(&self, args: &[&[u8]]) -> Vec<Text> {
        let mut hide = false;
        args.iter()
            .map(|&arg| {
                let is_secret = |word: &String| word.as_bytes() == arg;
                let hides_next = self.words.iter().any(is_secret);
                match std::mem::replace(&mut hide, hides_next) {
                    true => masked(REDACTED.to_owned(), arg),
                    false => self.arg(arg),
                }
            })
            .collect()
    }

    /// Redacts settings of the environment.
    pub(super) fn env(&self, env: &[&[u8]]) -> Vec<Text> {
        env.iter()
            .map(|&setting| {
                let at = setting.iter().position(|&byte| byte == b'=').unwrap_or(setting.len());
                let name = setting.get(..at).unwrap_or_default();
                if self.settings.iter().any(|pattern| glob::matches(pattern.as_bytes(), name)) {
                    let name = String::from_utf8_lossy(name);
                    return masked(format!("{name}={REDACTED}"), setting);
                }
                self.line(setting)
            })
            .collect()
    }

    /// Redacts an argument: one word of a program, which may be a line for a shell that the program
    /// starts.
    fn arg(&self, arg: &[u8]) -> Text {
        let is_word = !arg.iter().any(|&byte| words::ends_word(byte) || words::quotes(byte));
        let text = String::from_utf8_lossy(arg);
        // Blanks in an argument end nothing, so a secret at its beginning extends to its end.
        if self.is_empty() || (!is_word && self.secret_of(&text).is_none()) {
            return self.line(arg);
        }
        match self.secret_in(&text) {
            Some(at) => masked(format!("{}{REDACTED}", text.get(..at).unwrap_or_default()), arg),
            None => Text::of(arg),
        }
    }

    /// Redacts a line for the shell, word by word as a shell would split it.
    pub(super) fn line(&self, line: &[u8]) -> Text {
        if self.is_empty() {
            return Text::of(line);
        }
        match self.redact(&String::from_utf8_lossy(line)) {
            Ok(None) => Text::of(line),
            Ok(Some(text)) => masked(text, line),
            Err(Doubtful) => Text::digest(line),
        }
    }

    /// Redacts a message about a request, which may repeat words of it.
    pub(super) fn message(&self, message: &str) -> String {
        if self.is_empty() {
            return message.to_owned();
        }
        match self.redact(message) {
            Ok(redacted) => redacted.unwrap_or_else(|| message.to_owned()),
            Err(Doubtful) => REDACTED.to_owned(),
        }
    }

    /// Returns the text without its secrets, or `None` if it contains none.
    fn redact(&self, text: &str) -> Result<Option<String>, Doubtful> {
        let scan = Scan::of(text);
        if !self.occurs(&scan) {
            return if scan.is_escaped() { Err(Doubtful) } else { Ok(None) };
        }
        if scan.is_doubtful() {
            return Err(Doubtful);
        }
        let (mut out, mut hide) = (String::new(), false);
        for (word, gap) in Words(text) {
            let scan = Scan::of(word);
            let bare = scan.bare();
            let mut is_masked = true;
            if word.is_empty() {
                is_masked = false;
            } else if std::mem::take(&mut hide) {
                out.push_str(REDACTED);
            } else if let Some(at) = self.secret_of(bare) {
                out.push_str(bare.get(..at).unwrap_or_default());
                out.push_str(REDACTED);
            } else if self.words.iter().any(|secret| secret == bare) {
                (hide, is_masked) = (true, false);
                out.push_str(word);
            } else if self.occurs(&scan) {
                return Err(Doubtful);
            } else {
                is_masked = false;
                out.push_str(word);
            }
            // The shell takes what is in these brackets for a part of the word.
            if is_masked && gap.starts_with('(') {
                return Err(Doubtful);
            }
            out.push_str(gap);
        }
        Ok(Some(out))
    }

    /// Returns whether a pattern occurs anywhere in a text, whatever its words are.
    fn occurs(&self, scan: &Scan) -> bool {
        let bare = scan.bare();
        let found = |text: &str, is_word: bool| {
            let mut places = bare.match_indices(text).map(|(at, _)| at);
            places.any(|at| scan.begins(at) && (!is_word || scan.ends(at + text.len())))
        };
        self.prefixes.iter().any(|prefix| found(prefix, false))
            || self.words.iter().any(|word| found(word, true))
            || self.first_setting(bare).is_some()
    }

    /// Returns the offset of the secret in a word that has one: after a prefix at its start, or
    /// after the `=` of a setting.
    fn secret_of(&self, word: &str) -> Option<usize> {
        let prefix = self.prefixes.iter().find(|prefix| word.starts_with(prefix.as_str()));
        prefix.map(String::len).or_else(|| {
            let at = word.find('=')?;
            let name = words::name_before(word, at);
            (name.len() == at && self.is_setting(name)).then_some(at + 1)
        })
    }

    /// Returns the offset of the first secret in a word, at its start or later.
    fn secret_in(&self, word: &str) -> Option<usize> {
        let scan = Scan::of(word);
        let after = |prefix: &String| {
            let mut found = word.match_indices(prefix.as_str()).filter(|(at, _)| scan.begins(*at));
            found.next().map(|(at, _)| at + prefix.len())
        };
        self.prefixes.iter().filter_map(after).chain(self.first_setting(word)).min()
    }

    fn first_setting(&self, text: &str) -> Option<usize> {
        if self.settings.is_empty() {
            return None;
        }
        text.match_indices('=')
            .map(|(at, _)| at)
            .find_map(|at| self.is_setting(words::name_before(text, at)).then_some(at + 1))
    }

    /// Returns whether a name, or the end of a longer text, is the name of a secret setting.
    fn is_setting(&self, name: &str) -> bool {
        let fits = |pattern: &String| glob::matches(pattern.as_bytes(), name.as_bytes());
        self.loose_settings.iter().any(fits)
    }
}

/// Makes a text from a redacted one. If JSON would make it much longer, only the digest is kept.
fn masked(text: String, original: &[u8]) -> Text {
    let masked = Text::Masked { masked: text };
    if masked.is_dense() { masked } else { Text::digest(original) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor() -> Redactor {
        let patterns = ["--password=*", "-p", "*TOKEN*=", "PGPASSWORD="];
        Redactor::new(&patterns.map(str::to_owned)).unwrap()
    }

    fn words<'a>(words: &[&'a str]) -> Vec<&'a [u8]> {
        words.iter().map(|word| word.as_bytes()).collect()
    }

    fn shown(texts: &[Text]) -> Vec<String> {
        texts.iter().map(Text::shown).collect()
    }

    fn line(text: &str) -> String {
        redactor().line(text.as_bytes()).shown()
    }

    #[test]
    fn arguments_are_masked_by_prefix_and_by_the_word_before() {
        let texts = redactor().args(&words(&[
            "mysql",
            "--password=hun ter2",
            "-p",
            "hunter2",
            "-p=x",
            "db",
        ]));
        assert_eq!(shown(&texts), ["mysql", "--password=***", "-p", "***", "-p=***", "db"]);
        assert!(matches!(texts[1], Text::Masked { .. }));
        assert!(matches!(redactor().args(&words(&["***"]))[0], Text::Plain(_)));
    }

    #[test]
    fn arguments_that_are_settings_or_lines_are_masked_as_those_are() {
        let of = |args: &[&str]| shown(&redactor().args(&words(args))).join(" ");
        assert_eq!(of(&["env", "MY_TOKEN_1=x y", "cmd"]), "env MY_TOKEN_1=*** cmd");
        assert_eq!(of(&["docker", "-ePGPASSWORD=x"]), "docker -ePGPASSWORD=***");
        assert_eq!(of(&["mount", "a,--password=x,b"]), "mount a,--password=***");
        assert_eq!(of(&["bash", "-c", "cmd --password=x"]), "bash -c cmd --password=***");
        assert_eq!(
            of(&["bash", "-c", "cmd -p x; MY_TOKEN=y c"]),
            "bash -c cmd -p ***; MY_TOKEN=*** c"
        );
        assert_eq!(of(&["bash", "-c", "plain $(line) 'a'"]), "bash -c plain $(line) 'a'");
    }

    #[test]
    fn a_shell_line_is_masked_word_by_word() {
        assert_eq!(line("mysql --password=hunter2 -u a;x"), "mysql --password=*** -u a;x");
        assert_eq!(line("x --password='hun ter2'|y"), "x --password=***|y");
        assert_eq!(line("x '--password=a b' c"), "x --password=*** c");
        assert_eq!(line("x --pass''word=\"a b\" c"), "x --password=*** c");
        assert_eq!(line("x -p a\\ b c"), "x -p *** c");
        assert_eq!(line("x --password=a\u{a0}b c"), "x --password=*** c");
        assert_eq!(line("x --password=$PW"), "x --password=***");
        assert_eq!(line("find -path x -print"), "find -path x -print");
        assert_eq!(line("bash -c 'MY_TOKEN=x cmd'; y"), "bash -c MY_TOKEN=***; y");
        assert_eq!(
            line("MY_TOKEN=x cmd && PGPASSWORD='a b' psql"),
            "MY_TOKEN=*** cmd && PGPASSWORD=*** psql"
        );
        assert!(matches!(redactor().line(b"plain 'line'  $(here)"), Text::Plain(_)));
        assert!(matches!(redactor().line(b"\xff --password=x"), Text::Masked { .. }));
    }

    #[test]
    fn of_a_line_whose_words_are_in_doubt_digest_and_length_are_kept() {
        for text in [
            "\"$(cmd --password=hunter2)\"",
            "x --password=$(echo hunter2)",
            "x --password=`echo hunter2`",
            "x --password=${X:-a hunter2}",
            "x --password=\"a\\\" hunter2\"",
            "x --password=<(echo hunter2)",
            "x --password=(a hunter2)",
            "MY_TOKEN=(a hunter2)",
            "bash -c 'cmd --password=hunter2'",
            "bash -c \"cmd -p hunter2\"",
            "eval \"a 'b --pass\\word=hunter2'\"",
            "cat <<E\n --password=hunter2\nE",
            "cmd --password='hunter2",
            "cmd --pass\\\nword=$(echo hunter2)",
            "cmd $'\\x2d-password=hunter2'",
        ] {
            for text in
                [redactor().line(text.as_bytes()), redactor().args(&words(&[text])).remove(0)]
            {
                assert!(!serde_json::to_string(&text).unwrap().contains("hunter2"), "{text:?}");
            }
            let Text::Digest { bytes, .. } = redactor().line(text.as_bytes()) else {
                panic!("{text}");
            };
            assert_eq!(bytes, text.len() as u64);
        }
    }

    #[test]
    fn settings_are_masked_by_name() {
        let texts = redactor().env(&words(&[
            "API_TOKEN_1=x",
            "PGPASSWORD=y",
            "PGPASSWORD2=z",
            "TOK=1",
            "OPTS=a --password=x",
        ]));
        let masked = [
            "API_TOKEN_1=***",
            "PGPASSWORD=***",
            "PGPASSWORD2=z",
            "TOK=1",
            "OPTS=a --password=***",
        ];
        assert_eq!(shown(&texts), masked);
    }

    #[test]
    fn what_is_said_of_a_request_is_masked_as_it_is() {
        let said = |text| redactor().message(text);
        assert_eq!(
            said("alice may not run MY_TOKEN=x on web1"),
            "alice may not run MY_TOKEN=*** on web1"
        );
        assert_eq!(said("alice may not run a on web1"), "alice may not run a on web1");
        assert_eq!(said("may not run \"$(x --password=y)\""), "***");
    }

    #[test]
    fn patterns_that_fit_everything_are_refused() {
        for pattern in ["", "*", "=", "**=", "a*b*"] {
            assert_eq!(Redactor::new(&[pattern.to_owned()]).unwrap_err(), pattern);
        }
    }
}
