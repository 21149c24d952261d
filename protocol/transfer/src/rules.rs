//! Which files of a tree go along: patterns in gitignore's syntax, in the order of the command line.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::limits;

/// Patterns, of which the last that matches a name decides. A folder that is left out is not entered, so that nothing
/// below it can be included again.
#[derive(Clone, Debug, Default)]
pub struct FileRules {
    lines: Vec<String>,
    matcher: Option<Gitignore>,
}

/// A pattern that cannot be used. The message has one line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RuleError(String);

impl FileRules {
    /// Returns the rules that these lines of a gitignore file make. A line that begins with `!` includes what one
    /// before it left out. Empty lines and those that begin with `#` are passed over.
    ///
    /// Braces stand for themselves, as in git. No file is read.
    ///
    /// # Errors
    /// A line is no pattern, or there are too many.
    pub fn new<I>(lines: I) -> Result<Self, RuleError>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let mut rules = Self::default();
        let mut builder = GitignoreBuilder::new("");
        let mut together = 0;
        for line in lines {
            let line: String = line.into();
            together += line.len();
            if rules.lines.len() == limits::RULES || together > limits::RULES_TOGETHER {
                return Err(RuleError(format!(
                    "there are more than {} patterns, or they have more than {} bytes",
                    limits::RULES,
                    limits::RULES_TOGETHER
                )));
            }
            if line.len() > limits::RULE || line.contains(['\0', '\n']) {
                return Err(RuleError(format!(
                    "a pattern is longer than {} bytes or has a line's end or a NUL in it",
                    limits::RULE
                )));
            }
            builder
                .add_line(None, &with_plain_braces(&line))
                .map_err(|error| RuleError(format!("{line:?} is no pattern: {error}")))?;
            rules.lines.push(line);
        }
        if !rules.lines.is_empty() {
            let matcher = builder
                .build()
                .map_err(|error| RuleError(format!("the patterns are too many: {error}")))?;
            rules.matcher = Some(matcher);
        }
        Ok(rules)
    }

    /// Returns the line that leaves out what a pattern matches.
    #[must_use]
    pub fn exclude(pattern: &str) -> String {
        pattern.to_owned()
    }

    /// Returns the line that includes what a pattern matches.
    #[must_use]
    pub fn include(pattern: &str) -> String {
        match pattern.strip_prefix('!') {
            Some(excluded) => excluded.to_owned(),
            None => format!("!{pattern}"),
        }
    }

    /// Returns the lines.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Returns whether a file or folder is left out. The path begins at the top of the tree, without a slash.
    pub(crate) fn excludes(&self, path: &[u8], is_folder: bool) -> bool {
        let path = Path::new(OsStr::from_bytes(path));
        self.matcher.as_ref().is_some_and(|matcher| matcher.matched(path, is_folder).is_ignore())
    }
}

impl PartialEq for FileRules {
    fn eq(&self, other: &Self) -> bool {
        self.lines == other.lines
    }
}

/// Returns a pattern whose braces are escaped: the crate takes `{a,b}` for two alternatives, git does not.
fn with_plain_braces(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let (mut escaped, mut in_class) = (false, false);
    for c in line.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => in_class = true,
            ']' => in_class = false,
            '{' | '}' | ',' if !in_class => plain.push('\\'),
            _ => {}
        }
        plain.push(c);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excluded(lines: &[&str], path: &str, is_folder: bool) -> bool {
        FileRules::new(lines.iter().copied())
            .expect("patterns")
            .excludes(path.as_bytes(), is_folder)
    }

    #[test]
    fn the_last_pattern_that_matches_decides() {
        assert!(excluded(&["*.txt"], "b.txt", false));
        assert!(!excluded(&["*", "!*.conf"], "a.conf", false));
        assert!(excluded(&["!*.conf", "*"], "a.conf", false));
        assert!(!excluded(&["!*.conf"], "b.txt", false));
        assert!(excluded(&["*", "!*.conf"], "sub", true));
    }

    #[test]
    fn patterns_are_those_of_git() {
        assert!(excluded(&["/a.conf"], "a.conf", false));
        assert!(!excluded(&["/a.conf"], "sub/a.conf", false));
        assert!(excluded(&["build/"], "sub/build", true));
        assert!(!excluded(&["build/"], "build", false));
        assert!(!excluded(&["A.CONF"], "a.conf", false));
        assert!(!excluded(&["*.{a,b}"], "x.a", false));
        assert!(excluded(&["*.{a,b}"], "x.{a,b}", false));
        assert!(excluded(&["[{]x"], "{x", false));
        assert!(!excluded(&["# x", "", "   "], "# x", false));
        assert!(excluded(&["\\#x"], "#x", false));
    }

    #[test]
    fn names_that_are_no_text_are_matched_by_their_bytes() {
        let rules = FileRules::new(["*.o"]).expect("a pattern");
        assert!(rules.excludes(b"\xff\xfe.o", false) && !rules.excludes(b"\xff.c", false));
    }

    #[test]
    fn an_inclusion_is_the_opposite_of_an_exclusion() {
        assert_eq!(FileRules::include("*.c"), "!*.c");
        assert_eq!(FileRules::include("!*.c"), "*.c");
        assert_eq!(FileRules::exclude("*.c"), "*.c");
    }

    #[test]
    fn what_is_no_pattern_or_too_much_is_an_error() {
        for line in ["a\0b".to_owned(), "a\nb".to_owned(), "x".repeat(limits::RULE + 1)] {
            let error = FileRules::new([line]).expect_err("refused").to_string();
            assert!(!error.contains('\n'), "{error}");
        }
        assert!(FileRules::new(vec!["a"; limits::RULES + 1]).is_err());
    }
}
