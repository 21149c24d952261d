//! Standard input, read by a thread that may block for ever: the client ends without it.

use std::io;
use std::thread;

use bytes::Bytes;
use rcmd_client::ChildStdin;
use rustix::buffer::spare_capacity;
use rustix::fs::{FileType, fstat, major, minor};
use rustix::io::Errno;
use rustix::stdio::stdin;
use tokio::sync::mpsc;

/// Bytes read at a time, which is what one frame carries.
const BLOCK: usize = 64 * 1024;
/// Blocks that may wait for the connection.
const WAITING: usize = 2;

/// Whether standard input is /dev/null (null(4): device 1, 3), as of a service: the command then gets
/// its own, and nothing is read or sent.
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
    loop {
        let mut block = Vec::with_capacity(BLOCK);
        let read = match rustix::io::read(stdin(), spare_capacity(&mut block)) {
            Ok(0) => return,
            Ok(_) => Ok(block.into()),
            Err(Errno::INTR) => continue,
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

fn wait() -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    match poll(&mut [PollFd::new(&stdin(), PollFlags::IN)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
