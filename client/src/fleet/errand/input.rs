//! The same standard input for each target.

use std::{fs::File, io, os::unix::fs::FileExt as _, sync::Arc};

use bytes::Bytes;
use rcmd_protocol::{
    limits::CHUNK,
    outcome::{ErrorKind, WireError},
};

use crate::stdin::ChildStdin;

/// Sends the whole of a file to a command, whose input ends behind it. A command that reads no more is
/// no failure.
///
/// Returns why the file can't be read, with the input, which has not ended: the command is to be killed
/// before it is, so that no part is taken for the whole.
pub(super) async fn send(
    file: Option<Arc<File>>,
    stdin: Option<ChildStdin>,
) -> Option<(ChildStdin, WireError)> {
    let (file, mut stdin) = (file?, stdin?);
    let mut offset = 0;
    loop {
        let mut block = vec![0; CHUNK];
        let count = match file.read_at(&mut block, offset) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let message = format!("the input can't be read: {error}");
                return Some((stdin, WireError::new(ErrorKind::LocalIo, message)));
            }
        };
        if count == 0 {
            stdin.finish().await;
            return None;
        }
        block.truncate(count);
        offset += count as u64;
        if stdin.send(Bytes::from(block)).await.is_err() {
            return None;
        }
    }
}
