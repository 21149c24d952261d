//! The messages between a member and its authority.
//!
//! A message is a 4-byte big-endian length and that many bytes of JSON, inside TLS 1.3 with the ALPN
//! [`AUTHORITY_ALPN`](crate::tls::AUTHORITY_ALPN). Each [`MemberRequest`] gets one [`MemberResponse`],
//! in order. `docs/enrollment.md` specifies it.

use std::{fmt, io};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::{enroll::token::Secret, fingerprint::Fingerprint, pem::Der};

/// The default port of an authority: the one after rcmd's own, 7263.
pub const DEFAULT_PORT: u16 = 7264;

/// The largest request, in bytes of JSON.
pub const MAX_REQUEST: u32 = 16 * 1024;

/// The largest answer, in bytes of JSON: enough for lists of some 50,000 revoked certificates.
pub const MAX_RESPONSE: u32 = 4 * 1024 * 1024;

/// The longest time that an authority keeps a [`MemberRequest::Lists`] open, in seconds: short enough for
/// firewalls that forget silent connections.
pub const MAX_WAIT: u64 = 60;

/// A request of a member. Unknown fields are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum MemberRequest {
    /// A request for a first certificate, with a token.
    Enroll {
        /// The token's secret.
        secret: Secret,
        /// The name to take, if the token leaves a choice.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// A certification request (PKCS #10). Its signature proves the key; nothing else in it is read.
        request: Der,
        /// The member's clock, in Unix time.
        time: i64,
    },
    /// A request for another certificate for the key of this connection's client certificate.
    Renew {
        /// The member's clock, in Unix time.
        time: i64,
    },
    /// A request for the revocation lists, once their number is higher than `newer_than`.
    Lists {
        /// The number that the member has; 0 for none.
        newer_than: u64,
        /// The seconds to wait for them, at most [`MAX_WAIT`].
        #[serde(default)]
        wait: u64,
    },
}

/// The answer of the authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberResponse {
    /// The authority's clock, in Unix time.
    pub time: i64,
    /// The content of the answer.
    #[serde(flatten)]
    pub body: ResponseBody,
}

/// The content of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum ResponseBody {
    /// A certificate.
    Certificate {
        /// The leaf, then its intermediates.
        chain: Vec<Der>,
        /// The roots that members are to trust now.
        roots: Vec<Der>,
        /// The time until which the key may be renewed if it is not renewed before, in Unix time.
        renew_until: i64,
    },
    /// The lists, one for each key that the authority signs with.
    Lists {
        /// The number of the lists.
        number: u64,
        /// The lists (RFC 5280 section 5).
        lists: Vec<Der>,
        /// The roots that members are to trust, by their keys, the one that signs first. A member that knows
        /// other roots renews to learn these.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        roots: Vec<Fingerprint>,
    },
    /// There are no newer lists.
    Unchanged {
        /// The number of the newest lists.
        number: u64,
    },
    /// A refusal, after which nothing has changed.
    Refused {
        /// The reason, for programs.
        reason: RefusalReason,
        /// The reason, for people: one line without control characters.
        message: String,
    },
}

/// The reason why an authority refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalReason {
    /// No such token was ever issued here, or it was forgotten long ago.
    UnknownToken,
    /// The token has no use left.
    UsedToken,
    /// The token's time is over.
    ExpiredToken,
    /// The token was revoked.
    RevokedToken,
    /// The token does not allow that name, or another member has it already.
    Name,
    /// The request is no usable PKCS #10, or its signature is wrong.
    Request,
    /// The two clocks are too far apart.
    Clock,
    /// The connection has no client certificate, or one that this authority never signed.
    Stranger,
    /// The member was revoked.
    Revoked,
    /// The time in which the key could be renewed is over.
    Late,
    /// The authority has too much to do; a later try may succeed.
    Busy,
    /// The authority failed; its log names the fault.
    Internal,
    /// A reason that this version does not know.
    #[serde(other)]
    Other,
}

/// The reason as it is sent.
impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl RefusalReason {
    /// Returns whether the same request may succeed later by itself.
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::Busy | Self::Internal)
    }
}

/// Reads one message of at most `limit` bytes; `None` if the stream ends between messages.
///
/// # Errors
/// `InvalidData` for a message that is too long, empty or not understood; otherwise the error of the
/// stream.
///
/// # Cancel safety
/// Not cancel safe: the part of a message that was read is lost.
pub async fn read<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
    limit: u32,
) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    let mut got = 0;
    while let Some(rest) = length.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match stream.read(rest).await? {
            0 if got == 0 => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => got += count,
        }
    }
    let length = u32::from_be_bytes(length);
    if length == 0 || length > limit {
        return Err(invalid(format!(
            "a message of {length} bytes was received, and 1 to {limit} bytes are allowed"
        )));
    }
    // Room is made for the bytes that have come, not for the length that was announced.
    let mut bytes = Vec::new();
    let got = stream.take(u64::from(length)).read_to_end(&mut bytes).await?;
    if got < usize::try_from(length).unwrap_or(usize::MAX) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    // The place and not the reason: serde quotes the input, which may be a token's secret.
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| invalid(format!("the message is wrong at byte {}", error.column())))
}

/// Writes one message of at most `limit` bytes, and flushes.
///
/// # Errors
/// `InvalidData` when it is longer; otherwise the error of the stream.
///
/// # Cancel safety
/// Not cancel safe: a part of it may have been written.
pub async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &impl Serialize,
    limit: u32,
) -> io::Result<()> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = u32::try_from(bytes.len() - 4).unwrap_or(u32::MAX);
    if length > limit {
        return Err(invalid(format!(
            "the message has {length} bytes, and at most {limit} are allowed"
        )));
    }
    for (to, from) in bytes.iter_mut().zip(length.to_be_bytes()) {
        *to = from;
    }
    stream.write_all(&bytes).await?;
    stream.flush().await
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests;
