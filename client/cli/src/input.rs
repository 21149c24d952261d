//! Standard input, read by a thread that may block for ever. The client does not wait for it when it ends.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::thread;

use bytes::Bytes;
use rcmd_client::ChildStdin;
use rustix::buffer::spare_capacity;
use rustix::fs::{FileType, fstat, major, minor};
use rustix::io::Errno;
use rustix::stdio::stdin;
use tokio::sync::mpsc;

use crate::terminal;

/// The number of bytes read at a time: the content of one frame.
const BLOCK: usize = 64 * 1024;
/// Reads shorter than this are copied, so that a typed line does not hold a whole block until it is confirmed.
const SMALL: usize = 4 * 1024;
/// The maximum number of blocks that wait for the connection.
const WAITING: usize = 2;

/// Returns whether standard input is /dev/null (null(4): device 1, 3), as in a service. Then nothing is read or
/// sent, and the command gets /dev/null of its host.
pub(crate) fn is_nothing() -> bool {
    fstat(stdin()).is_ok_and(|found| {
        FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice
            && (major(found.st_rdev), minor(found.st_rdev)) == (1, 3)
    })
}

/// Sends standard input to the command until it ends here, or the command closes it. The caller then calls
/// [`ChildStdin::finish`], but not after an error, which must not become an end of file.
///
/// # Errors
/// If standard input can't be read.
pub(crate) async fn forward(command: &mut ChildStdin) -> io::Result<()> {
    let mut read = blocks()?;
    while let Some(block) = read.recv().await {
        if command.send(block?).await.is_err() {
            // The command has closed its standard input.
            break;
        }
    }
    Ok(())
}

/// Returns a receiver of the blocks of standard input, up to its end or its first error.
///
/// # Errors
/// If no thread can be started.
pub(crate) fn blocks() -> io::Result<mpsc::Receiver<io::Result<Bytes>>> {
    let (blocks, read) = mpsc::channel(WAITING);
    thread::Builder::new().name("stdin".to_owned()).spawn(move || read_all(&blocks))?;
    Ok(read)
}

fn read_all(blocks: &mpsc::Sender<io::Result<Bytes>>) {
    let mut spare = Spare::default();
    let mut block = Vec::new();
    let is_terminal = terminal::is_terminal(stdin());
    loop {
        block.reserve(BLOCK);
        if is_terminal {
            terminal::wait_for_input(stdin());
        }
        let read = match rustix::io::read(stdin(), spare_capacity(&mut block)) {
            Ok(0) => return,
            Ok(count) if count < SMALL => {
                let bytes = Bytes::copy_from_slice(&block);
                block.clear();
                Ok(bytes)
            }
            Ok(_) => Ok(spare.swap(&mut block)),
            Err(Errno::INTR) => continue,
            // A terminal that has hung up is an end. A process in the background that ignores SIGTTIN gets
            // the same error, until it is in the foreground (read(2)).
            Err(Errno::IO) if is_terminal => match terminal::is_in_background(stdin()) {
                true => continue,
                false => return,
            },
            // Another process that shares the descriptor made it non-blocking.
            Err(Errno::AGAIN) => match wait() {
                Ok(()) => continue,
                Err(error) => Err(error),
            },
            Err(error) => Err(error.into()),
        };
        let failed = read.is_err();
        if blocks.blocking_send(read).is_err() || failed {
            return;
        }
    }
}

/// Blocks that were handed out, in the order in which they return. They are used again, so that the kernel need
/// not clear new memory for each. There are never more than were on their way at one time.
#[derive(Default)]
struct Spare {
    given: VecDeque<Bytes>,
}

impl Spare {
    /// Hands out a filled block, and leaves an empty one in its place.
    fn swap(&mut self, block: &mut Vec<u8>) -> Bytes {
        let bytes = Bytes::from(mem::take(block));
        self.given.push_back(bytes.clone());
        if self.given.front().is_some_and(Bytes::is_unique)
            && let Some(free) = self.given.pop_front()
        {
            *block = free.into();
            block.clear();
        }
        bytes
    }
}

fn wait() -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    match poll(&mut [PollFd::new(&stdin(), PollFlags::IN)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_used_again_once_nobody_holds_it() {
        let (mut spare, mut block) = (Spare::default(), vec![1; BLOCK]);
        let first = spare.swap(&mut block);
        assert_eq!(block.capacity(), 0);
        block = vec![2; BLOCK];
        let second = spare.swap(&mut block);
        assert_eq!(block.capacity(), 0, "both are held");
        block = vec![3; SMALL];
        let place = first.as_ptr();
        drop(first);
        let third = spare.swap(&mut block);
        assert_eq!((block.as_ptr(), block.len()), (place, 0));
        assert!(block.capacity() >= BLOCK);
        assert_eq!((second[0], third[0]), (2, 3));
    }
}
