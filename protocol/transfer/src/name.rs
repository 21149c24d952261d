//! Names of files: which of the other end's may be used, and those of our own partial files.

use crate::{
    failure::{Failure, FailureKind},
    limits,
};

/// What the name of each partial file begins with.
const PREFIX: &[u8] = b".rcmd-part-";

/// The digits of a partial file's name that say which file it is of, and of those that are random.
const DIGITS: usize = 16;

/// Checks that a name is one component of a path and leads nowhere else.
///
/// # Errors
/// `unsafe_path` or `too_big`.
pub(crate) fn check(name: &[u8]) -> Result<(), Failure> {
    let wrong = match name {
        b"" => "a name is empty",
        b"." | b".." => "a name is `.` or `..`",
        _ if name.contains(&b'/') => "a name has a slash in it",
        _ if name.contains(&0) => "a name has a NUL in it",
        _ if is_partial(name) => "a name is one of our own for partial files",
        _ if name.len() > limits::FILE_NAME => {
            return Err(Failure::new(FailureKind::TooBig, "a name is longer than 255 bytes"));
        }
        _ => return Ok(()),
    };
    Err(Failure::new(FailureKind::UnsafePath, wrong))
}

/// Returns whether this is the name of a partial file of a transfer, of whichever file.
pub(crate) fn is_partial(name: &[u8]) -> bool {
    let digits = |part: &[u8]| part.len() == DIGITS && part.iter().all(u8::is_ascii_hexdigit);
    let Some((of, random)) =
        name.strip_prefix(PREFIX).and_then(|rest| rest.split_at_checked(DIGITS))
    else {
        return false;
    };
    digits(of) && random.strip_prefix(b"-").is_some_and(digits)
}

/// Returns what the names of all partial files of a file begin with.
pub(crate) fn partial_prefix(name: &[u8]) -> Vec<u8> {
    let digest = blake3::hash(name).to_hex();
    let mut prefix = PREFIX.to_vec();
    prefix.extend(digest.bytes().take(DIGITS));
    prefix.push(b'-');
    prefix
}

/// Returns a new name for a partial file of a file, which nobody can guess.
///
/// # Errors
/// The system has no random numbers.
pub(crate) fn new_partial(name: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::new(FailureKind::Io, format!("no random name: {error}")))?;
    let mut partial = partial_prefix(name);
    partial.extend(format!("{:016x}", u64::from_be_bytes(random)).bytes());
    Ok(partial)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0b", b"../x"] {
            let failure = check(name).expect_err("refused");
            assert_eq!(failure.kind, FailureKind::UnsafePath, "{name:?}");
        }
        assert_eq!(check(&[b'x'; 256]).expect_err("refused").kind, FailureKind::TooBig);
        for name in [&b"a"[..], b"...", b"-rf", b"a\nb", b"\xff\xfe", &[b'x'; 255]] {
            assert_eq!(check(name), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn partial_names_have_one_length_and_are_known_again() {
        for name in [&b"a"[..], &[b'x'; 255], b"\xff"] {
            let partial = new_partial(name).expect("random numbers");
            assert_eq!(partial.len(), 44);
            assert!(is_partial(&partial) && partial.starts_with(&partial_prefix(name)));
            assert_ne!(partial, new_partial(name).expect("random numbers"));
            assert!(check(&partial).is_err());
        }
        assert!(!is_partial(b".rcmd-part-0123456789abcdef-0123456789abcdeg"));
        assert!(!is_partial(b".rcmd-part-0123456789abcdef-0123456789abcde"));
        assert!(!is_partial(b".rcmd-part-"));
    }
}
