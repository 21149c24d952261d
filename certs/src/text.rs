//! Foreign text made safe to print.
//!
//! Names in a certificate were written by others. A terminal obeys control bytes, and text that changes its
//! direction appears as other text.

/// The longest foreign text that is printed, in characters. Longer text is cut and ends in `…`.
pub const MAX_PRINTED: usize = 200;

/// Returns [`escaped`] text, cut to [`MAX_PRINTED`] characters of the original.
pub fn printable(text: &str) -> String {
    match text.char_indices().nth(MAX_PRINTED) {
        Some((cut, _)) => escaped(text.get(..cut).unwrap_or_default()) + "…",
        None => escaped(text),
    }
}

/// Returns `text` with every control, invisible and direction-changing character escaped as `\u{…}`.
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

/// Returns the line and the column of a byte of a text, each from 1 and the column in characters.
pub fn place(bytes: &[u8], at: usize) -> (usize, usize) {
    let before = String::from_utf8_lossy(bytes.get(..at).unwrap_or(bytes));
    let line = before.matches('\n').count() + 1;
    (line, before.rsplit('\n').next().unwrap_or_default().chars().count() + 1)
}

/// Returns whether a character may go to a terminal as it is: it is no control, invisible or
/// direction-changing character.
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

/// Returns how many columns a character takes at most: outside ASCII it may be two.
pub fn columns_of(character: char) -> usize {
    if character.is_ascii() { 1 } else { 2 }
}

/// Returns a clause as a sentence of its own: with a capital letter, and a full stop unless another mark ends
/// it.
pub fn sentence(clause: &str) -> String {
    let mut rest = clause.chars();
    let first = rest.next().map(|first| first.to_ascii_uppercase());
    let stop = if clause.ends_with(['.', '?', '!']) { "" } else { "." };
    first.into_iter().chain(rest).collect::<String>() + stop
}

/// The longest word that another is sought for, in bytes: the search takes time by the product of the lengths.
const MAX_MISSPELT: usize = 64;

/// Returns the known word that `typed` was probably meant to be: the one for which the fewest letters are
/// added, left out, changed or swapped with their neighbour, at most `most` for a word of that many bytes.
pub fn nearest<'a>(
    typed: &str,
    known: impl IntoIterator<Item = &'a str>,
    most: impl Fn(usize) -> usize,
) -> Option<&'a str> {
    if typed.len() > MAX_MISSPELT {
        return None;
    }
    let known = known.into_iter().filter(|word| *word != typed);
    let distances = known.map(|word| (strsim::osa_distance(typed, word), word));
    let near = distances.filter(|(distance, word)| *distance <= most(word.len()));
    near.min_by_key(|(distance, _)| *distance).map(|(_, word)| word)
}

/// The longest word of a file of settings that a message shows, in characters. Each line of a private key but its last
/// is longer.
const MAX_SHOWN: usize = 40;

/// Returns a TOML parser's complaint about a file of settings in one line. For a setting or a value that does
/// not exist it names the one that was probably meant, or else all that exist there. Long words are left out.
pub fn setting_fault(message: &str) -> String {
    without_long_words(&named_fault(message))
}

/// Returns a text of a file of settings, or a message that quotes one, with the length of each long word in its
/// place: the word may be a key.
pub fn without_long_words(text: &str) -> String {
    let is_mark = |c: char| c.is_whitespace() || ",;:.".contains(c);
    let words = text.split_inclusive(char::is_whitespace).map(|word| {
        let bare = word.trim_end_matches(is_mark);
        let marks = word.strip_prefix(bare).unwrap_or_default();
        match bare.trim_matches(['"', '`']).chars().count() {
            0..=MAX_SHOWN => word.to_owned(),
            length => format!("(a word of {length} characters){marks}"),
        }
    });
    words.collect()
}

/// Returns the complaint with all that it quotes.
fn named_fault(message: &str) -> String {
    let line = message.lines().collect::<Vec<_>>().join(", ");
    for (begin, noun) in [("unknown field `", "setting"), ("unknown variant `", "value")] {
        let named = line.strip_prefix(begin).and_then(|rest| rest.rsplit_once("`, expected "));
        let Some((typed, known)) = named else { continue };
        // The names stand in backticks, with words between them.
        let known: Vec<_> = known.split('`').skip(1).step_by(2).collect();
        return match nearest(typed, known.iter().copied(), |length| 1 + length / 4) {
            Some(name) => format!("unknown {noun} `{typed}`; did you mean `{name}`?"),
            None => format!("unknown {noun} `{typed}`; known here: {}", known.join(", ")),
        };
    }
    line
}

/// The fault of a command line, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The fault: one line, without an end of its own.
    pub message: String,
    /// The hint: a sentence.
    pub hint: String,
}

