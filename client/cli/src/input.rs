//! Standard input, read by a thread that may block for ever: the client ends without it.

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

/// Bytes read at a time, which is what one frame carries.
const BLOCK: usize = 64 * 1024;
/// What is shorter is copied, so that a block is not kept for a typed line until it is confirmed.
const SMALL: usize = 4 * 1024;
/// Blocks that may wait for the connection.
const WAITING: usize = 2;

/// Returns whether standard input is /dev/null (null(4): device 1, 3), as of a service: the command
/// then gets its own, and nothing is read or sent.
pub(crate) fn is_nothing() -> bool {
    fstat(stdin()).is_ok_and(|found| {
        FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice
            && (major(found.st_rdev), minor(found.st_rdev)) == (1, 3)
    })
}

/// Sends standard input to the command until it ends here, or is closed there. The caller then says
/// [`ChildStdin::finish`]: an error must not become an end of file.
///
/// # Errors
/// When it can't be read.
pub(crate) async fn forward(command: &mut ChildStdin) -> io::Result<()> {
    let mut read = blocks()?;
    while let Some(block) = read.recv().await {
        if command.send(block?).await.is_err() {
            // The command reads no more; how it ends says the rest.
            break;
        }
    }
    Ok(())
}

/// What standard input holds, in blocks as they are read, until it ends or with its first error.
///
/// # Errors
/// When no thread is to be had.
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
            // A terminal that has hung up is an end. To a process in the background, where SIGTTIN is
            // ignored, it says the same until it comes to the front (read(2)).
            Err(Errno::IO) if is_terminal => match terminal::is_in_background(stdin()) {
                true => continue,
                false => return,
            },
            // Whoever shares the descriptor made it non-blocking.
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

/// Blocks that were given away, in the order in which they come back: the kernel need not clear new
/// memory for each. Never more than were on their way at one time.
#[derive(Default)]
struct Spare {
    given: VecDeque<Bytes>,
}

impl Spare {
    /// Hands a filled block out, and leaves an empty one in its place.
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
