//! The socket between the server and the process of a transfer.
//!
//! The server writes the order: four bytes of length, and JSON. Then the process writes messages:
//! one byte of kind, four bytes of length, and the content; the server answers each question with
//! one byte. The process asks its next question when it has the answer. It runs as the account, and
//! may send anything: nothing is kept for a length that is past its limit.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream as StdUnixStream,
};

use rcmd_transfer::{Confinement, Counts};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

/// The maximum size of an order in bytes: its names are no more than a request's, and each of their
/// bytes takes at most four.
const ORDER: usize = 5 << 20;
/// The maximum length of the path of a folder, in bytes.
pub(crate) const PATH: usize = 64 * 1024;
/// The maximum size of an account in bytes.
const ACCOUNT: usize = 4096;
/// The kind of a question whether a folder may be entered; the content is its path.
const ENTER: u8 = 1;
/// The kind of the account of the transfer; the content is JSON.
const TOTALS: u8 = 2;
/// The kind of a question whether a file may be read; the content is [`SIZE`] bytes of its size, and
/// its path.
const READ: u8 = 3;
/// The kind of what the process says of its confinement; the content is one byte, 0 to 2.
const CONFINED: u8 = 4;
/// The number of bytes of a file's size.
const SIZE: usize = 8;

/// A message of the process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    /// It asks whether the folder at this path may be entered.
    Enter(Vec<u8>),
    /// It asks whether the file at this path may be read, up to this size in bytes.
    Read(Vec<u8>, u64),
    /// It says how far it is confined.
    Confined(Confinement),
    /// It gives the account of the transfer.
    Totals(Totals),
}

/// The account of a transfer, as its process gives it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Totals {
    /// Files whose content was transferred.
    pub files: u64,
    /// The sizes of these files together, in bytes.
    pub bytes: u64,
    /// Folders and links that were made.
    pub made: u64,
    /// Entries whose permission bits or times alone were set.
    pub adjusted: u64,
    /// Entries that were there as they are.
    pub unchanged: u64,
    /// Files that were newer at the destination.
    pub skipped: u64,
    /// Files that went away before they were read.
    pub vanished: u64,
    /// Entries that were deleted.
    pub deleted: u64,
    /// Entries that failed.
    pub failed: u64,
    /// The digest of the transfer, on which both ends agreed: 64 hexadecimal digits. `None` if the
    /// transfer broke off.
    pub digest: Option<Digits>,
}

/// A digest of 32 bytes as 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Digits(String);

impl Digits {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Digits {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        match text.len() == 64 && text.bytes().all(is_digit) {
            true => Ok(Self(text)),
            false => Err("a digest is not 64 hexadecimal digits"),
        }
    }
}

impl Totals {
    /// Returns the account with these counts, and with the digest of a transfer that was completed.
    pub(super) fn of(counts: &Counts, digest: Option<[u8; 32]>) -> Self {
        Self {
            files: counts.sent,
            bytes: counts.bytes,
            made: counts.made,
            adjusted: counts.adjusted,
            unchanged: counts.unchanged,
            skipped: counts.skipped,
            vanished: counts.vanished,
            deleted: counts.deleted,
            failed: counts.failed,
            digest: digest.map(|digest| Digits(hex::encode(digest))),
        }
    }
}

/// Writes the order, on the server's side.
///
/// # Errors
/// If the process does not take it.
pub(crate) async fn write_order(stream: &mut UnixStream, order: &[u8]) -> io::Result<()> {
    let length = length(order.len(), ORDER)?;
    stream.write_all(&length).await?;
    stream.write_all(order).await
}

