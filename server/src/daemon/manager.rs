//! What the service manager is told: that the server is ready, reloads or stops, and that it is well (sd_notify(3)).

use std::{
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{ffi::OsStrExt as _, net},
    },
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tokio::{
    net::UnixDatagram,
    time::{MissedTickBehavior, interval, timeout},
};
use tracing::{error, warn};

use crate::{net::pulse::Asker, process::FromManager, state::ServerState};

/// The time after which a manager that takes no message is given up for this one.
const PATIENCE: Duration = Duration::from_secs(1);
/// The shortest time between two messages to the watchdog.
const SHORTEST: Duration = Duration::from_millis(10);

/// The service manager that started the server, if one did.
#[derive(Debug, Default)]
pub(super) struct ServiceManager {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Returns the manager that passed this. Without an address to write to, nothing is ever said.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(super) fn of(passed: &FromManager) -> Self {
        let Some(address) = &passed.notify else { return Self::default() };
        match connect(address) {
            Ok(socket) => Self { socket: Some(socket), watchdog: passed.watchdog },
            Err(error) => {
                warn!(%error, ?address, "the service manager can not be told of the server's state");
                Self::default()
            }
        }
    }

    /// Reports that the server serves.
    pub(super) async fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={status}")).await;
    }

    /// Reports that the server reads its files again. [`Self::ready`] follows.
    pub(super) async fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let now = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=reloading")).await;
    }

    /// Reports that the server stops.
    pub(super) async fn stopping(&self, status: &str) {
        self.say(&format!("STOPPING=1\nSTATUS={status}")).await;
    }

    async fn say(&self, what: &str) {
        let Some(socket) = &self.socket else { return };
        match timeout(PATIENCE, socket.send(what.as_bytes())).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                warn!(%error, "the service manager was not told of the server's state")
            }
            Err(_) => warn!("the service manager takes no message"),
        }
    }

    /// Reports to the watchdog, if there is one, that the server is well, twice in each of its periods: when each loop that
    /// accepts connections has answered. Never returns.
    pub(super) async fn keep_watchdog(&self, loops: &mut [Asker], state: &ServerState) {
        if let (Some(period), Some(_)) = (self.watchdog, &self.socket) {
            let mut ticks = interval((period / 2).max(SHORTEST));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                match timeout(period, all_answer(loops, state)).await {
                    Ok(true) => self.say("WATCHDOG=1").await,
                    Ok(false) => {
                        error!(
                            "a loop that accepts connections has ended; the watchdog is told no more"
                        );
                        break;
                    }
                    Err(_) => error!(
                        "a loop that accepts connections does not answer; the watchdog is not told"
                    ),
                }
            }
        }
        std::future::pending().await
    }
}

/// Waits until each loop has answered. Returns false if one has ended that should not have.
async fn all_answer(loops: &mut [Asker], state: &ServerState) -> bool {
    for one in loops {
        if !one.is_alive().await && !state.is_draining() {
            return false;
        }
    }
    true
}

/// Connects to the socket of a service manager: a path, or an abstract name behind `@`.
fn connect(address: &OsStr) -> io::Result<UnixDatagram> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => net::SocketAddr::from_abstract_name(name)?,
        path @ [b'/', ..] => net::SocketAddr::from_pathname(OsStr::from_bytes(path))?,
        _ => {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "it is neither a path nor @NAME",
            ));
        }
    };
    let socket = net::UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    UnixDatagram::from_std(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a manager and the socket at which it hears.
    fn manager() -> (tempfile::TempDir, net::UnixDatagram, ServiceManager) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let heard = net::UnixDatagram::bind(&path).unwrap();
        heard.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let passed = FromManager { notify: Some(path.into()), ..FromManager::default() };
        (dir, heard, ServiceManager::of(&passed))
    }

    fn next(heard: &net::UnixDatagram) -> String {
        let mut message = [0; 1024];
        let length = heard.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    #[tokio::test]
    async fn each_state_is_one_message() {
        let (_dir, heard, manager) = manager();
        manager.ready("listening").await;
        assert_eq!(next(&heard), "READY=1\nSTATUS=listening");
        manager.reloading().await;
        let said = next(&heard);
        let time = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(time.split_once('\n').unwrap().0.parse::<u64>().unwrap() > 0, "{said}");
        manager.stopping("waiting").await;
        assert_eq!(next(&heard), "STOPPING=1\nSTATUS=waiting");
    }

    #[tokio::test]
    async fn an_abstract_name_is_an_address_and_other_text_is_none() {
        let name = format!("rcmd-test-{}", std::process::id());
        let address = net::SocketAddr::from_abstract_name(&name).unwrap();
        let heard = net::UnixDatagram::bind_addr(&address).unwrap();
        let passed =
            |text: String| FromManager { notify: Some(text.into()), ..FromManager::default() };
        ServiceManager::of(&passed(format!("@{name}"))).ready("x").await;
        assert_eq!(next(&heard), "READY=1\nSTATUS=x");
        for wrong in ["vsock:2:1234", "relative", "/nonexistent/notify"] {
            assert!(ServiceManager::of(&passed(wrong.to_owned())).socket.is_none(), "{wrong}");
        }
    }
}
