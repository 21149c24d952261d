//! Administrative requests from commands: to the state itself, or through the socket of the
//! `rcmd-certs serve` that has it open.
#![expect(
    clippy::disallowed_methods,
    reason = "the authority's thread, and programs that serve nobody"
)]

use std::{io, os::fd::AsRawFd as _, path::PathBuf, time::Duration};

use rcmd_certs::{clock, enroll::message, files::shown, paths::Layout};
use rustix::fs::{Mode, OFlags};
use tokio::{
    io::AsyncWrite,
    net::UnixStream,
    time::{Instant, sleep, timeout},
};

use super::{
    admin::{AdminRequest, AdminResponse},
    authority_state::AuthorityState,
    error::StateError,
    store::StoreError,
};

/// The longest request, in bytes of JSON.
pub(crate) const MAX_ADMIN_REQUEST: u32 = 64 * 1024;

/// The longest response, in bytes of JSON: enough for a hundred thousand members.
const MAX_ADMIN_RESPONSE: u32 = 64 * 1024 * 1024;

/// The time for which another process may have the store before this one gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// The time that a running `serve` may take for a request.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// The way to the authority's state.
#[derive(Debug)]
pub enum AdminClient {
    /// This process has it open.
    Local(Box<AuthorityState>),
    /// A running `serve` has it open.
    Remote(UnixStream),
}

