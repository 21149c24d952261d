//! The numbers between a pair of brackets: `1-9/2,12`.

use super::{error::Fault, limits::MAX_DIGITS};

/// Numbers at equal distances. `[08-11]` keeps its zeros, `[8-11]` has none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Range {
    first: u64,
    last: u64,
    /// The step, at least 1.
    step: u64,
    /// The number of digits with leading zeros, or 0 for numbers without them.
    width: usize,
}

impl Range {
    /// Returns how many numbers the range has.
    pub(super) fn count(&self) -> u128 {
        u128::from((self.last - self.first) / self.step) + 1
    }

    /// Returns the numbers as text.
    pub(super) fn numbers(&self) -> impl Iterator<Item = String> + use<> {
        let Self { first, last, step, width } = *self;
        // Not by `step_by`: a step may exceed usize.
        std::iter::successors(Some(first), move |number| {
            number.checked_add(step).filter(|next| *next <= last)
        })
        .map(move |number| format!("{number:0width$}"))
    }

    fn has(&self, number: u64) -> bool {
        self.first <= number
            && number <= self.last
            && (number - self.first).is_multiple_of(self.step)
    }

    /// Splits a range without leading zeros where its numbers get one digit more.
    fn by_length(self) -> Vec<Self> {
        let (mut parts, mut rest) = (Vec::new(), Some(self));
        while let Some(range) = rest.take() {
            let digits = digits_of(range.first).max(range.width);
            let end = 10_u64.checked_pow(u32::try_from(digits).unwrap_or(u32::MAX));
            let end = end.unwrap_or(u64::MAX).min(range.last.saturating_add(1));
            let last = range.first + (end - 1 - range.first) / range.step * range.step;
            parts.push(Self { last, width: digits, ..range });
            let next = last.saturating_add(range.step);
            if range.width == 0 && next <= range.last {
                rest = Some(Self { first: next, ..range });
            }
        }
        parts
    }
}

/// Reads the text between a pair of brackets. The digits `before` the opening bracket and `behind` the closing one
/// belong to each number.
///
/// # Errors
/// The fault, and its position in `text`, in characters from 0.
pub(super) fn read(text: &str, before: &str, behind: &str) -> Result<Vec<Range>, (usize, Fault)> {
    let mut ranges = Vec::new();
    let mut at = 0;
    for part in text.split(',') {
        ranges.push(one(part, behind).map_err(|fault| (at, fault))?);
        at += part.chars().count() + 1;
    }
    if before.is_empty() {
        return Ok(ranges);
    }
    // Ambiguous: 1[9-10] could mean 19 and 110, or all numbers from 19 to 110.
    let plain = |number: u64| ranges.iter().any(|range| range.width == 0 && range.has(number));
    let powers = std::iter::successors(Some(10_u64), |power| power.checked_mul(10));
    if powers.into_iter().any(|power| plain(power - 1) && plain(power)) {
        return Err((0, Fault::DigitsBeforeGrowth));
    }
    let parts = ranges.into_iter().flat_map(Range::by_length);
    let prefixed = parts.map(|range| {
        let width = range.width + before.len();
        if width > MAX_DIGITS {
            return Err((0, Fault::LongNumber));
        }
        let above: u64 = before.parse().map_err(|_| (0, Fault::LongNumber))?;
        let above = above * 10_u64.pow(u32::try_from(range.width).unwrap_or_default());
        Ok(Range { first: above + range.first, last: above + range.last, width, ..range })
    });
    prefixed.collect()
}

