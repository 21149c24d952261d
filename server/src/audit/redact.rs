//! Secrets in requests, redacted before anything is written.

use super::text::Text;
use crate::glob;

const REDACTED: &str = "***";

/// The configured patterns of secrets, and what they replace.
///
/// - `--password=*`: what follows the text in the same word.
/// - `--password`: the word after it.
/// - `*TOKEN*=`: the value of each setting whose name fits; `*` stands for any characters.
#[derive(Clone, Debug, Default)]
pub(super) struct Redactor {
    prefixes: Vec<String>,
    words: Vec<String>,
    settings: Vec<String>,
}

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
        Ok(redactor)
    }

    /// Redacts the arguments of a program.
    pub(super) fn args(&self, args: &[Vec<u8>]) -> Vec<Text> {
        let mut hide = false;
        args.iter()
            .map(|arg| {
                let hidden = std::mem::replace(
                    &mut hide,
                    self.words.iter().any(|word| word.as_bytes() == arg.as_slice()),
                );
                if hidden {
                    return Text::Masked { masked: REDACTED.to_owned() };
                }
                let prefix = self.prefixes.iter().find(|prefix| arg.starts_with(prefix.as_bytes()));
                match prefix {
                    Some(prefix) => Text::Masked { masked: format!("{prefix}{REDACTED}") },
                    None => Text::of(arg),
                }
            })
            .collect()
    }

    /// Redacts a line for the shell, word by word as a shell would split it.
    pub(super) fn line(&self, line: &[u8]) -> Text {
        if self.prefixes.is_empty() && self.words.is_empty() {
            return Text::of(line);
        }
        let text = String::from_utf8_lossy(line);
        let (mut masked, mut hide, mut changed) = (String::new(), false, false);
        for (word, gap) in Words(&text) {
            let bare = word.trim_start_matches(['\'', '"']);
            let prefix = self.prefixes.iter().find(|prefix| bare.starts_with(prefix.as_str()));
            if word.is_empty() {
            } else if std::mem::take(&mut hide) {
                masked.push_str(REDACTED);
                changed = true;
            } else if let Some(prefix) = prefix {
                masked.push_str(prefix);
                masked.push_str(REDACTED);
                changed = true;
            } else {
                hide = self.words.iter().any(|secret| secret == bare.trim_end_matches(['\'', '"']));
                masked.push_str(word);
            }
            masked.push_str(gap);
        }
        if changed { Text::Masked { masked } } else { Text::of(line) }
    }

    /// Redacts settings of the environment.
    pub(super) fn env(&self, env: &[Vec<u8>]) -> Vec<Text> {
        env.iter()
            .map(|setting| {
                let at = setting.iter().position(|&byte| byte == b'=').unwrap_or(setting.len());
                let name = setting.get(..at).unwrap_or_default();
                if self.settings.iter().any(|pattern| glob::matches(pattern.as_bytes(), name)) {
                    let name = String::from_utf8_lossy(name);
                    return Text::Masked { masked: format!("{name}={REDACTED}") };
                }
                Text::of(setting)
            })
            .collect()
    }
}

/// Iterates over words, each with the blanks behind it. Quotes and backslashes hold a word
/// together.
struct Words<'a>(&'a str);

impl<'a> Iterator for Words<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let (mut quote, mut escape) = (None, false);
        let ends = |(at, c): (usize, char)| {
            let inside = quote.is_some() || std::mem::take(&mut escape);
            match (quote, c) {
                _ if !inside && (c.is_whitespace() || ";|&()<>".contains(c)) => return Some(at),
                (Some(open), c) if open == c => quote = None,
                (None, '\'' | '"') if !inside => quote = Some(c),
                (None, '\\') if !inside => escape = true,
                _ => {}
            }
            None
        };
        let end = self.0.char_indices().find_map(ends).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        let next = rest.find(|c: char| !c.is_whitespace() && !";|&()<>".contains(c));
        let (gap, rest) = rest.split_at(next.unwrap_or(rest.len()));
        self.0 = rest;
        Some((word, gap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor() -> Redactor {
        let patterns = ["--password=*", "-p", "*TOKEN*=", "PGPASSWORD="];
        Redactor::new(&patterns.map(str::to_owned)).unwrap()
    }

    fn words(words: &[&str]) -> Vec<Vec<u8>> {
        words.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    fn shown(texts: &[Text]) -> Vec<String> {
        texts.iter().map(Text::shown).collect()
    }

    #[test]
    fn arguments_are_masked_by_prefix_and_by_the_word_before() {
        let texts =
            redactor().args(&words(&["mysql", "--password=hunter2", "-p", "hunter2", "db"]));
        assert_eq!(shown(&texts), ["mysql", "--password=***", "-p", "***", "db"]);
        assert!(matches!(texts[1], Text::Masked { .. }));
        assert!(matches!(redactor().args(&words(&["***"]))[0], Text::Plain(_)));
    }

    #[test]
    fn a_shell_line_is_masked_word_by_word() {
        let line = |text: &str| redactor().line(text.as_bytes()).shown();
        assert_eq!(line("mysql --password=hunter2 -u a;x"), "mysql --password=*** -u a;x");
        assert_eq!(line("x --password='hun ter2'|y"), "x --password=***|y");
        assert_eq!(line("x '--password=a b' c"), "x --password=*** c");
        assert_eq!(line("x -p a\\ b c"), "x -p *** c");
        assert!(matches!(redactor().line(b"plain 'line'  here"), Text::Plain(_)));
        assert!(matches!(redactor().line(b"\xff --password=x"), Text::Masked { .. }));
    }

    #[test]
    fn settings_are_masked_by_name() {
        let texts =
            redactor().env(&words(&["API_TOKEN_1=x", "PGPASSWORD=y", "PGPASSWORD2=z", "TOK=1"]));
        assert_eq!(shown(&texts), ["API_TOKEN_1=***", "PGPASSWORD=***", "PGPASSWORD2=z", "TOK=1"]);
    }

    #[test]
    fn patterns_that_fit_everything_are_refused() {
        for pattern in ["", "*", "=", "**=", "a*b*"] {
            assert_eq!(Redactor::new(&[pattern.to_owned()]).unwrap_err(), pattern);
        }
    }
}
