//! A TCP proxy on loopback that breaks links on purpose.
//!
//! Faults come from two sides: a [`Plan`] that a Connection gets when it is accepted (cut after so
//! many bytes), and calls on the [`Proxy`] while it runs (cut now, be silent, go on).

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::random::Random;

mod relay;

/// The direction in which bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The direction from the client to the server.
    ToServer,
    /// The direction from the server to the client.
    ToClient,
}

/// A way in which a link breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A reset (RST) for both sides: what was in flight is lost.
    Reset,
    /// An end (FIN) for both sides without TLS having ended.
    Fin,
    /// A silence in which both sides stay connected and nothing arrives any more: for this time, or
    /// for good.
    Silence(Option<Duration>),
    /// The server gets a reset, and the client nothing any more, as of a firewall that forgot it.
    ServerReset,
}

/// The fault that one Connection is to have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Plan {
    /// The fault, and the direction and the number of bytes in it after which the fault comes.
    pub after: Option<(Direction, u64, Fault)>,
}

impl Plan {
    /// The plan without a fault.
    pub const HONEST: Self = Self { after: None };

    /// Plans `fault` after exactly `bytes` bytes in `direction`.
    #[must_use]
    pub const fn after(direction: Direction, bytes: u64, fault: Fault) -> Self {
        Self { after: Some((direction, bytes, fault)) }
    }

    /// Plans one of `faults` at a place below `bytes`, in either direction, as `random` has it.
    pub fn random(random: &mut Random, bytes: u64, faults: &[Fault]) -> Self {
        let direction = *random.choose(&[Direction::ToServer, Direction::ToClient]);
        Self::after(direction, random.below(bytes), *random.choose(faults))
    }
}

/// The present behaviour of a running proxy, towards Connections by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    /// Connections below this number are silent.
    silent_below: u64,
    /// Connections below this number are cut.
    cut_below: u64,
    /// The fault by which they are cut.
    cut: Fault,
    /// Bytes a second in each direction of each Connection.
    rate: Option<u64>,
    /// The time for which each piece waits before it goes on.
    delay: Duration,
    /// True if new Connections are reset at once.
    refusing: bool,
}

/// The Connections and bytes that a proxy has forwarded.
#[derive(Debug, Default)]
struct Traffic {
    connections: AtomicU64,
    to_server: AtomicU64,
    to_client: AtomicU64,
}

impl Traffic {
    fn bytes(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }
}

/// A function that makes the plan of the Connection with this number, counted from 0.
type Planner = Box<dyn FnMut(u64) -> Plan + Send>;

/// The proxy. Dropping it resets all that goes through it.
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    traffic: Arc<Traffic>,
    planner: Arc<Mutex<Planner>>,
    // Dropped in the background: a test's thread may itself be inside a runtime.
    runtime: Option<Runtime>,
}

impl Proxy {
    /// Starts a proxy in front of `server`, which is honest until told otherwise.
    ///
    /// # Panics
    ///
    /// When it can't listen.
    #[must_use]
    pub fn to(server: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        listener.set_nonblocking(true).expect("a socket of ours");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("proxy")
            .enable_all()
            .build()
            .expect("a thread for the proxy");
        let (state, _) = watch::channel(State {
            silent_below: 0,
            cut_below: 0,
            cut: Fault::Reset,
            rate: None,
            delay: Duration::ZERO,
            refusing: false,
        });
        let traffic = Arc::<Traffic>::default();
        let planner: Arc<Mutex<Planner>> = Arc::new(Mutex::new(Box::new(|_| Plan::HONEST)));
        runtime.spawn(accept(
            listener,
            server,
            state.clone(),
            Arc::clone(&traffic),
            Arc::clone(&planner),
        ));
        Self { address, state, traffic, planner, runtime: Some(runtime) }
    }

    /// Returns the address at which the proxy listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the address at which the proxy listens, as a client's HOST.
    #[must_use]
    pub fn target(&self) -> String {
        self.address.to_string()
    }

    /// Returns the number of Connections accepted until now.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.traffic.connections.load(Ordering::SeqCst)
    }

    /// Returns the number of bytes forwarded in a direction until now, over all Connections.
    #[must_use]
    pub fn forwarded(&self, direction: Direction) -> u64 {
        self.traffic.bytes(direction).load(Ordering::SeqCst)
    }

    /// Sets the planner: each Connection from now on has the plan that `planner` makes for its
    /// number, from 0.
    pub fn plan(&self, planner: impl FnMut(u64) -> Plan + Send + 'static) {
        *self.planner.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Box::new(planner);
    }

    /// Breaks every Connection there is now, in one way. Those that come later are honest.
    pub fn cut(&self, fault: Fault) {
        let below = self.connections();
        self.state.send_modify(|state| match fault {
            Fault::Reset | Fault::Fin | Fault::ServerReset => {
                state.cut = fault;
                state.cut_below = below;
            }
            Fault::Silence(_) => state.silent_below = below,
        });
        if let (Fault::Silence(Some(time)), Some(runtime)) = (fault, &self.runtime) {
            let state = self.state.clone();
            runtime.spawn(async move {
                tokio::time::sleep(time).await;
                state.send_modify(|state| state.silent_below = 0);
            });
        }
    }

    /// Forwards nothing any more, for those who are there and those who come: a closed laptop.
    pub fn silence(&self) {
        self.state.send_modify(|state| state.silent_below = u64::MAX);
    }

    /// Ends [`Proxy::silence`]: what waited goes on.
    pub fn go_on(&self) {
        self.state.send_modify(|state| state.silent_below = 0);
    }

    /// Resets new Connections at once (true), or serves them again.
    pub fn refuse(&self, refusing: bool) {
        self.state.send_modify(|state| state.refusing = refusing);
    }

    /// Forwards at most so many bytes a second in each direction of each Connection.
    pub fn throttle(&self, bytes_per_second: Option<u64>) {
        self.state.send_modify(|state| state.rate = bytes_per_second);
    }

    /// Holds each piece (64 KiB at most) back for so long, one after the other.
    pub fn delay(&self, delay: Duration) {
        self.state.send_modify(|state| state.delay = delay);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(
    listener: std::net::TcpListener,
    server: SocketAddr,
    state: watch::Sender<State>,
    traffic: Arc<Traffic>,
    planner: Arc<Mutex<Planner>>,
) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    loop {
        // Out of descriptors is the one error here that a test may bring about; others may be freed.
        let Ok((client, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        // The number is taken before anything is forwarded, so that `cut` means this one too.
        let number = traffic.connections.fetch_add(1, Ordering::SeqCst);
        let plan = planner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)(number);
        let watcher = state.subscribe();
        let traffic = Arc::clone(&traffic);
        tokio::spawn(async move {
            if watcher.borrow().refusing {
                relay::reset(&client);
                return;
            }
            match TcpStream::connect(server).await {
                Ok(server) => relay::relay(client, server, number, plan, watcher, &traffic).await,
                Err(_) => relay::reset(&client),
            }
        });
    }
}