/// Reads `5`, `1-9` or `1-9/2`; the digits `behind` are appended to each number.
fn one(text: &str, behind: &str) -> Result<Range, Fault> {
    if !behind.is_empty() && text.contains('/') {
        return Err(Fault::DigitsBehindStep);
    }
    let (ends, step) = text.split_once('/').map_or((text, None), |(ends, step)| (ends, Some(step)));
    let bad_step = |step: &str| Fault::BadStep(step.to_owned());
    let step = match step {
        None => 1,
        Some(step) if !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit()) => {
            step.parse().map_err(|_| bad_step(step))?
        }
        Some(step) => return Err(bad_step(step)),
    };
    if step == 0 {
        return Err(bad_step("0"));
    }
    let (first, last) = match ends.split_once('-') {
        Some((first, last)) => (first, Some(last)),
        None => (ends, None),
    };
    let whole = |number: &str| {
        let digits = format!("{number}{behind}");
        match number.bytes().all(|byte| byte.is_ascii_digit()) {
            _ if number.is_empty() => Err(Fault::MissingNumber),
            false => Err(Fault::NoNumber(number.to_owned())),
            true if digits.len() > MAX_DIGITS => Err(Fault::LongNumber),
            true => Ok(digits),
        }
    };
    let first = whole(first)?;
    let begins_with_zero = |digits: &str| digits.len() > 1 && digits.starts_with('0');
    let number = |digits: &str| digits.parse::<u64>().map_err(|_| Fault::LongNumber);
    let Some(last) = last else {
        if step != 1 {
            return Err(Fault::LoneStep);
        }
        let width = if begins_with_zero(&first) { first.len() } else { 0 };
        return Ok(Range { first: number(&first)?, last: number(&first)?, step: 1, width });
    };
    let last = whole(last)?;
    let padded = begins_with_zero(&first) || begins_with_zero(&last);
    let shown = || format!("{first}-{last}");
    if padded && first.len() != last.len() {
        return Err(Fault::UnequalWidths(shown()));
    }
    if number(&first)? > number(&last)? {
        return Err(Fault::Backwards(shown()));
    }
    let step = match behind.len() {
        0 => step,
        // Consecutive numbers are no longer consecutive with digits after them.
        digits => 10_u64.pow(u32::try_from(digits).unwrap_or_default()),
    };
    let width = if begins_with_zero(&first) { first.len() } else { 0 };
    Ok(Range { first: number(&first)?, last: number(&last)?, step, width })
}

fn digits_of(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |digits| usize::try_from(digits).unwrap_or_default() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str, before: &str, behind: &str) -> Vec<String> {
        let ranges = read(text, before, behind).unwrap();
        let all: Vec<_> = ranges.iter().flat_map(Range::numbers).collect();
        let counted: u128 = ranges.iter().map(Range::count).sum();
        assert_eq!(counted, all.len() as u128, "{text}");
        all
    }

    #[test]
    fn numbers_keep_their_zeros_steps_and_order() {
        assert_eq!(numbers("08-11", "", ""), ["08", "09", "10", "11"]);
        assert_eq!(numbers("8-11", "", ""), ["8", "9", "10", "11"]);
        assert_eq!(numbers("1-9/4,2", "", ""), ["1", "5", "9", "2"]);
        assert_eq!(numbers("00", "", ""), ["00"]);
        assert_eq!(numbers("0-4/999999999999999999", "", ""), ["0"]);
        assert_eq!(numbers("5/1", "", ""), ["5"]);
    }

    #[test]
    fn digits_that_touch_a_bracket_belong_to_each_number() {
        assert_eq!(numbers("1-3", "0", ""), ["01", "02", "03"]);
        assert_eq!(numbers("1,10", "2", ""), ["21", "210"]);
        assert_eq!(numbers("8-12/2", "1", ""), ["18", "110", "112"]);
        assert_eq!(numbers("8-11", "", "3"), ["83", "93", "103", "113"]);
        assert_eq!(numbers("1-2", "7", "0"), ["710", "720"]);
        assert_eq!(numbers("08-11", "1", ""), ["108", "109", "110", "111"]);
        assert_eq!(read("9,10", "1", ""), Err((0, Fault::DigitsBeforeGrowth)));
        assert_eq!(read("8-11", "1", ""), Err((0, Fault::DigitsBeforeGrowth)));
        assert_eq!(read("1-9/2", "", "0"), Err((0, Fault::DigitsBehindStep)));
    }

    #[test]
    fn what_is_no_range_is_refused_with_its_place() {
        let wide = |text: &str| Fault::UnequalWidths(text.to_owned());
        for (text, at, fault) in [
            ("", 0, Fault::MissingNumber),
            ("1,", 2, Fault::MissingNumber),
            ("1-", 0, Fault::MissingNumber),
            ("-5", 0, Fault::MissingNumber),
            ("1,a-b", 2, Fault::NoNumber("a".to_owned())),
            ("1-2-3", 0, Fault::NoNumber("2-3".to_owned())),
            ("5-1", 0, Fault::Backwards("5-1".to_owned())),
            ("9-011", 0, wide("9-011")),
            ("1-010", 0, wide("1-010")),
            ("0-09", 0, wide("0-09")),
            ("1-10/0", 0, Fault::BadStep("0".to_owned())),
            ("1-10/", 0, Fault::BadStep(String::new())),
            ("5/2", 0, Fault::LoneStep),
            ("1-1111111111111111111", 0, Fault::LongNumber),
        ] {
            assert_eq!(read(text, "", ""), Err((at, fault)), "{text}");
        }
        assert_eq!(read("0-10", "", "3"), Err((0, wide("03-103"))));
    }
}