impl AdminClient {
    /// Opens the state, or connects to the process that has it open. This also works for root, who leaves the
    /// files of another user's authority alone.
    ///
    /// # Errors
    /// [`StateError`] when neither works.
    pub async fn open(layout: &Layout) -> Result<Self, StateError> {
        let start = Instant::now();
        loop {
            let busy = match AuthorityState::open(layout) {
                Ok(state) => return Ok(Self::Local(Box::new(state))),
                Err(error) => error,
            };
            if let Ok(stream) = connect(layout).await {
                return Ok(Self::Remote(stream));
            }
            // Another command has it for a moment, or `serve` is about to listen.
            let may_pass = matches!(busy, StateError::Store(StoreError::InUse(_)));
            if !may_pass || start.elapsed() > PATIENCE {
                return Err(busy);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Makes a request and waits for the response.
    ///
    /// # Errors
    /// [`StateError`]; if a running `serve` did not answer, it may still have carried out the request.
    ///
    /// # Cancel safety
    /// Not cancel safe: `serve` may still carry out the request, and the next call would read its answer.
    pub async fn request(&mut self, request: AdminRequest) -> Result<AdminResponse, StateError> {
        let response = match self {
            Self::Local(state) => return state.execute(request, clock::now_unix()),
            Self::Remote(stream) => timeout(ANSWER_TIME, ask(stream, &request)).await,
        };
        match response {
            Ok(Ok(Some(AdminResponse::Failed(message)))) => Err(StateError::Remote(message)),
            Ok(Ok(Some(response))) => Ok(response),
            Ok(Ok(None)) => Err(lost("the connection was closed")),
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidInput => {
                Err(StateError::Invalid(error.to_string()))
            }
            Ok(Err(error)) => Err(lost(&error.to_string())),
            Err(_) => Err(lost(&format!("no answer came within {} s", ANSWER_TIME.as_secs()))),
        }
    }
}

async fn ask(stream: &mut UnixStream, request: &AdminRequest) -> io::Result<Option<AdminResponse>> {
    message::write(stream, request, MAX_ADMIN_REQUEST).await.map_err(not_sent)?;
    message::read(stream, MAX_ADMIN_RESPONSE).await
}

/// Returns the error of a request that could not be written; if it is too long, nothing of it was sent.
fn not_sent(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::InvalidData => {
            let why = format!(
                "the request is too long ({error}); name fewer hosts, users, groups or certificates \
                 in one command"
            );
            io::Error::new(io::ErrorKind::InvalidInput, why)
        }
        _ => error,
    }
}

fn lost(why: &str) -> StateError {
    StateError::Remote(format!(
        "the running `rcmd-certs serve` did not answer ({why}); \
         `rcmd-certs list` shows whether the request was carried out"
    ))
}

async fn connect(layout: &Layout) -> io::Result<UnixStream> {
    with_socket(layout, async |path| UnixStream::connect(path).await).await
}

/// Calls `work` with a short path of the socket, however long the folder's name is: a socket's path has at
/// most 107 bytes (unix(7)).
pub(crate) async fn with_socket<T>(
    layout: &Layout,
    work: impl AsyncFnOnce(PathBuf) -> io::Result<T>,
) -> io::Result<T> {
    let folder = layout.authority_dir();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(&folder, flags, Mode::empty()).map_err(|error| {
        io::Error::new(io::Error::from(error).kind(), format!("{}: {error}", shown(&folder)))
    })?;
    work(PathBuf::from(format!("/proc/self/fd/{}/serve.sock", folder.as_raw_fd()))).await
}

/// Writes a response as a running `serve` does. If it is too long, writes the reason why there is none, and whether
/// the request was carried out.
pub(crate) async fn respond(stream: &mut UnixStream, response: &AdminResponse) -> io::Result<()> {
    respond_within(stream, response, MAX_ADMIN_RESPONSE).await
}

async fn respond_within(
    stream: &mut (impl AsyncWrite + Unpin),
    response: &AdminResponse,
    limit: u32,
) -> io::Result<()> {
    match message::write(stream, response, limit).await {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            let done = match response {
                AdminResponse::Failed(_) => "; nothing was changed",
                _ => {
                    ", but the request was carried out; to see the result, stop `rcmd-certs serve` \
                     and run `rcmd-certs list`"
                }
            };
            let why =
                format!("the answer of the running `rcmd-certs serve` is too long ({error}){done}");
            message::write(stream, &AdminResponse::Failed(why), limit).await
        }
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use rcmd_certs::names::Kind;

    use super::{
        super::{
            listing::{Listing, MemberFacts, MemberStanding},
            records::RevocationReason,
            revoke::Revoked,
        },
        *,
    };

    fn member() -> MemberFacts {
        MemberFacts {
            kind: Kind::Client,
            names: vec!["a".repeat(64)],
            groups: vec!["g".repeat(64); 64],
            standing: MemberStanding::Active,
            serial: "f".repeat(40),
            not_after: "2026-11-27T18:00:00Z".into(),
            renewed_at: "2026-11-27T18:00:00Z".into(),
            renew_until: None,
            reason: None,
            key: "f".repeat(64),
        }
    }

    #[tokio::test]
    async fn an_answer_is_whole_or_says_why_there_is_none() {
        let limit = 64 * 1024;
        let listing = |members| {
            let members = vec![member(); members];
            AdminResponse::Listing(Listing { members, tokens: Vec::new(), list: None })
        };
        for (response, is_whole) in [(listing(10), true), (listing(20), false)] {
            let mut wire = Vec::new();
            respond_within(&mut wire, &response, limit).await.unwrap();
            let read = message::read(&mut &wire[..], limit).await.unwrap().unwrap();
            match read {
                AdminResponse::Listing(read) => assert!(is_whole && read.members.len() == 10),
                AdminResponse::Failed(why) => {
                    assert!(!is_whole && why.contains("serve") && why.contains("65536"), "{why}");
                    assert!(why.contains("the request was carried out"), "{why}");
                }
                other => panic!("{other:?}"),
            }
        }
        let mut wire = Vec::new();
        let failed = AdminResponse::Failed("why".repeat(limit as usize));
        respond_within(&mut wire, &failed, limit).await.unwrap();
        let Some(AdminResponse::Failed(why)) = message::read(&mut &wire[..], limit).await.unwrap()
        else {
            panic!("a failure is answered by a failure");
        };
        assert!(why.contains("nothing was changed"), "{why}");
        // Tens of thousands of members with as many groups as allowed, and all certificates of one name.
        let many = serde_json::to_vec(&member()).unwrap().len() * 13_000;
        assert!(many < MAX_ADMIN_RESPONSE as usize);
        let serials = vec!["f".repeat(40); 100_000];
        let revoked = AdminResponse::Revoked(Revoked { serials, ..Revoked::default() });
        respond_within(&mut Vec::new(), &revoked, MAX_ADMIN_RESPONSE).await.unwrap();
    }

    #[tokio::test]
    async fn a_request_that_is_too_long_is_not_sent() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let what = "\u{1}".repeat(MAX_ADMIN_REQUEST as usize / 6);
        let reason = RevocationReason::Unspecified;
        let request = AdminRequest::Revoke { what, reason, unlisted: false };
        // A request that is sent all the same is never answered.
        let asked = timeout(Duration::from_secs(20), ask(&mut ours, &request)).await;
        let error = asked.expect("nothing is sent").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains("fewer"), "{error}");
        drop(ours);
        let read = message::read::<AdminRequest>(&mut { theirs }, MAX_ADMIN_REQUEST).await;
        assert!(read.unwrap().is_none());
    }
}