/// Returns a parser's complaint about a command line in the form of all programs here. `rendered` is clap's
/// text: its first paragraph has the fault, the others have tips and the usage. `program` is the name of the
/// program, whose help is named where the text has no usage.
pub fn complaint(program: &str, rendered: &str) -> Complaint {
    let first = rendered.trim_start().split("\n\n").next().unwrap_or_default();
    let message = first.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    // Without a subcommand that is needed, clap prints only the help.
    let message = message.strip_prefix("error: ").unwrap_or("missing subcommand");
    let mut lines = rendered.lines().map(str::trim);
    let usage = lines.clone().find_map(|line| line.strip_prefix("Usage: "));
    let missing = message.strip_prefix("the following required arguments were not provided: ");
    let message = match missing {
        Some(names) => format!("missing argument: {}", names.replace(['<', '>'], "")),
        None => message.to_owned(),
    };
    let is_word = |word: &&str| word.starts_with(|c: char| c.is_ascii_lowercase());
    let of_usage = |usage: &str| usage.split(' ').take_while(is_word).collect::<Vec<_>>().join(" ");
    let help = usage.map_or_else(|| program.to_owned(), of_usage) + " -h";
    // The first of several tips is the most likely one.
    let hint = match (lines.find_map(|line| line.strip_prefix("tip: ")), missing, usage) {
        (Some(tip), ..) => sentence(&format!("{tip}; see `{help}`")),
        (None, Some(_), Some(usage)) => format!("Write `{usage}`; see `{help}`."),
        _ => format!("See `{help}`."),
    };
    Complaint { message, hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_names_what_is_missing_and_the_help_of_its_own_subcommand() {
        let rendered = "error: the following required arguments were not provided:\n  <HOST>\n\n\
            Usage: rcmd-client doctor <HOST>\n\nFor more information, try '--help'.\n";
        let Complaint { message, hint } = complaint("rcmd-client", rendered);
        assert_eq!(message, "missing argument: HOST");
        assert_eq!(hint, "Write `rcmd-client doctor <HOST>`; see `rcmd-client doctor -h`.");
        let rendered = "error: unexpected argument '--tiemout' found\n\n  \
            tip: a similar argument exists: '--timeout'\n\nUsage: rcmd-client [OPTIONS] HOST\n";
        let Complaint { message, hint } = complaint("rcmd-client", rendered);
        assert_eq!(message, "unexpected argument '--tiemout' found");
        assert_eq!(hint, "A similar argument exists: '--timeout'; see `rcmd-client -h`.");
        assert_eq!(complaint("rcmd-client", "error: no").hint, "See `rcmd-client -h`.");
        let help = "Checks the policy\n\nUsage: rcmd-server policy <COMMAND>\n";
        let Complaint { message, hint } = complaint("rcmd-server", help);
        assert_eq!((&*message, &*hint), ("missing subcommand", "See `rcmd-server policy -h`."));
    }

    #[test]
    fn an_unknown_setting_is_answered_with_the_one_that_was_meant_or_with_all() {
        let fault = |typed: &str| {
            setting_fault(&format!(
                "unknown field `{typed}`, expected one of `listen`, `grace`, `path`"
            ))
        };
        assert_eq!(fault("graec"), "unknown setting `graec`; did you mean `grace`?");
        assert_eq!(fault("lisen"), "unknown setting `lisen`; did you mean `listen`?");
        assert_eq!(fault("colour"), "unknown setting `colour`; known here: listen, grace, path");
        assert!(fault("a`, expected `b").starts_with("unknown setting `a`, expected `b`; known"));
        assert!(fault(&"x".repeat(1 << 20)).ends_with("known here: listen, grace, path"));
        let value = setting_fault("unknown variant `atuo`, expected `auto` or `portable`");
        assert_eq!(value, "unknown value `atuo`; did you mean `auto`?");
        assert_eq!(
            setting_fault("invalid type\nexpected a string"),
            "invalid type, expected a string"
        );
    }

    #[test]
    fn a_long_word_of_a_file_which_may_be_a_key_is_told_by_its_length() {
        let key = "MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF";
        let told = setting_fault(&format!("\"{key}\" is not a duration, such as \"90s\": no unit"));
        let end = "is not a duration, such as \"90s\": no unit";
        assert_eq!(told, format!("(a word of {} characters) {end}", key.len()));
        let told =
            setting_fault(&format!("invalid type: string \"-----BEGIN\n{key}\", expected u32"));
        assert!(!told.contains(key) && told.ends_with("expected u32"), "{told}");
        let told = setting_fault(&format!("unknown field `{key}`, expected `listen`"));
        assert!(!told.contains(key) && told.ends_with("; known here: listen"), "{told}");
    }

    #[test]
    fn the_nearest_word_is_within_the_distance_and_not_the_word_itself() {
        let nearest =
            |typed| nearest(typed, ["run", "doctor", "completions"], |length| 1 + length / 7);
        assert_eq!(nearest("rnu"), Some("run"));
        assert_eq!(nearest("completion"), Some("completions"));
        assert_eq!(nearest("db"), None);
        assert_eq!(nearest("doctor"), None);
    }

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
    fn a_place_is_counted_in_lines_and_characters() {
        let text = "a\nzoë x".as_bytes();
        for (at, place_of) in [(0, (1, 1)), (1, (1, 2)), (2, (2, 1)), (7, (2, 5)), (99, (2, 6))] {
            assert_eq!(place(text, at), place_of, "{at}");
        }
        assert_eq!(place(b"\n\xff\xffx", 3), (2, 3));
    }

    #[test]
    fn long_text_is_cut() {
        let printed = printable(&"a".repeat(10_000));
        assert_eq!(printed.chars().count(), MAX_PRINTED + 1);
        assert!(printed.ends_with('…'));
    }
}
