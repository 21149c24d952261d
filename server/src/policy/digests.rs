//! The digests of programs that a rule compares with. If they were not known, every program would
//! have to be read to be judged.

/// The use that a rule makes of the program's digest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Digests {
    /// None.
    Unnamed,
    /// A comparison with these digests: all others are alike to the rule.
    Listed(Vec<String>),
    /// Some other use: any digest may matter.
    Any,
}

const FACT: &str = "context.digest";

impl Digests {
    /// Reads a rule's text. A use that this function does not understand counts as
    /// [`Digests::Any`].
    pub(super) fn parse(source: &str) -> Self {
        if !source.contains("digest") {
            return Self::Unnamed;
        }
        let mut rest = source;
        let mut left = source.matches("digest").count();
        left -= source.matches("context has digest").count();
        let mut listed = Vec::new();
        while let Some(at) = rest.find(FACT) {
            let (before, after) = (rest.get(..at), rest.get(at + FACT.len()..));
            let (Some(before), Some(after)) = (before, after) else { return Self::Any };
            match compared_after(after).map(|one| vec![one]).or_else(|| contained_in(before)) {
                Some(found) => listed.extend(found),
                None => return Self::Any,
            }
            left -= 1;
            rest = after;
        }
        if left == 0 { Self::Listed(listed) } else { Self::Any }
    }

    /// Returns the use that two rules together make of the digest.
    pub(super) fn and(self, other: &Self) -> Self {
        match (self, other) {
            (all, Self::Unnamed) => all,
            (Self::Unnamed, other) => other.clone(),
            (Self::Listed(mut all), Self::Listed(more)) => {
                all.extend_from_slice(more);
                Self::Listed(all)
            }
            (Self::Any, _) | (_, Self::Any) => Self::Any,
        }
    }
}

/// Reads `== "sha256:..."` or `!= "sha256:..."`.
fn compared_after(text: &str) -> Option<String> {
    let text = text.trim_start();
    let text = text.strip_prefix("==").or_else(|| text.strip_prefix("!="))?;
    let (literal, _) = text.trim_start().strip_prefix('"')?.split_once('"')?;
    plain(literal)
}

/// Reads `["sha256:...", ...].contains(` from its end.
fn contained_in(text: &str) -> Option<Vec<String>> {
    let text = text.trim_end().strip_suffix(".contains(")?.trim_end().strip_suffix(']')?;
    let (_, list) = text.rsplit_once('[')?;
    let literals = list.split(',').map(str::trim).filter(|literal| !literal.is_empty());
    literals.map(|literal| plain(literal.strip_prefix('"')?.strip_suffix('"')?)).collect()
}

/// Returns a literal that has no escapes.
fn plain(literal: &str) -> Option<String> {
    (!literal.contains('\\')).then(|| literal.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(condition: &str) -> Digests {
        Digests::parse(&format!("permit (principal, action, resource) when {{ {condition} }};"))
    }

    fn listed(digests: &[&str]) -> Digests {
        Digests::Listed(digests.iter().map(|&digest| digest.to_owned()).collect())
    }

    #[test]
    fn digests_that_are_compared_are_listed() {
        assert_eq!(parse("context.argc == 1"), Digests::Unnamed);
        assert_eq!(parse("context has digest"), listed(&[]));
        assert_eq!(
            parse("context has digest && context.digest == \"sha256:a1\" && context.argc == 1"),
            listed(&["sha256:a1"])
        );
        assert_eq!(
            parse("context has digest && [\"sha256:a\", \"sha256:b\"].contains(context.digest)"),
            listed(&["sha256:a", "sha256:b"])
        );
        assert_eq!(
            parse(
                "context has digest && (context.digest != \"sha256:a\" || context.digest == \"sha256:b\")"
            ),
            listed(&["sha256:a", "sha256:b"])
        );
    }

    #[test]
    fn whatever_else_is_done_with_a_digest_may_matter() {
        for condition in [
            "context.digest like \"sha256:a*\"",
            "context.digest == context.line",
            "[context.line].contains(context.digest)",
            "context[\"digest\"] == \"sha256:a\"",
            "\"sha256:a\" == context.digest",
            "context.digest == \"sha256:\\u{61}\"",
            "context.digest == \"sha256:a\" // a digest",
        ] {
            assert_eq!(parse(condition), Digests::Any, "{condition}");
        }
        assert_eq!(Digests::parse("@id(\"digest\") permit (a, b, c);"), Digests::Any);
    }
}
