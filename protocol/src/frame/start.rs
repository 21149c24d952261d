//! Starts: a request with the options of its execution, before and after it has a channel.

use bytes::Bytes;

use super::{
    capability,
    describe::fields,
    field::{Channel, ListOrEmpty, Optional, OptionalPart, OrDefault, Part, Payload, Required},
};
use crate::{
    error::ProtocolError,
    ids::{Key, RequestDigest},
    limits,
    request::{Lock, Mode, Request, RequestError, within},
};

fields! {
    /// A start on its channel: to run a command, or to ask whether it would be permitted.
    #[derive(Clone, PartialEq, Debug)]
    pub struct Start {
        /// The channel, new on this connection.
        pub ch: u32 as Channel,
        /// The key of this start.
        pub key: Key as Required,
        /// The generation of the client's connection, higher for each later one.
        pub generation: u64 as Required,
        /// The request, and the options of its execution.
        pub body: StartBody as Part,
    }
}

fields! {
    /// A start without its channel: the request in its form on the wire, and the options of its execution.
    ///
    /// [`StartBody::new`] makes one from a request, and [`StartBody::request`] reads the request back. One that
    /// came from a peer need not hold a valid request.
    #[derive(Clone, PartialEq, Debug)]
    pub struct StartBody {
        digest: RequestDigest as Required,
        mode: Mode as Required,
        argc: u64 as Required,
        envc: u64 as OrDefault,
        cwd: bool as OrDefault,
        user: bool as OrDefault,
        stdin: bool as OrDefault,
        timeout_ms: u64 as OrDefault,
        lock: Option<Lock> as OptionalPart,
        grace_ms: Option<u64> as Optional,
        digests: Vec<String> as ListOrEmpty<{ limits::DIGESTS }>,
        keep: bool as OrDefault,
        timestamps: bool as OrDefault,
        credit: Option<u64> as Optional,
        payload: Bytes as Payload,
    }
}

impl StartBody {
    /// Returns the start of this request: with the server's grace, digests by SHA-256, a key that is
    /// forgotten with the job, and output without times.
    pub fn new(request: &Request) -> Self {
        let payload = request.encode();
        Self {
            digest: request.digest_over(&payload),
            mode: request.mode(),
            argc: request.args().len() as u64,
            envc: request.env().len() as u64,
            cwd: request.cwd().is_some(),
            user: request.user().is_some(),
            stdin: request.stdin(),
            timeout_ms: request.timeout_ms(),
            lock: request.lock().cloned(),
            grace_ms: None,
            digests: Vec::new(),
            keep: false,
            timestamps: false,
            credit: None,
            payload,
        }
    }

    /// Returns this start with another grace in milliseconds; `None` is the server's own.
    #[must_use]
    pub fn with_grace_ms(mut self, grace_ms: Option<u64>) -> Self {
        self.grace_ms = grace_ms;
        self
    }

    /// Returns this start with the names of the digests that the client can check, best first.
    #[must_use]
    pub fn with_digests(mut self, digests: Vec<String>) -> Self {
        self.digests = digests;
        self
    }

    /// Returns this start with `keep` set: true if the key is the caller's own and outlives the job.
    #[must_use]
    pub fn with_keep(mut self, keep: bool) -> Self {
        self.keep = keep;
        self
    }

    /// Returns this start with or without the time at which each piece of output was read.
    #[must_use]
    pub fn with_timestamps(mut self, timestamps: bool) -> Self {
        self.timestamps = timestamps;
        self
    }

    /// Returns this start with the first credit of each output stream, in bytes: at most [`limits::CREDIT`],
    /// which is also what `None` means.
    #[must_use]
    pub fn with_credit(mut self, credit: Option<u64>) -> Self {
        self.credit = credit.map(|credit| credit.min(limits::CREDIT));
        self
    }

    /// Reads and checks the request that this start holds.
    ///
    /// # Errors
    /// [`RequestError::Protocol`] when counts, payload and digest don't agree, [`RequestError::Refused`]
    /// when a limit is passed or the request makes no sense.
    pub fn request(&self) -> Result<Request, RequestError> {
        within("arguments", self.argc, limits::ARGUMENTS as u64)?;
        within("environment settings", self.envc, limits::SETTINGS as u64)?;
        let invalid = |field| ProtocolError::Invalid { frame: "start", field };
        let Some((0, strings)) = self.payload.split_last().map(|(last, rest)| (*last, rest)) else {
            return Err(invalid("payload").into());
        };
        let mut strings = strings.split(|&byte| byte == 0).map(<[u8]>::to_vec);
        let args: Vec<_> = strings.by_ref().take(self.argc as usize).collect();
        let env: Vec<_> = strings.by_ref().take(self.envc as usize).collect();
        let cwd = if self.cwd { strings.next() } else { None };
        let user = if self.user { strings.next() } else { None };
        let is_whole = args.len() as u64 == self.argc
            && env.len() as u64 == self.envc
            && cwd.is_some() == self.cwd
            && user.is_some() == self.user
            && strings.next().is_none();
        if !is_whole {
            return Err(invalid("payload").into());
        }
        let mut builder = Request::builder(self.mode, args);
        builder.envs(env).stdin(self.stdin).timeout_ms(self.timeout_ms);
        cwd.into_iter().for_each(|cwd| _ = builder.cwd(cwd));
        user.into_iter().for_each(|user| _ = builder.user(user));
        self.lock.iter().for_each(|lock| _ = builder.lock(lock.clone()));
        if builder.digest_over(&self.payload) != self.digest {
            return Err(invalid("digest").into());
        }
        Ok(builder.into_request()?)
    }

