//! The listener for metrics: `GET /metrics`, `GET /healthz`, and nothing else.
//!
//! Whoever reaches it may read the numbers, so it is off unless an address is set. A connection carries
//! one request. Past the maximum of connections the oldest goes: a scrape takes a millisecond, and who
//! holds a connection longer is none.

use std::{
    collections::VecDeque, io, net::TcpListener as StdTcpListener, sync::Arc, time::Duration,
};

use rcmd_certs::listen;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::timeout,
};
use tracing::warn;

use super::metrics::{Form, page};
use crate::{
    config::limits::SCRAPES,
    net::listener::REMEDY,
    state::{ServerState, Snapshot},
};

/// The time for a request and its response.
const PATIENCE: Duration = Duration::from_secs(5);
/// The time for reading away what a peer sends behind its request.
const LINGER: Duration = Duration::from_secs(1);
/// The maximum bytes of a request's head.
const HEAD: usize = 8192;
/// The maximum number of headers.
const HEADERS: usize = 64;

/// Serves metrics. Never returns.
pub(super) async fn serve(listener: StdTcpListener, state: &Arc<ServerState>) {
    let mut listener = match TcpListener::from_std(listener) {
        Ok(listener) => listen::Listener::new(listener),
        Err(error) => {
            warn!(%error, "metrics are not served");
            return std::future::pending().await;
        }
    };
    let mut tasks = JoinSet::new();
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let (stream, _) = listener.accept(&state.strangers, REMEDY).await;
        while tasks.try_join_next().is_some() {}
        open.retain(|scrape| !scrape.is_finished());
        if open.len() >= SCRAPES
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        open.push_back(tasks.spawn(attend(Arc::clone(state), stream)));
    }
}

async fn attend(state: Arc<ServerState>, mut stream: TcpStream) {
    let answered = timeout(PATIENCE, async {
        let request = read(&mut stream).await?;
        stream.write_all(&response(&state, request)).await
    });
    if let Ok(Ok(())) = answered.await {
        listen::linger(stream, LINGER).await;
    }
}

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Asked {
    /// The page of metrics.
    Metrics(Form),
    /// The health: 200 while the server starts commands.
    Health,
    /// Something that there is not.
    Nothing,
    /// Another method than GET.
    Method,
    /// What is no request of HTTP/1, or too long for one.
    Malformed,
}

/// Reads the head of a request.
///
/// # Errors
/// If the connection ends before.
async fn read(stream: &mut TcpStream) -> io::Result<Asked> {
    let mut head = Vec::with_capacity(1024);
    while head.len() < HEAD {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(asked) = parse(&head) {
            return Ok(asked);
        }
    }
    Ok(Asked::Malformed)
}

/// Reads the beginning of a request; `None` if more must come.
fn parse(head: &[u8]) -> Option<Asked> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(status) if status.is_partial() => return None,
        Ok(_) => {}
        Err(_) => return Some(Asked::Malformed),
    }
    let path = request.path.unwrap_or_default();
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    if !["/metrics", "/healthz"].contains(&path) {
        return Some(Asked::Nothing);
    }
    if request.method != Some("GET") {
        return Some(Asked::Method);
    }
    if path == "/healthz" {
        return Some(Asked::Health);
    }
    let accepts = request.headers.iter().filter(|of| of.name.eq_ignore_ascii_case("accept"));
    let accepts: Vec<_> = accepts.map(|of| String::from_utf8_lossy(of.value)).collect();
    Some(Asked::Metrics(Form::of(&accepts.join(","))))
}

fn response(state: &ServerState, asked: Asked) -> Vec<u8> {
    const TEXT: &str = "text/plain; charset=utf-8";
    let (status, media_type, body) = match asked {
        Asked::Metrics(form) => ("200 OK", form.media_type(), page(&state.summary(), form)),
        Asked::Health => match unwell(&state.summary()) {
            None => ("200 OK", TEXT, "ok\n".to_owned()),
            Some(why) => ("503 Service Unavailable", TEXT, format!("{why}\n")),
        },
        Asked::Nothing => ("404 Not Found", TEXT, "there is /metrics and /healthz\n".to_owned()),
        Asked::Method => ("405 Method Not Allowed\r\nAllow: GET", TEXT, "GET alone\n".to_owned()),
        Asked::Malformed => {
            ("400 Bad Request", TEXT, "this is no request of HTTP/1.1\n".to_owned())
        }
    };
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Returns why the server starts no commands, if it does not.
fn unwell(of: &Snapshot) -> Option<&'static str> {
    match (of.draining, of.audit.failing) {
        (true, _) => Some("the server stops"),
        (_, true) => Some("the audit can't be written"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_whole_or_refused() {
        let read = |text: &str| parse(text.as_bytes());
        let text = "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n";
        assert_eq!(read(text), Some(Asked::Metrics(Form::Text)));
        for end in 0..text.len() {
            assert_eq!(read(&text[..end]), None, "{end}");
        }
        let open = "GET /metrics?x HTTP/1.0\r\naccept: application/openmetrics-text\r\n\r\n";
        assert_eq!(read(open), Some(Asked::Metrics(Form::OpenMetrics)));
        assert_eq!(read("GET /healthz HTTP/1.1\r\n\r\n"), Some(Asked::Health));
        assert_eq!(read("GET / HTTP/1.1\r\n\r\n"), Some(Asked::Nothing));
        assert_eq!(read("POST /metrics HTTP/1.1\r\n\r\n"), Some(Asked::Method));
        let many = "a: b\r\n".repeat(HEADERS + 1);
        for nonsense in ["\u{16}\u{3}\u{1}", "GET\r\n\r\n", "GET / HTTP/9\r\n\r\n"] {
            assert_eq!(read(nonsense), Some(Asked::Malformed), "{nonsense:?}");
        }
        assert_eq!(read(&format!("GET / HTTP/1.1\r\n{many}\r\n")), Some(Asked::Malformed));
    }
}
