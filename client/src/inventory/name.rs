//! Valid names of hosts and groups.

/// The longest name of a host or a group, in bytes.
pub(crate) const MAX_NAME: usize = 512;

/// The maximum number of hosts in a set or an inventory.
pub(crate) const MAX_HOSTS: usize = 100_000;

/// Returns whether a character is allowed in a name. Characters with a meaning for shells, options or paths are
/// not, except the `/` of names that are not DNS names.
pub(crate) fn is_in_names(character: char) -> bool {
    character.is_alphanumeric() || ".-_:/+".contains(character)
}

/// Returns the reason, as a clause, why a text is not a valid name of a host. An IPv6 address may have brackets.
pub(crate) fn wrong_host(name: &str) -> Option<String> {
    let bare = match name.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if address.contains(':') => format!("{address}{port}"),
        _ => name.to_owned(),
    };
    wrong(&bare)
}

/// Returns the reason, as a clause, why a text is not a valid name of a group.
pub(crate) fn wrong_group(name: &str) -> Option<String> {
    match name.contains(':') {
        true => Some("a `:` follows the name of a source".to_owned()),
        false => wrong(name),
    }
}

fn wrong(name: &str) -> Option<String> {
    let odd = name.chars().find(|character| !is_in_names(*character));
    match odd {
        _ if name.is_empty() => Some("it is empty".to_owned()),
        _ if name.len() > MAX_NAME => Some(format!("it has more than {MAX_NAME} bytes")),
        Some(odd) if odd.is_whitespace() => Some("it contains a blank".to_owned()),
        Some('@') => Some("it names a user".to_owned()),
        Some(odd) => Some(format!("the character {odd:?} is not allowed")),
        None if name.starts_with('-') => Some("it begins with `-`".to_owned()),
        None if [".", ".."].contains(&name) => Some("it is the name of a folder".to_owned()),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_mean_nothing_else() {
        for name in
            ["web1", "a1:7263", "10.0.0.1", "::1", "[::1]:22", "a/b", "bücher.example", "A_1+"]
        {
            assert_eq!(wrong_host(name), None, "{name}");
        }
        for name in ["", "-rf", ".", "..", "a b", "a\n", "u@h", "a[1]", "[a]", "a,b", "$(id)", "a*"]
        {
            assert!(wrong_host(name).is_some(), "{name:?}");
        }
        assert!(wrong_host(&"a".repeat(513)).is_some());
        assert!(wrong_group("web").is_none() && wrong_group("a:b").is_some());
    }
}
