//! The asking side of the local socket.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rcmd_certs::enroll::message;
use tokio::{net::UnixStream, time::timeout};

use super::{
    ControlRequest, ControlResponse, REQUEST, RESPONSE,
    place::{SOCKET, open_folder, short_path},
};

/// The time for an answer. The server has less for each part.
const PATIENCE: Duration = Duration::from_secs(10);

/// The reason why a running server gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Nobody listens.
    #[error("no server answers at {}; is it running?", .0.display())]
    NotRunning(PathBuf),
    /// This user may not ask.
    #[error("{} is for root and the server's own user; ask as one of them", .0.display())]
    NotPermitted(PathBuf),
    /// Somebody else made the socket.
    #[error(
        "{} belongs to uid {uid}, which is neither root, nor this user, nor the owner of its folder; it \
         was not asked", path.display()
    )]
    Foreign {
        /// The socket.
        path: PathBuf,
        /// Whoever listens there.
        uid: u32,
    },
    /// There was no answer, or one that was not understood.
    #[error("the server at {} did not answer: {why}", path.display())]
    Silent {
        /// The socket.
        path: PathBuf,
        /// What happened instead.
        why: String,
    },
    /// The server refused.
    #[error("{0}")]
    Refused(String),
}

/// Asks the server whose run folder is `run`, and returns its answer.
///
/// # Errors
/// The reason why there is none. The server may have carried out what it did not answer.
pub(crate) async fn ask(run: &Path, request: &ControlRequest) -> Result<ControlResponse, AskError> {
    let path = run.join(SOCKET);
    let silent = |why: String| AskError::Silent { path: path.clone(), why };
    match timeout(PATIENCE, converse(run, &path, request)).await {
        Err(_) => Err(silent(format!("nothing came within {} s", PATIENCE.as_secs()))),
        Ok(Ok(Some(ControlResponse::Refused { message }))) => Err(AskError::Refused(message)),
        Ok(Ok(Some(response))) => Ok(response),
        Ok(Ok(None)) => Err(silent("it closed the connection".to_owned())),
        Ok(Err(Failure::Told(error))) => Err(error),
        Ok(Err(Failure::Io(error))) => Err(match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                AskError::NotRunning(path)
            }
            io::ErrorKind::PermissionDenied => AskError::NotPermitted(path),
            _ => silent(error.to_string()),
        }),
    }
}

enum Failure {
    Told(AskError),
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

async fn converse(
    run: &Path,
    path: &Path,
    request: &ControlRequest,
) -> Result<Option<ControlResponse>, Failure> {
    let folder = open_folder(run)?;
    let mut stream = UnixStream::connect(short_path(&folder, SOCKET)).await?;
    let uid = stream.peer_cred()?.uid();
    let owner = rustix::fs::fstat(&folder).map_err(io::Error::from)?.st_uid;
    if ![0, owner, rustix::process::geteuid().as_raw()].contains(&uid) {
        return Err(Failure::Told(AskError::Foreign { path: path.to_owned(), uid }));
    }
    message::write(&mut stream, request, REQUEST).await?;
    // A server that closes at once has answered, or is stopping.
    Ok(message::read(&mut stream, RESPONSE).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_gives_no_answer_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let (run, path) = (dir.path(), dir.path().join(SOCKET));
        let asked = async || ask(run, &ControlRequest::Snapshot).await.unwrap_err();
        assert!(matches!(asked().await, AskError::NotRunning(_)));
        assert!(matches!(
            ask(&run.join("none"), &ControlRequest::Snapshot).await,
            Err(AskError::NotRunning(_))
        ));
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let (told, _closed) = tokio::join!(asked(), async { drop(listener.accept().await) });
        assert!(told.to_string().contains("did not answer"), "{told}");
        drop(listener);
        assert!(matches!(asked().await, AskError::NotRunning(_)));
    }
}
