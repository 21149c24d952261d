//! Messages, tokens, requests and lists that an authority and its members exchange, under any bytes: nothing
//! panics, no room is made for bytes that were only announced, and accepted input reads back as written.
//!
//! `certs/authority/tests/corpus.rs` does the same with every saved input, without cargo-fuzz.

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rcmd_authority::ca::ProvenKey;
use rcmd_certs::{
    crl::{Crl, CrlSet},
    enroll::{
        message::{self, MAX_REQUEST, MAX_RESPONSE, MemberRequest, MemberResponse, ResponseBody},
        token::{MAX_TOKEN, Token},
    },
    pem,
    x509::Certificate,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, ReadBuf};

/// Reads the first byte as the kind of the rest: messages for the authority, or for a member, after a byte for
/// the size of the pieces in which they come; a token's text, or its content; or DER.
pub fn authority(data: &[u8]) {
    let [which, rest @ ..] = data else { return };
    match (which % 5, rest) {
        (0, [size, rest @ ..]) => messages(rest, *size, MAX_REQUEST, ask),
        (1, [size, rest @ ..]) => messages(rest, *size, MAX_RESPONSE, answer),
        (2, text) => token(&String::from_utf8_lossy(text)),
        (3, json) => {
            let sum = digest(&SHA256, json);
            let bytes = [json, &sum.as_ref()[..4]].concat();
            token(&format!("rcmd1_{}", URL_SAFE_NO_PAD.encode(bytes)));
        }
        (4, bytes) => der(bytes),
        _ => {}
    }
}

/// A stream that returns small pieces, and notes the most room that it was offered.
struct Pieces<'a> {
    rest: &'a [u8],
    size: usize,
    given: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buffer.remaining();
        assert!(room <= 256 + 4 * self.given, "room for {room} bytes after {}", self.given);
        let (piece, rest) = self.rest.split_at(self.size.min(room).min(self.rest.len()));
        buffer.put_slice(piece);
        (self.rest, self.given) = (rest, self.given + piece.len());
        Poll::Ready(Ok(()))
    }
}

/// Reads messages one after the other, as both ends do, and the same messages in one piece.
fn messages<T>(data: &[u8], size: u8, limit: u32, check: fn(&T))
where
    T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug,
{
    let in_pieces = read_all::<T>(data, usize::from(size).max(1), limit);
    assert_eq!(in_pieces, read_all::<T>(data, data.len().max(1), limit));
    for message in &in_pieces {
        let mut bytes = Vec::new();
        // A message that came with fewer escapes than are written may have become too long.
        if now(message::write(&mut bytes, message, limit)).is_ok() {
            assert_eq!(read_all::<T>(&bytes, bytes.len(), limit).first(), Some(message));
        }
        check(message);
    }
}

fn read_all<T: DeserializeOwned>(data: &[u8], size: usize, limit: u32) -> Vec<T> {
    let mut stream = Pieces { rest: data, size, given: 0 };
    let mut messages = Vec::new();
    while let Ok(Some(message)) = now(message::read(&mut stream, limit)) {
        messages.push(message);
    }
    messages
}

/// Returns the result of a future that never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits"),
    }
}

fn ask(ask: &MemberRequest) {
    if let MemberRequest::Enroll { request, .. } = ask {
        let _ = ProvenKey::from_request(&request.0);
    }
}

fn answer(answer: &MemberResponse) {
    match &answer.body {
        ResponseBody::Certificate { chain, roots, .. } => {
            let pem = pem::chain_pem(chain);
            assert_eq!(pem.matches("-----BEGIN CERTIFICATE-----").count(), chain.len());
            chain.iter().chain(roots).for_each(|certificate| der(&certificate.0));
        }
        ResponseBody::Lists { lists, .. } => {
            let lists: Result<Vec<_>, _> =
                lists.iter().map(|list| Crl::from_der(&list.0)).collect();
            let Ok(lists) = lists.and_then(CrlSet::new) else { return };
            assert_eq!(CrlSet::from_pem(lists.pem().as_bytes()).unwrap().all(), lists.all());
        }
        ResponseBody::Unchanged { .. } | ResponseBody::Refused { .. } => {}
    }
}

fn der(bytes: &[u8]) {
    if let Ok(key) = ProvenKey::from_request(bytes) {
        assert_eq!(ProvenKey::from_request(bytes).unwrap().fingerprint(), key.fingerprint());
    }
    let _ = Certificate::parse(bytes);
    let _ = Crl::from_der(bytes);
}

fn token(text: &str) {
    match text.parse::<Token>() {
        Ok(token) => {
            assert!(text.trim().len() <= MAX_TOKEN);
            let written = token.to_string();
            assert!(written.is_ascii() && !written.contains(char::is_whitespace));
            // Unknown fields are left out, so that the written token is no longer than the input.
            assert_eq!(written.parse(), Ok(token));
        }
        Err(error) => assert!(!error.to_string().chars().any(char::is_control)),
    }
}
