//! The types of scalars without quotes in YAML 1.1, as PyYAML reads it for Ansible: `no` is a truth value, `0123` and
//! `1:30` are numbers.

/// Words for nothing, truth and the merge of mappings (YAML 1.1, types `null`, `bool`, `merge`, `value`).
const WORDS: [&str; 29] = [
    "", "~", "null", "Null", "NULL", "yes", "Yes", "YES", "no", "No", "NO", "true", "True", "TRUE",
    "false", "False", "FALSE", "on", "On", "ON", "off", "Off", "OFF", "<<", "=", ".nan", ".NaN",
    ".NAN", "!",
];

/// Returns whether a scalar is text: not a number, a date, a truth value or null.
pub(super) fn is_text(plain: &str) -> bool {
    !WORDS.contains(&plain) && !is_integer(plain) && !is_float(plain) && !is_date(plain)
}

fn unsigned(text: &str) -> &str {
    text.strip_prefix(['+', '-']).unwrap_or(text)
}

/// Returns whether a text consists of these digits and `_`, and is not empty.
fn all(text: &str, digit: impl Fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(|character| character == '_' || digit(character))
}

fn is_integer(text: &str) -> bool {
    let text = unsigned(text);
    if let Some(binary) = text.strip_prefix("0b") {
        return all(binary, |digit| matches!(digit, '0' | '1'));
    }
    if let Some(hexadecimal) = text.strip_prefix("0x") {
        return all(hexadecimal, |digit| digit.is_ascii_hexdigit());
    }
    if let Some(octal) = text.strip_prefix('0') {
        return octal.is_empty() || all(octal, |digit| matches!(digit, '0'..='7'));
    }
    begins_with_digit(text) && (all(text, |digit| digit.is_ascii_digit()) || is_by_sixty(text))
}

fn begins_with_digit(text: &str) -> bool {
    text.starts_with(|character: char| character.is_ascii_digit())
}

/// Returns whether a text is a number to the base 60: `1:30` or `1:02:03`.
fn is_by_sixty(text: &str) -> bool {
    let mut parts = text.split(':');
    let first = parts.next().is_some_and(|first| {
        begins_with_digit(first) && all(first, |digit| digit.is_ascii_digit())
    });
    let mut rest = parts.peekable();
    let some = rest.peek().is_some();
    first
        && some
        && rest.all(|part| part.len() <= 2 && part.parse::<u8>().is_ok_and(|part| part < 60))
}

fn is_float(text: &str) -> bool {
    let bare = unsigned(text);
    if [".inf", ".Inf", ".INF"].contains(&bare) {
        return true;
    }
    let Some((whole, fraction)) = bare.split_once('.') else { return false };
    let exponent = |text: &str| {
        let digits = text.strip_prefix(['+', '-']);
        digits
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
    };
    let (digits, is_exponent) = match fraction.split_once(['e', 'E']) {
        Some((digits, power)) => (digits, exponent(power)),
        None => (fraction, true),
    };
    let digits_are = digits.is_empty() || all(digits, |digit| digit.is_ascii_digit());
    let whole_is = begins_with_digit(whole) && all(whole, |digit| digit.is_ascii_digit());
    match whole {
        "" => begins_with_digit(digits) && digits_are && is_exponent && bare == text,
        _ => {
            digits_are
                && is_exponent
                && (whole_is || is_by_sixty(whole) && !fraction.contains(['e', 'E']))
        }
    }
}

/// Returns whether a text is a date such as `2001-12-14`, with or without a time.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let mut part = || parts.next().unwrap_or_default();
    let (year, month, rest) = (part(), part(), part());
    let number = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let day = rest.split(['T', 't', ' ', '\t']).next().unwrap_or_default();
    let date = year.len() == 4 && number(year, 4) && number(month, 2) && number(day, 2);
    let alone = day.len() == rest.len();
    date && if alone { month.len() == 2 && day.len() == 2 } else { rest.contains(':') }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_told_from_what_only_looks_like_one() {
        for text in [
            "a1",
            "10.0.0.10",
            "web01",
            "1e3",
            "0x",
            "08",
            "fd00::1",
            "yess",
            "1.2.3",
            "v1.0",
            "-",
            "a",
            "1:75",
            "0b2",
            "12ab",
            "2001-12-14-x",
            "1-2-3",
            "yEs",
        ] {
            assert!(is_text(text), "{text}");
        }
        for other in [
            "",
            "~",
            "null",
            "yes",
            "No",
            "on",
            "true",
            "0",
            "0123",
            "3750",
            "-1",
            "0x1f",
            "0b10",
            "1_000",
            "1:30",
            "10:22",
            "1.5",
            "1.",
            ".5",
            "1.5e+3",
            ".inf",
            "-.INF",
            ".nan",
            "2001-12-14",
            "2001-12-14T21:59:43Z",
            "<<",
            "=",
            "1:30.5",
        ] {
            assert!(!is_text(other), "{other}");
        }
    }
}