/// Reads the next message, on the server's side. Returns `None` at the end.
///
/// # Errors
/// If it is none.
///
/// # Cancel safety
/// Not cancel safe: what was read of a message is lost.
pub(crate) async fn read(stream: &mut UnixStream) -> io::Result<Option<Told>> {
    let mut head = [0; 5];
    match stream.read_exact(&mut head).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    };
    let [kind, length @ ..] = head;
    let most = match kind {
        ENTER => PATH,
        TOTALS => ACCOUNT,
        READ => SIZE + PATH,
        CONFINED => 1,
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    let length = u32::from_le_bytes(length) as usize;
    if length > most {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut content = vec![0; length];
    stream.read_exact(&mut content).await?;
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    Ok(Some(match kind {
        ENTER => Told::Enter(content),
        READ => {
            let (size, path) = content.split_first_chunk::<SIZE>().ok_or_else(invalid)?;
            Told::Read(path.to_vec(), u64::from_le_bytes(*size))
        }
        CONFINED => Told::Confined(match content.as_slice() {
            [0] => Confinement::NoNewPrivileges,
            [1] => Confinement::Partial,
            [2] => Confinement::Full,
            _ => return Err(invalid()),
        }),
        _ => Told::Totals(serde_json::from_slice(&content)?),
    }))
}

/// Answers a question, on the server's side.
///
/// # Errors
/// If the process does not take the answer.
pub(crate) async fn answer(stream: &mut UnixStream, may: bool) -> io::Result<()> {
    stream.write_all(&[u8::from(may)]).await
}

/// Reads the order, on the process's side.
///
/// # Errors
/// If there is none.
pub(super) fn read_order(stream: &mut StdUnixStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > ORDER {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut order = vec![0; length];
    stream.read_exact(&mut order)?;
    Ok(order)
}

/// Asks whether a folder may be entered, on the process's side.
///
/// # Errors
/// If the path is too long, or the server does not answer.
pub(super) fn may_enter(stream: &mut StdUnixStream, path: &[u8]) -> io::Result<bool> {
    tell(stream, ENTER, path, PATH)?;
    is_permitted(stream)
}

/// Asks whether a file that is open may be read up to its size in bytes, on the process's side.
///
/// # Errors
/// If the path is too long, or the server does not answer.
pub(super) fn may_read(stream: &mut StdUnixStream, path: &[u8], size: u64) -> io::Result<bool> {
    tell(stream, READ, &[&size.to_le_bytes()[..], path].concat(), SIZE + PATH)?;
    is_permitted(stream)
}

fn is_permitted(stream: &mut StdUnixStream) -> io::Result<bool> {
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    Ok(answer == [1])
}

/// Sends how far the process is confined, on the process's side.
///
/// # Errors
/// If the server does not take it.
pub(super) fn tell_confinement(
    stream: &mut StdUnixStream,
    confinement: Confinement,
) -> io::Result<()> {
    let said = match confinement {
        Confinement::NoNewPrivileges => 0,
        Confinement::Partial => 1,
        Confinement::Full => 2,
    };
    tell(stream, CONFINED, &[said], 1)
}

/// Sends the account of the transfer, on the process's side.
///
/// # Errors
/// If the server does not take it.
pub(super) fn tell_totals(stream: &mut StdUnixStream, totals: &Totals) -> io::Result<()> {
    tell(stream, TOTALS, &serde_json::to_vec(totals)?, ACCOUNT)
}

fn tell(stream: &mut StdUnixStream, kind: u8, content: &[u8], most: usize) -> io::Result<()> {
    let length = length(content.len(), most)?;
    stream.write_all(&[&[kind][..], &length, content].concat())
}

fn length(length: usize, most: usize) -> io::Result<[u8; 4]> {
    let length = u32::try_from(length).ok().filter(|_| length <= most);
    length.map(u32::to_le_bytes).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn pair() -> (UnixStream, StdUnixStream) {
        let (ours, theirs) = StdUnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (UnixStream::from_std(ours).unwrap(), theirs)
    }

    #[tokio::test]
    async fn order_questions_and_account_arrive() {
        let (mut ours, mut theirs) = pair();
        let totals = Totals::of(&Counts { sent: 3, ..Counts::default() }, Some([0xab; 32]));
        let said = totals.clone();
        let process = thread::spawn(move || {
            let order = read_order(&mut theirs).unwrap();
            tell_confinement(&mut theirs, Confinement::Partial).unwrap();
            assert!(may_enter(&mut theirs, b"/a\xff").unwrap());
            assert!(!may_enter(&mut theirs, b"/b").unwrap());
            assert!(may_read(&mut theirs, b"/c", u64::MAX - 1).unwrap());
            assert!(may_enter(&mut theirs, &vec![b'x'; PATH + 1]).is_err());
            tell_totals(&mut theirs, &said).unwrap();
            order
        });
        // More than a socket can buffer.
        let order = vec![b'o'; 1 << 20];
        write_order(&mut ours, &order).await.unwrap();
        let said = Told::Confined(Confinement::Partial);
        assert_eq!(read(&mut ours).await.unwrap(), Some(said));
        assert_eq!(read(&mut ours).await.unwrap(), Some(Told::Enter(b"/a\xff".to_vec())));
        answer(&mut ours, true).await.unwrap();
        assert_eq!(read(&mut ours).await.unwrap(), Some(Told::Enter(b"/b".to_vec())));
        answer(&mut ours, false).await.unwrap();
        let asked = Told::Read(b"/c".to_vec(), u64::MAX - 1);
        assert_eq!(read(&mut ours).await.unwrap(), Some(asked));
        answer(&mut ours, true).await.unwrap();
        assert_eq!(read(&mut ours).await.unwrap(), Some(Told::Totals(totals)));
        assert_eq!(read(&mut ours).await.unwrap(), None);
        assert_eq!(process.join().unwrap(), order);
    }

    #[tokio::test]
    async fn what_a_process_may_not_say_ends_the_conversation() {
        let long = u32::try_from(PATH + 1).unwrap().to_le_bytes();
        let digest = br#"{"files":0,"bytes":0,"made":0,"adjusted":0,"unchanged":0,"skipped":0,"vanished":0,"deleted":0,"failed":0,"digest":"\u001b[2J"}"#;
        let number = u32::try_from(digest.len()).unwrap().to_le_bytes();
        for said in [
            [&[5][..], &[0; 4]].concat(),
            [&[READ][..], &[7, 0, 0, 0], &[0; 7]].concat(),
            [&[READ][..], &[9, 0, 1, 0]].concat(),
            [&[CONFINED][..], &[1, 0, 0, 0, 3]].concat(),
            [&[CONFINED][..], &[0; 4]].concat(),
            [&[ENTER][..], &long].concat(),
            [&[ENTER][..], &[255; 4]].concat(),
            [&[TOTALS][..], &[2, 0, 0, 0], b"{}"].concat(),
            [&[TOTALS][..], &number, digest].concat(),
            [&[ENTER][..], &[2, 0, 0, 0], b"/"].concat(),
        ] {
            let (mut ours, mut theirs) = pair();
            theirs.write_all(&said).unwrap();
            drop(theirs);
            assert!(read(&mut ours).await.is_err(), "{said:?}");
        }
    }
}
