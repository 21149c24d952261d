//! One Connection through the proxy, from its acceptance to its end.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::{Direction, Fault, Plan, State, Traffic};

/// The largest piece that is forwarded at once, in bytes.
const PIECE: usize = 64 * 1024;

/// The time for which a Connection that was ended by FIN is still read from.
const LINGER: Duration = Duration::from_secs(10);

/// The most that a timer may be late without slowing a throttled link down.
const LATE: Duration = Duration::from_millis(20);

/// The reason for which a relay ended.
enum End {
    /// The end of what both sides had to send.
    Done,
    /// A failure of one of the sockets: the other side is to notice as well.
    Broken,
    /// A cut by this fault, which was planned or asked for.
    Cut(Fault),
}

pub(super) async fn relay(
    mut client: TcpStream,
    mut server: TcpStream,
    number: u64,
    plan: Plan,
    mut state: watch::Receiver<State>,
    traffic: &Traffic,
) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (planned_silence, _) = watch::channel(false);
    let end = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        let pump = |direction, from, to| {
            let silence = planned_silence.clone();
            let planned = plan.after.filter(|(planned, _, _)| *planned == direction);
            let planned = planned.map(|(_, bytes, fault)| (bytes, fault));
            let through = traffic.bytes(direction);
            pump(from, to, number, planned, silence, state.clone(), through)
        };
        let up = pump(Direction::ToServer, client_read, server_write);
        let down = pump(Direction::ToClient, server_read, client_write);
        tokio::select! {
            both = async { tokio::try_join!(up, down) } => match both {
                Ok(((), ())) => End::Done,
                Err(end) => end,
            },
            Ok(now) = state.wait_for(|state| number < state.cut_below) => End::Cut(now.cut),
        }
    };
    match end {
        End::Done => {}
        End::Broken | End::Cut(Fault::Reset | Fault::Silence(_)) => {
            reset(&client);
            reset(&server);
        }
        End::Cut(Fault::Fin) => {
            tokio::join!(finish(client), finish(server));
        }
        End::Cut(Fault::ServerReset) => {
            reset(&server);
            drop(server);
            swallow(client).await;
        }
    }
}

/// Makes the coming drop of a socket a reset.
pub(super) fn reset(socket: &TcpStream) {
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

/// Sends FIN and reads away what still comes: to close with unread bytes would be a reset.
async fn finish(mut socket: TcpStream) {
    let _ = socket.shutdown().await;
    let mut buffer = vec![0; PIECE];
    let drain = async { while let Ok(1..) = socket.read(&mut buffer).await {} };
    let _ = tokio::time::timeout(LINGER, drain).await;
}

/// Reads away what a socket's peer sends, and never answers.
async fn swallow(mut socket: TcpStream) {
    let mut buffer = vec![0; PIECE];
    while let Ok(1..) = socket.read(&mut buffer).await {}
}

/// Forwards one direction to its end.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    number: u64,
    planned: Option<(u64, Fault)>,
    planned_silence: watch::Sender<bool>,
    mut state: watch::Receiver<State>,
    through: &AtomicU64,
) -> Result<(), End> {
    let mut buffer = vec![0; PIECE];
    let mut forwarded = 0;
    let mut planned = planned;
    // When all that came before has gone through.
    let mut passed = Instant::now();
    loop {
        if let Some((bytes, fault)) = planned
            && forwarded >= bytes
        {
            planned = None;
            strike(fault, &planned_silence)?;
        }
        heard(number, &planned_silence, &mut state).await?;
        let room = planned.map_or(u64::MAX, |(bytes, _)| bytes - forwarded);
        let State { rate, delay, .. } = *state.borrow();
        // A tenth of a second's worth at a time keeps a throttled stream even.
        let even = rate.map_or(PIECE as u64, |rate| (rate / 10).max(1));
        let piece = usize::try_from(room.min(even)).unwrap_or(PIECE).min(PIECE);
        let count = match from.read(&mut buffer[..piece]).await {
            Ok(0) => return to.shutdown().await.map_err(broken),
            Ok(count) => count,
            Err(error) => return Err(broken(error)),
        };
        // What arrived during a silence waits for its end.
        heard(number, &planned_silence, &mut state).await?;
        let hold = rate.map_or(0.0, |rate| count as f64 / rate as f64);
        let hold = delay + Duration::from_secs_f64(hold);
        if !hold.is_zero() {
            passed = passed.max(Instant::now() - LATE.min(hold)) + hold;
            sleep_until(passed).await;
        }
        to.write_all(&buffer[..count]).await.map_err(broken)?;
        forwarded += count as u64;
        through.fetch_add(count as u64, Ordering::SeqCst);
    }
}

fn broken(_: io::Error) -> End {
    End::Broken
}

/// Carries out a planned fault. A silence is over by itself, for both directions at once.
fn strike(fault: Fault, planned_silence: &watch::Sender<bool>) -> Result<(), End> {
    let Fault::Silence(time) = fault else {
        return Err(End::Cut(fault));
    };
    planned_silence.send_replace(true);
    if let Some(time) = time {
        let silence = planned_silence.clone();
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            silence.send_replace(false);
        });
    }
    Ok(())
}

/// Waits until this Connection is not silent.
async fn heard(
    number: u64,
    planned_silence: &watch::Sender<bool>,
    state: &mut watch::Receiver<State>,
) -> Result<(), End> {
    let mut planned = planned_silence.subscribe();
    loop {
        let _ = planned.wait_for(|silent| !silent).await;
        // The proxy itself is gone when its state is.
        if state.wait_for(|state| number >= state.silent_below).await.is_err() {
            return Err(End::Broken);
        }
        if !*planned.borrow() {
            return Ok(());
        }
    }
}
