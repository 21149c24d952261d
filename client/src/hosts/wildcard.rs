//! Names with `*` and `?`.

/// Returns whether a name matches a mask: `*` stands for any text, also none, and `?` for one character. The number
/// of steps is at most the product of their lengths.
pub(super) fn fits(mask: &str, name: &str) -> bool {
    let (mut mask, mut name) = (mask.chars(), name.chars());
    // The mask after the last `*`, and the position in the name where it is tried next.
    let mut again: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let (before_mask, before_name) = (mask.clone(), name.clone());
        match (mask.next(), name.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                name = before_name;
                again = Some((mask.clone(), name.clone()));
                continue;
            }
            (Some('?'), Some(_)) => continue,
            (Some(wanted), Some(found)) if wanted == found => continue,
            _ => drop(before_mask),
        }
        let Some((from_mask, from_name)) = &mut again else { return false };
        // The `*` matches one character more.
        if from_name.next().is_none() {
            return false;
        }
        (mask, name) = (from_mask.clone(), from_name.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_fits_the_whole_name() {
        for (mask, name, expected) in [
            ("*", "", true),
            ("*", "web1", true),
            ("web?", "web1", true),
            ("web?", "web", false),
            ("web?", "web12", false),
            ("w*1", "web1", true),
            ("w*1", "web12", false),
            ("*b*1*", "web01x", true),
            ("a*a*a", "aa", false),
            ("a*a*a", "aaaaab", false),
            ("?é", "zé", true),
            ("web", "web", true),
            ("web", "webs", false),
        ] {
            assert_eq!(fits(mask, name), expected, "{mask} {name}");
        }
        let (mask, name) = ("a*".repeat(200) + "b", "a".repeat(500));
        assert!(!fits(&mask, &name));
    }
}
