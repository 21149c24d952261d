//! Foreign text made safe to print.
//!
//! Names in a certificate were written by somebody else. A terminal obeys control bytes, and text
//! that changes its direction reads as something that it is not.

/// The longest foreign text that is printed, in characters; what is longer ends in `…`.
pub const MAX_PRINTED: usize = 200;

/// [`escaped`] text, cut to [`MAX_PRINTED`] characters of the original.
pub fn printable(text: &str) -> String {
    match text.char_indices().nth(MAX_PRINTED) {
        Some((cut, _)) => escaped(text.get(..cut).unwrap_or_default()) + "…",
        None => escaped(text),
    }
}

/// `text` with every control, invisible and direction-changing character escaped as `\u{…}`.
pub fn escaped(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        if is_safe(character) {
            clean.push(character);
        } else {
            clean.extend(character.escape_unicode());
        }
    }
    clean
}

/// Returns whether a character may go to a terminal as it is: no control, invisible or
/// direction-changing one.
pub fn is_safe(character: char) -> bool {
    let invisible_or_directional = matches!(
        character,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    );
    !character.is_control() && !invisible_or_directional
}

/// Returns a clause as a sentence of its own: with a capital letter, and a full stop where no mark
/// ends it.
pub fn sentence(clause: &str) -> String {
    let mut rest = clause.chars();
    let first = rest.next().map(|first| first.to_ascii_uppercase());
    let stop = if clause.ends_with(['.', '?', '!']) { "" } else { "." };
    first.into_iter().chain(rest).collect::<String>() + stop
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clause_becomes_a_sentence_once() {
        let said = "Issue it again: `rcmd-certs issue client alice`.";
        assert_eq!(sentence("issue it again: `rcmd-certs issue client alice`"), said);
        assert_eq!(sentence(said), said);
        assert_eq!(sentence("is it an rcmd server?"), "Is it an rcmd server?");
        assert_eq!(sentence("`x` helps"), "`x` helps.");
    }

    #[test]
    fn control_and_direction_characters_are_escaped() {
        assert_eq!(printable("a\u{1b}[31mb\n"), "a\\u{1b}[31mb\\u{a}");
        assert_eq!(printable("a\u{202e}b\u{9b}"), "a\\u{202e}b\\u{9b}");
        assert_eq!(printable("zoë 北京"), "zoë 北京");
    }

    #[test]
    fn long_text_is_cut() {
        let printed = printable(&"a".repeat(10_000));
        assert_eq!(printed.chars().count(), MAX_PRINTED + 1);
        assert!(printed.ends_with('…'));
    }
}