    /// Returns the capabilities, beyond `exec`, that this start needs: a server without them would ignore the
    /// fields that they are for, or end the connection for a mode that it does not know.
    pub fn needs(&self) -> impl Iterator<Item = &'static str> + use<> {
        let lock = self.lock.is_some().then_some(capability::LOCK);
        let transfer = (self.mode == Mode::Transfer).then_some(capability::TRANSFER);
        lock.into_iter().chain(transfer)
    }

    /// Returns the request digest as the client computed it.
    pub fn digest(&self) -> RequestDigest {
        self.digest
    }

    /// Returns whether standard input will be sent; otherwise it is empty.
    pub fn stdin(&self) -> bool {
        self.stdin
    }

    /// Returns the milliseconds after which the server ends the command; 0 for never.
    pub fn timeout_ms(&self) -> u64 {
        self.timeout_ms
    }

    /// Returns the lock that the command must hold while it runs.
    pub fn lock(&self) -> Option<&Lock> {
        self.lock.as_ref()
    }

    /// Returns the grace in milliseconds, if the start asks for less than the server's.
    pub fn grace_ms(&self) -> Option<u64> {
        self.grace_ms
    }

    /// Returns the names of the digests that the client can check, best first.
    pub fn digests(&self) -> &[String] {
        &self.digests
    }

    /// Returns whether the key is the caller's own and outlives the job.
    pub fn keep(&self) -> bool {
        self.keep
    }

    /// Returns whether each piece of output must carry the time at which it was read.
    pub fn timestamps(&self) -> bool {
        self.timestamps
    }

    /// Returns the bytes that the sender of each output stream may be ahead of its consumer.
    pub fn credit(&self) -> u64 {
        self.credit.map_or(limits::CREDIT, |credit| credit.min(limits::CREDIT))
    }

    /// Returns the request's strings, each followed by a NUL.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{outcome::ErrorKind, request::TransferVerb};

    fn request() -> Request {
        let mut builder = Request::exec([&b"printf"[..], b"", b"\xff\n $'\""]);
        builder.env("A=").env("B=x=y").cwd("/tmp").user("app").stdin(true).timeout_ms(1500);
        builder.build().unwrap()
    }

    #[test]
    fn a_request_reads_back_byte_for_byte() {
        assert_eq!(StartBody::new(&request()).request().unwrap(), request());
    }

    #[test]
    fn a_credit_is_at_most_what_every_stream_has() {
        let start = StartBody::new(&request());
        assert_eq!(start.credit(), limits::CREDIT);
        // A peer may send more than `with_credit` lets through.
        for (sent, credit) in [(0, 0), (4096, 4096), (limits::INTEGER, limits::CREDIT)] {
            let start = StartBody { credit: Some(sent), ..start.clone() };
            assert_eq!(start.credit(), credit);
        }
    }

    #[test]
    fn counts_that_do_not_fit_the_payload_are_faults() {
        let good = StartBody::new(&request());
        let bad = [
            StartBody { argc: 2, ..good.clone() },
            StartBody { argc: 4, ..good.clone() },
            StartBody { envc: 1, ..good.clone() },
            StartBody { cwd: false, ..good.clone() },
            StartBody { user: false, ..good.clone() },
            StartBody { payload: Bytes::new(), ..good.clone() },
            StartBody { payload: good.payload.slice(..good.payload.len() - 1), ..good },
        ];
        for start in bad {
            assert!(matches!(start.request(), Err(RequestError::Protocol(_))));
        }
    }

    #[test]
    fn a_start_needs_the_capabilities_that_it_makes_use_of() {
        let needs = |start: &StartBody| start.needs().collect::<Vec<_>>();
        let verb = TransferVerb::Send { is_literal: true };
        let mut transfer = Request::transfer(verb, [&b"a\xff"[..]]);
        transfer.stdin(true).user("app");
        let start = StartBody::new(&transfer.build().unwrap());
        assert_eq!(start.request().unwrap(), transfer.build().unwrap());
        assert!(needs(&StartBody::new(&request())).is_empty());
        assert_eq!(needs(&start), [capability::TRANSFER]);
        transfer.lock(Lock { name: "a".to_owned(), wait_ms: 0 });
        let start = StartBody::new(&transfer.build().unwrap());
        assert_eq!(needs(&start), [capability::LOCK, capability::TRANSFER]);
        let hostile = Request::builder(Mode::Transfer, ["send", "--delta", "--", "x"]);
        let refused = StartBody::new(&hostile.unchecked()).request();
        assert!(
            matches!(refused, Err(RequestError::Refused(failure)) if failure.kind == ErrorKind::Usage)
        );
    }

    #[test]
    fn limits_are_refused_by_their_name() {
        // A peer's start with a digest that fits, such as no builder makes.
        let refused =
            |builder: &crate::request::RequestBuilder| match StartBody::new(&builder.unchecked())
                .request()
            {
                Err(RequestError::Refused(failure)) => failure.kind,
                other => panic!("{other:?}"),
            };
        let args = |args: Vec<Vec<u8>>| Request::exec(args);
        assert_eq!(refused(&args(vec![b"x".to_vec(); limits::ARGUMENTS + 1])), ErrorKind::TooBig);
        assert_eq!(refused(&args(vec![vec![b'x'; limits::STRING]])), ErrorKind::TooBig);
        assert_eq!(refused(&args(vec![vec![b'x'; 100_000]; 11])), ErrorKind::TooBig);
        assert_eq!(refused(&args(vec![b"".to_vec()])), ErrorKind::Usage);
        assert_eq!(refused(Request::exec(["x"]).env("=x")), ErrorKind::Usage);
        let largest = args(vec![vec![b'x'; limits::STRING - 1]]).build().unwrap();
        assert!(StartBody::new(&largest).request().is_ok());
    }
}
