//! Names of hosts in inventories: `web[01:20]`, `db-[a:c]`, with the port of ssh.

use std::net::Ipv6Addr;

use super::super::error::InventoryFault;
use crate::inventory::name::MAX_HOSTS;

/// Returns the names of a pattern, without the port of ssh.
pub(super) fn names(pattern: &str) -> Result<Vec<String>, InventoryFault> {
    let pattern = without_port(pattern);
    let mut names = vec![pattern.to_owned()];
    while let Some((_, inside, tail)) = names.first().and_then(|name| cut(name)) {
        let numbers = sequence(inside)?;
        // All names have the same text after the first brackets.
        let tail = tail.to_owned();
        if numbers.len().saturating_mul(names.len()) > MAX_HOSTS {
            return Err(InventoryFault::TooMany);
        }
        let heads = names.iter().filter_map(|name| cut(name).map(|(head, ..)| head));
        names = heads
            .flat_map(|head| {
                numbers.iter().map(|number| format!("{head}{number}{tail}")).collect::<Vec<_>>()
            })
            .collect();
    }
    Ok(names)
}

/// Splits a name at its first brackets.
fn cut(name: &str) -> Option<(&str, &str, &str)> {
    let (head, rest) = name.split_once('[')?;
    let (inside, tail) = rest.split_once(']')?;
    Some((head, inside, tail))
}

/// Returns a name without its port, and an IPv6 address without brackets.
pub(super) fn without_port(pattern: &str) -> &str {
    if let Some((inside, rest)) = pattern.strip_prefix('[').and_then(|rest| rest.split_once(']'))
        && inside.parse::<Ipv6Addr>().is_ok()
        && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_number))
    {
        return inside;
    }
    let Some((name, port)) = pattern.rsplit_once(':') else { return pattern };
    let mut depth = 0_i32;
    let outside = name.chars().any(|character| {
        depth += i32::from(character == '[') - i32::from(character == ']');
        character == ':' && depth == 0
    });
    if is_number(port) && !outside && depth == 0 { name } else { pattern }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns the texts of `01:20`, `1:9:2` or `a:c`.
fn sequence(inside: &str) -> Result<Vec<String>, InventoryFault> {
    let wrong = || {
        let why = format!("`[{inside}]` is not a range such as [01:20] or [a:c]");
        InventoryFault::Syntax(why)
    };
    let mut parts = inside.split(':');
    let (first, last) = (parts.next().unwrap_or_default(), parts.next().ok_or_else(wrong)?);
    let step = match parts.next() {
        None => 1,
        Some(step) => step.parse().ok().filter(|step| *step > 0).ok_or_else(wrong)?,
    };
    if parts.next().is_some() || last.is_empty() {
        return Err(wrong());
    }
    let first = if first.is_empty() { "0" } else { first };
    let letter = |text: &str| {
        let mut letters = ('a'..='z').chain('A'..='Z');
        let mut characters = text.chars();
        let (one, none) = (characters.next()?, characters.next());
        letters.position(|letter| letter == one).filter(|_| none.is_none())
    };
    if let (Some(first), Some(last)) = (letter(first), letter(last)) {
        let letters = ('a'..='z').chain('A'..='Z').take(last + 1).skip(first).step_by(step);
        let letters: Vec<_> = letters.map(String::from).collect();
        return if letters.is_empty() { Err(wrong()) } else { Ok(letters) };
    }
    if !is_number(first) || !is_number(last) {
        return Err(wrong());
    }
    let padded = first.len() > 1 && first.starts_with('0');
    if padded && first.len() != last.len() {
        return Err(wrong());
    }
    let width = if padded { first.len() } else { 0 };
    let numbers = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    let (first, last) = (numbers(first)?, numbers(last)?);
    if first > last {
        return Err(wrong());
    }
    let step_wide = u64::try_from(step).unwrap_or(u64::MAX);
    if (last - first) / step_wide >= MAX_HOSTS as u64 {
        return Err(InventoryFault::TooMany);
    }
    Ok((first..=last).step_by(step).map(|number| format!("{number:0width$}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_inclusive_and_keep_zeros() {
        let all = |pattern: &str| names(pattern).unwrap().join(" ");
        assert_eq!(all("web[08:10]"), "web08 web09 web10");
        assert_eq!(all("db-[a:c].e"), "db-a.e db-b.e db-c.e");
        assert_eq!(all("n[1:9:4]"), "n1 n5 n9");
        assert_eq!(all("n[:2]"), "n0 n1 n2");
        assert_eq!(all("r[1:2]n[a:b]:22"), "r1na r1nb r2na r2nb");
        assert_eq!(all("web1:22"), "web1");
        assert_eq!(all("[fd00::1]:22"), "fd00::1");
        assert_eq!(all("fd00::1"), "fd00::1");
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for pattern in ["a[1]", "a[1:]", "a[2:1]", "a[01:100]", "a[x:1]", "a[1:2:0]", "a[1:2:3:4]"]
        {
            assert!(names(pattern).is_err(), "{pattern}");
        }
        assert_eq!(names("a[1:100001]"), Err(InventoryFault::TooMany));
        assert_eq!(names("a[1:1000]b[1:1000]"), Err(InventoryFault::TooMany));
        assert_eq!(names("a[0:18446744073709551615]"), Err(InventoryFault::TooMany));
    }
}
