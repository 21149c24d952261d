//! The messages between the server and a helper: a length, a text, and at most [`PASSED`]
//! descriptors beside them.

use std::{
    io::{self, IoSlice, IoSliceMut, Read, Write as _},
    mem::MaybeUninit,
    os::unix::net::UnixStream,
};

use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncWriteExt as _, Interest};

use crate::process::plan::Handed;

/// The maximum size of a text in bytes. A name and a PATH are no longer than an argument may be, all
/// paths of a transfer together no longer than a request, and each of their bytes takes at most four.
const LARGEST: usize = 5 << 20;
/// The maximum number of descriptors beside a message.
pub(super) const PASSED: usize = Handed::FOLDERS;
/// The number of bytes of the length.
const LENGTH: usize = 4;

fn framed(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let text = serde_json::to_vec(message)?;
    let length = u32::try_from(text.len()).ok().filter(|length| *length as usize <= LARGEST);
    let length = length.ok_or(io::ErrorKind::InvalidInput)?;
    Ok([&length.to_le_bytes()[..], &text].concat())
}

fn length(bytes: [u8; LENGTH]) -> io::Result<usize> {
    let length = u32::from_le_bytes(bytes) as usize;
    if length <= LARGEST { Ok(length) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Sends a message, on the server's side.
pub(super) async fn send(
    stream: &mut tokio::net::UnixStream,
    message: &impl Serialize,
) -> io::Result<()> {
    stream.write_all(&framed(message)?).await
}

/// Receives a message with its descriptors, on the server's side.
pub(super) async fn receive<T: DeserializeOwned>(
    stream: &tokio::net::UnixStream,
) -> io::Result<(T, Vec<OwnedFd>)> {
    let mut header = [0; LENGTH];
    let mut passed = Vec::new();
    fill(stream, &mut header, &mut passed).await?;
    let mut text = vec![0; length(header)?];
    fill(stream, &mut text, &mut passed).await?;
    Ok((serde_json::from_slice(&text)?, passed))
}

async fn fill(
    stream: &tokio::net::UnixStream,
    buffer: &mut [u8],
    passed: &mut Vec<OwnedFd>,
) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        let rest = buffer.get_mut(filled..).unwrap_or_default();
        let read = || take(stream.as_fd(), rest, passed);
        filled += stream.async_io(Interest::READABLE, read).await?;
    }
    Ok(())
}

fn take(stream: BorrowedFd<'_>, buffer: &mut [u8], passed: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PASSED))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let came = recvmsg(stream, &mut [IoSliceMut::new(buffer)], &mut beside, flags)?;
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            passed.extend(descriptors);
        }
    }
    if passed.len() > PASSED {
        return Err(io::ErrorKind::InvalidData.into());
    }
    match came.bytes {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ if came.flags.contains(ReturnFlags::CTRUNC) => Err(io::ErrorKind::InvalidData.into()),
        count => Ok(count),
    }
}

/// Reads a message, on the helper's side. Returns `None` at the end.
pub(super) fn read<T: DeserializeOwned>(stream: &mut UnixStream) -> io::Result<Option<T>> {
    let mut header = [0; LENGTH];
    match stream.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let mut text = vec![0; length(header)?];
    stream.read_exact(&mut text)?;
    Ok(Some(serde_json::from_slice(&text)?))
}

/// Writes a message with its descriptors, on the helper's side.
pub(super) fn write(
    stream: &mut UnixStream,
    message: &impl Serialize,
    passed: &[OwnedFd],
) -> io::Result<()> {
    let bytes = framed(message)?;
    let sent = pass(stream, &bytes, passed)?;
    stream.write_all(bytes.get(sent..).unwrap_or_default())
}

/// Sends bytes with descriptors beside the first of them. Returns how many bytes were sent.
fn pass(stream: &UnixStream, bytes: &[u8], passed: &[OwnedFd]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PASSED))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    let passed: Vec<_> = passed.iter().map(AsFd::as_fd).collect();
    if !passed.is_empty() {
        beside.push(SendAncillaryMessage::ScmRights(&passed));
    }
    Ok(sendmsg(stream, &[IoSlice::new(bytes)], &mut beside, SendFlags::NOSIGNAL)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_arrives_with_its_descriptor() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut ours = tokio::net::UnixStream::from_std(ours).unwrap();
        send(&mut ours, &"what").await.unwrap();
        assert_eq!(read::<String>(&mut theirs).unwrap().unwrap(), "what");
        let file = std::fs::File::open("/").unwrap();
        // More than a socket can buffer.
        let long = "x".repeat(1 << 20);
        let writing = std::thread::spawn(move || {
            write(&mut theirs, &long, &[file.into()]).unwrap();
            write(&mut theirs, &"last", &[]).unwrap();
        });
        let (text, passed) = receive::<String>(&ours).await.unwrap();
        assert_eq!((text.len(), passed.len()), (1 << 20, 1));
        let (text, passed) = receive::<String>(&ours).await.unwrap();
        assert_eq!((text.as_str(), passed.len()), ("last", 0));
        writing.join().unwrap();
        let end = receive::<String>(&ours).await.unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn no_more_descriptors_are_taken_than_a_message_may_have() {
        let many = |count| -> Vec<OwnedFd> {
            (0..count).map(|_| std::fs::File::open("/").unwrap().into()).collect()
        };
        for (first, second, is_taken) in [(PASSED, 0, true), (PASSED, 1, false)] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            let ours = tokio::net::UnixStream::from_std(ours).unwrap();
            // Those of the second message come while the first is read to its end.
            let header = &framed(&"x").unwrap()[..LENGTH];
            pass(&theirs, header, &many(first)).unwrap();
            pass(&theirs, b"\"x\"", &many(second)).unwrap();
            theirs.flush().unwrap();
            let received = receive::<String>(&ours).await;
            assert_eq!(received.is_ok(), is_taken, "{received:?}");
        }
    }

    #[test]
    fn a_length_past_the_limit_is_refused_before_there_is_room_for_it() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(&u32::MAX.to_le_bytes()).unwrap();
        assert_eq!(read::<String>(&mut ours).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
