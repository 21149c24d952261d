//! `--timestamps`: begins each line with the time at which the server read its first byte.

use jiff::Timestamp;

/// Formats a time in milliseconds since 1970 as RFC 3339 in UTC, such as `2026-01-02T03:04:05.678Z`.
pub(crate) fn rfc3339(ms: u64) -> Option<String> {
    let time = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok())?;
    Some(format!("{time:.3}"))
}

/// A writer of times into one stream.
#[derive(Debug, Default)]
pub(crate) struct Stamper {
    /// True if the last byte did not end its line.
    in_line: bool,
}

impl Stamper {
    /// Appends `bytes`, which the server read at `time` (ms since 1970), to `out`, with the time before each line. A
    /// line that continues from an earlier call has its time already.
    pub(crate) fn stamp(&mut self, bytes: &[u8], time: Option<u64>, out: &mut Vec<u8>) {
        let stamp = time.and_then(rfc3339).unwrap_or_else(|| "-".to_owned());
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            if !self.in_line {
                out.extend_from_slice(stamp.as_bytes());
                out.push(b' ');
            }
            out.extend_from_slice(line);
            self.in_line = line.last() != Some(&b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped(pieces: &[(&str, u64)]) -> String {
        let (mut stamper, mut out) = (Stamper::default(), Vec::new());
        for (piece, time) in pieces {
            stamper.stamp(piece.as_bytes(), Some(*time), &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_time_is_rfc_3339_with_milliseconds() {
        assert_eq!(rfc3339(1_767_323_045_678).unwrap(), "2026-01-02T03:04:05.678Z");
        assert_eq!(rfc3339(0).unwrap(), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(u64::MAX), None);
    }

    #[test]
    fn each_line_is_stamped_once_however_it_is_cut() {
        let zero = "1970-01-01T00:00:00.000Z";
        assert_eq!(stamped(&[("a\n\nb", 0)]), format!("{zero} a\n{zero} \n{zero} b"));
        let one = "1970-01-01T00:00:00.001Z";
        assert_eq!(stamped(&[("a", 0), ("b\n", 1), ("c", 1)]), format!("{zero} ab\n{one} c"));
        assert_eq!(stamped(&[("a\n", 0), ("", 1)]), format!("{zero} a\n"));
    }
}
