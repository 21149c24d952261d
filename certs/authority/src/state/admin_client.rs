//! Administrative requests from commands: to the state itself, or through the socket of the
//! `rcmd-certs serve` that has it open.

use std::{io, os::fd::AsRawFd as _, path::PathBuf, time::Duration};

use rcmd_certs::{clock, enroll::message, files::shown, paths::Layout};
use rustix::fs::{Mode, OFlags};
use tokio::{
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

/// The longest response, in bytes of JSON: a hundred thousand members.
const MAX_ADMIN_RESPONSE: u32 = 64 * 1024 * 1024;

/// How long another process may have the store before this one gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a running `serve` may take for a request.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// The way to the authority's state.
#[derive(Debug)]
pub enum AdminClient {
    /// This process has it open.
    Local(Box<AuthorityState>),
    /// A running `serve` has it.
    Remote(UnixStream),
}

impl AdminClient {
    /// Opens the state, or connects to the process that has it open: also for root, who leaves files of
    /// another user's authority alone.
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
    /// [`StateError`]; if a running `serve` did not answer, it may have been carried out.
    pub async fn request(&mut self, request: AdminRequest) -> Result<AdminResponse, StateError> {
        let response = match self {
            Self::Local(state) => return state.execute(request, clock::now_unix()),
            Self::Remote(stream) => timeout(ANSWER_TIME, ask(stream, &request)).await,
        };
        match response {
            Ok(Ok(Some(AdminResponse::Failed(message)))) => Err(StateError::Remote(message)),
            Ok(Ok(Some(response))) => Ok(response),
            Ok(Ok(None)) => Err(lost("it closed the connection")),
            Ok(Err(error)) => Err(lost(&error.to_string())),
            Err(_) => Err(lost("it took too long")),
        }
    }
}

async fn ask(stream: &mut UnixStream, request: &AdminRequest) -> io::Result<Option<AdminResponse>> {
    message::write(stream, request, MAX_ADMIN_REQUEST).await?;
    message::read(stream, MAX_ADMIN_RESPONSE).await
}

fn lost(why: &str) -> StateError {
    StateError::Remote(format!(
        "the running `rcmd-certs serve` did not answer ({why}); \
         see `rcmd-certs list` for whether it was done"
    ))
}

async fn connect(layout: &Layout) -> io::Result<UnixStream> {
    with_socket(layout, async |path| UnixStream::connect(path).await).await
}

/// Calls `work` with a path of the socket that is short whatever the folder is called: a socket's
/// path has at most 107 bytes (unix(7)).
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

/// Writes a response, as the process does that has the state open.
pub(crate) async fn respond(stream: &mut UnixStream, response: &AdminResponse) -> io::Result<()> {
    message::write(stream, response, MAX_ADMIN_RESPONSE).await
}
