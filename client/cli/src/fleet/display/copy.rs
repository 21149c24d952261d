//! Output that was kept, on its way to a screen.

use std::io::{self, BufRead as _};

use super::kept::Kept;
use super::safe::put_safe;
use super::screen::Screens;
use super::store::Store;
use crate::output::json::unfinished;
use crate::output::sink::Place;

/// The treatment of the end of an output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// The end stays as it is.
    AsItIs,
    /// A missing last newline is added.
    WholeLine,
    /// The newlines at the end are left out, as a shell's `$(...)` does.
    NoNewlines,
}

/// Writes an output. With `safe`, control characters are escaped, and characters that two blocks share
/// are put together for that.
///
/// # Errors
/// A failure when the kept output can't be read back.
pub(super) fn copy(
    kept: &Kept,
    store: &Store,
    safe: bool,
    end: End,
    place: Place,
    screens: &mut Screens,
) -> io::Result<()> {
    let mut reader = kept.reader(store);
    let (mut half, mut shown) = (Vec::new(), Vec::new());
    let mut newlines = Newlines { end, held: 0, last: None };
    loop {
        let bytes = reader.fill_buf()?;
        let count = bytes.len();
        if !safe {
            newlines.put(bytes, place, screens);
        } else {
            half.extend_from_slice(bytes);
            let rest = if count == 0 { 0 } else { unfinished(&half) };
            let rest = half.split_off(half.len() - rest);
            shown.clear();
            put_safe(&half, &mut shown);
            newlines.put(&shown, place, screens);
            half = rest;
        }
        if count == 0 {
            break;
        }
        reader.consume(count);
    }
    if end == End::WholeLine && newlines.last.is_some_and(|last| last != b'\n') {
        screens.put(place, b"\n");
    }
    Ok(())
}

/// Newlines that may be the last.
struct Newlines {
    end: End,
    held: u64,
    last: Option<u8>,
}

impl Newlines {
    fn put(&mut self, bytes: &[u8], place: Place, screens: &mut Screens) {
        self.last = bytes.last().copied().or(self.last);
        if self.end != End::NoNewlines {
            screens.put(place, bytes);
            return;
        }
        let body = bytes.iter().rposition(|byte| *byte != b'\n').map_or(0, |last| last + 1);
        let (body, behind) = bytes.split_at(body);
        if !body.is_empty() {
            for _ in 0..std::mem::take(&mut self.held) {
                screens.put(place, b"\n");
            }
            screens.put(place, body);
        }
        self.held += behind.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::BLOCK;
    use super::super::tests::harness::Captured;
    use super::*;

    fn copied(pieces: &[&[u8]], safe: bool, end: End) -> Vec<u8> {
        let (mut store, mut kept) = (Store::default(), Kept::default());
        for piece in pieces {
            kept.push(&mut store, piece).unwrap();
            kept.seal(&mut store).unwrap();
        }
        let (captured, mut screens) = Captured::pipes();
        copy(&kept, &store, safe, end, Place::Stdout, &mut screens).unwrap();
        screens.settle();
        captured.stdout()
    }

    #[test]
    fn a_last_newline_is_added_kept_or_left_out() {
        for (text, whole, cut) in [
            ("", "", ""),
            ("\n\n", "\n\n", ""),
            ("x", "x\n", "x"),
            ("x\n", "x\n", "x"),
            ("a\n\nb \n\n", "a\n\nb \n\n", "a\n\nb "),
        ] {
            for at in 0..=text.len() {
                let (one, other) = text.as_bytes().split_at(at);
                let pieces = [one, other];
                assert_eq!(copied(&pieces, false, End::WholeLine), whole.as_bytes(), "{text:?}");
                assert_eq!(copied(&pieces, true, End::NoNewlines), cut.as_bytes(), "{text:?}");
                assert_eq!(copied(&pieces, false, End::AsItIs), text.as_bytes());
            }
        }
    }

    #[test]
    fn characters_between_blocks_are_whole_and_half_ones_at_the_end_are_escaped() {
        let text = "a磁盘\n".as_bytes();
        for at in 0..=text.len() {
            let (one, other) = text.split_at(at);
            assert_eq!(copied(&[one, other], true, End::AsItIs), text);
        }
        assert_eq!(copied(&[b"a\xe7", b"\xa3"], true, End::WholeLine), b"a\\xe7\\xa3\n");
    }

    #[test]
    fn bytes_for_a_program_are_untouched() {
        let bytes: Vec<u8> = (0..3 * BLOCK + 5).map(|at| (at * 7 % 256) as u8).collect();
        assert!(copied(&[&bytes], false, End::AsItIs) == bytes);
    }
}
