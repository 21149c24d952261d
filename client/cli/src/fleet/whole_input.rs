//! Standard input of the run, read once as a whole and then sent to each host.

use std::fs::File;
use std::io::{self, Read as _, Write as _};

use rcmd_client::{ErrorKind, WireError};

/// Bytes read at a time.
const BLOCK: usize = 64 * 1024;

/// Reads standard input to its end into a file without a name, which is gone with this process.
///
/// # Errors
/// A failure when standard input has more than `most` bytes or can't be read, or there is no room for it.
/// Nothing has run.
pub(super) fn read(most: u64) -> Result<File, WireError> {
    copy(&mut io::stdin().lock(), most)
}

fn copy(from: &mut impl io::Read, most: u64) -> Result<File, WireError> {
    let failed = |what: &str, error: &io::Error| {
        WireError::new(ErrorKind::LocalIo, format!("{what}: {error}"))
            .hint("Nothing ran. Standard input is kept in a file under $TMPDIR, else /tmp.")
    };
    let mut file = tempfile::tempfile().map_err(|error| failed("no file for -i", &error))?;
    let mut block = vec![0; BLOCK];
    let mut from = from.take(most.saturating_add(1));
    let mut total = 0;
    loop {
        let count = match from.read(&mut block) {
            Ok(0) => return Ok(file),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed("cannot read standard input", &error)),
        };
        total += count as u64;
        if total > most {
            let message = format!("standard input has more than {most} bytes");
            return Err(WireError::new(ErrorKind::Usage, message)
                .hint("Nothing ran; take more with --max-input BYTES."));
        }
        let bytes = block.get(..count).unwrap_or_default();
        file.write_all(bytes).map_err(|error| failed("cannot keep standard input", &error))?;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn all_of_it_is_kept_up_to_the_limit_and_more_is_refused() {
        let file = copy(&mut &b"abc"[..], 3).unwrap();
        let mut kept = [0; 4];
        assert_eq!(file.read_at(&mut kept, 0).unwrap(), 3);
        assert_eq!(&kept[..3], b"abc");
        let refused = copy(&mut &b"abcd"[..], 3).unwrap_err();
        assert!(refused.message.contains("more than 3 bytes"), "{refused}");
        assert!(refused.hint.unwrap().contains("--max-input"));
    }
}
