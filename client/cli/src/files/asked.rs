//! Which names were asked for. What a host answers to a pattern must match the pattern here too: else a host could
//! give a file any name in the destination.

use rcmd_transfer::{is_pattern, matches};

use crate::arguments::places::last_name;

/// The names under which sources may come.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    /// Any: the place has a name of its own.
    Any,
    /// Those that one of these patterns matches, or that are one of these.
    Names { names: Vec<Vec<u8>>, are_literal: bool },
}

impl Asked {
    /// Returns the names of these paths of a host. The contents of a folder have none.
    pub(super) fn of(paths: &[Vec<u8>], are_literal: bool) -> Self {
        let names: Option<Vec<_>> =
            paths.iter().map(|path| last_name(path).map(<[u8]>::to_vec)).collect();
        match names {
            Some(names) => Self::Names { names, are_literal },
            None => Self::Any,
        }
    }

    /// Returns whether each source was asked for by its own name: then a host can't choose one.
    pub(super) fn is_exact(&self) -> bool {
        match self {
            Self::Any => false,
            Self::Names { names, are_literal } => {
                *are_literal || !names.iter().any(|name| is_pattern(name))
            }
        }
    }

    /// Returns whether a source of this name was asked for.
    pub(super) fn has(&self, name: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Names { names, are_literal } => {
                names.iter().any(|asked| asked == name || !are_literal && matches(asked, name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(paths: &[&str], are_literal: bool, name: &str) -> bool {
        let paths: Vec<_> = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
        Asked::of(&paths, are_literal).has(name.as_bytes())
    }

    #[test]
    fn a_pattern_takes_what_it_matches_and_nothing_else() {
        for (pattern, name) in [
            ("/d/*.txt", "a.txt"),
            ("*", "a"),
            ("a*b*c", "aXbYbZc"),
            ("?", "x"),
            ("[a-c]x", "bx"),
            ("[!a-c]x", "dx"),
            ("[]x]", "]"),
            ("[a-]", "-"),
            ("r[1].txt", "r1.txt"),
            ("r[1].txt", "r[1].txt"),
            (".*", ".x"),
            ("[x", "[x"),
            ("/a/b", "b"),
            ("**", "abc"),
        ] {
            assert!(has(&[pattern], false, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("/d/*.txt", ".bashrc"),
            ("/d/*.txt", "a.txt.sh"),
            ("*", ".bashrc"),
            ("?*", ".x"),
            ("[.]x", ".x"),
            ("/a/b", "c"),
            ("a?", "a"),
            ("[a-c]", "d"),
            ("[!a]", "a"),
            ("a*b", "ac"),
        ] {
            assert!(!has(&[pattern], false, name), "{pattern} {name}");
        }
    }

    #[test]
    fn literal_paths_have_their_own_names_and_contents_any() {
        assert!(has(&["/d/*.txt", "/x"], true, "*.txt") && has(&["/d/*.txt", "/x"], true, "x"));
        assert!(!has(&["/d/*.txt"], true, "a.txt"));
        assert!(has(&["/d/"], false, "anything") && has(&["."], false, ".x"));
    }

    #[test]
    fn a_host_chooses_a_name_for_a_pattern_and_for_contents_alone() {
        let is_exact = |path: &str, are_literal| {
            Asked::of(&[b"/d/f".to_vec(), path.as_bytes().to_vec()], are_literal).is_exact()
        };
        assert!(is_exact("/d/a", false) && is_exact("*", true));
        assert!(!is_exact("/d/*", false) && !is_exact("/d/", false) && !is_exact("/d/", true));
    }
}
