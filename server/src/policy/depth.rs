//! Limits on how deep the text of a policy may nest. Cedar's parser, validator and evaluator
//! recurse for each level, and a stack overflow would end the whole program.

use super::{diagnostic::Diagnostic, words::Words};

/// The maximum number of brackets and `if` within each other.
const LEVELS: usize = 24;
/// The maximum number of operators, accesses and annotations of one rule: a chain of them is as
/// deep as it is long.
const CHAINED: usize = 250;

/// Checks that no place in a policy's text nests too deep.
///
/// # Errors
/// The first place that does.
pub(super) fn check(text: &str) -> Result<(), Diagnostic> {
    // The number of open `if` within each bracket, the outermost first.
    let mut open = vec![0];
    let mut chained = 0;
    for (at, word) in Words::of(text) {
        match word {
            "(" | "[" | "{" => open.push(0),
            ")" | "]" | "}" if open.len() > 1 => _ = open.pop(),
            "if" => open.iter_mut().next_back().into_iter().for_each(|count| *count += 1),
            ";" if open.len() == 1 => (open, chained) = (vec![0], 0),
            _ => {}
        }
        chained += usize::from(matches!(word, "." | "[" | "+" | "-" | "*" | "&" | "|" | "@"));
        if open.len() - 1 + open.iter().sum::<usize>() > LEVELS {
            let message = format!("brackets and `if` nest more than {LEVELS} deep here");
            return Err(refused(text, at, message));
        }
        // `&&` and `||` are two words each.
        if chained > 2 * CHAINED {
            return Err(refused(text, at, "this rule has too many operators".to_owned()));
        }
    }
    Ok(())
}

fn refused(text: &str, at: usize, message: String) -> Diagnostic {
    Diagnostic::at(text, at, message, Some("split it into several rules".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(condition: &str) -> String {
        format!("permit (principal, action, resource) when {{ {condition} }};\n")
    }

    fn parens(levels: usize) -> String {
        rule(&format!("{}true{}", "(".repeat(levels), ")".repeat(levels)))
    }

    #[test]
    fn what_nests_too_deep_is_refused_with_its_place() {
        assert_eq!(check(&parens(LEVELS - 1)), Ok(()));
        let wrong = check(&(rule("true") + &parens(LEVELS))).unwrap_err();
        assert_eq!((wrong.line, wrong.column), (2, 45 + LEVELS - 1));
        assert!(wrong.message.contains("deep"), "{wrong:?}");
        for deep in [
            format!("{}{}", "[".repeat(100), "]".repeat(100)),
            "if true then ".repeat(100),
            format!("{}1", "{a: ".repeat(100)),
        ] {
            assert!(check(&rule(&deep)).unwrap_err().message.contains("deep"));
        }
    }

    #[test]
    fn a_chain_is_as_deep_as_it_is_long() {
        for link in [" || true", " + 1", ".a", "[\"a\"]", " * 1"] {
            let chain = |links| rule(&format!("true{}", link.repeat(links)));
            assert_eq!(check(&chain(CHAINED / 2)), Ok(()), "{link}");
            let wrong = check(&chain(3 * CHAINED)).unwrap_err();
            assert!(wrong.message.contains("operators"), "{wrong:?}");
        }
    }

    #[test]
    fn many_rules_long_sets_strings_and_comments_are_not_deep() {
        let set = format!("context.name in [{}]", "Host::\"a\", ".repeat(5000));
        let string = format!("context.line == \"{}\\\"{}\"", "(".repeat(100), ".".repeat(9000));
        let comment = format!("// {}\n true", "[".repeat(100));
        for condition in [set, string, comment] {
            assert_eq!(check(&rule(&condition)), Ok(()));
        }
        assert_eq!(check(&rule("context.argc == 1 && (true)").repeat(2000)), Ok(()));
        assert_eq!(check("}}}))); \"open"), Ok(()));
    }
}
