//! Connections a second, and many of them that stay.

use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use bytes::BytesMut;
use rcmd_certs::Layout;
use rcmd_certs::tls::{ClientFiles, client_config};
use rcmd_protocol::frame::Decoder;
use rcmd_protocol::frame::{Frame, Hello};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::warm::{local, program, words};
use crate::World;
use crate::bench::limits::Ends;
use crate::bench::measure::Race;
use crate::bench::rate::rate;
use crate::bench::stage::{Stage, one_thread};
use crate::bench::table::Table;

/// The parameters for connections by hand, of which nothing is kept but their TLS.
#[derive(Clone)]
pub(crate) struct Dialler {
    connector: TlsConnector,
    address: std::net::SocketAddr,
    hello: BytesMut,
}

impl Dialler {
    pub(crate) fn to(world: &World) -> Result<Self> {
        let config = client_config(&ClientFiles::from(&Layout::new(world.dir())))?;
        let mut hello = BytesMut::new();
        let frame = Hello { agent: "bench".to_owned(), ..Hello::default() };
        Frame::Hello(frame).encode(&mut hello)?;
        Ok(Self {
            connector: TlsConnector::from(Arc::clone(&config)),
            address: world.address(),
            hello,
        })
    }

    /// Connects and exchanges hellos: after that the server has judged the certificate.
    pub(crate) async fn dial(&self) -> Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(self.address).await?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").context("a name")?;
        let mut stream = self.connector.connect(name, socket).await?;
        stream.write_all(&self.hello).await?;
        stream.flush().await?;
        let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::new());
        while decoder.decode(&mut buffer)?.is_none() {
            let count = stream.read_buf(&mut buffer).await?;
            anyhow::ensure!(count > 0, "the server closed the connection");
        }
        Ok(stream)
    }

    /// Connects until `open` holds so many.
    pub(crate) async fn dial_up_to(
        &self,
        goal: usize,
        open: &mut Vec<TlsStream<TcpStream>>,
    ) -> Result<()> {
        while open.len() < goal {
            let mut dials = JoinSet::new();
            for _ in 0..AT_ONCE.min(goal - open.len()) {
                let dialler = self.clone();
                dials.spawn(async move { dialler.dial().await });
            }
            while let Some(stream) = dials.join_next().await {
                open.push(stream??);
            }
        }
        Ok(())
    }
}

/// The number of handshakes at once; the server has no more unauthenticated peers than it allows.
const AT_ONCE: usize = 32;
const ONE: &str = "to the server, with hellos, 1 at once";
const RCMD: &str = "rcmd-client processes that run `true`, 1 at once";
const SSH: &str = "ssh processes that run `true`, 1 at once";
const FASTEST: &str = "ssh, curve25519 and aes128-gcm, 1 at once";

pub(crate) fn run(stage: &Stage) -> Result<Vec<Table>> {
    let dialler = Dialler::to(stage.world())?;
    let ends = Ends::of(&stage.layout())?;
    let runtime = one_thread()?;
    let (count, few) = (stage.options.count(1000, 100), stage.options.count(20, 3));
    let connections = |at_once| {
        let (dialler, runtime) = (dialler.clone(), &runtime);
        move || {
            let dialler = dialler.clone();
            let once = move || {
                let dialler = dialler.clone();
                async move { Ok(dialler.dial().await?.shutdown().await?) }
            };
            Ok([rate(runtime, at_once, count, once)?[0]])
        }
    };
    // A login of OpenSSH is a process and a command: beside it stands the same of rcmd.
    let logins = |command: Command, count| {
        let (words, runtime) = (words(&command), &runtime);
        move || {
            let words = words.clone();
            Ok([rate(runtime, 1, count, move || local(program(&words)))?[0]])
        }
    };
    let mut race = Race::new();
    race.add(ONE, connections(1));
    race.add("to the server, with hellos, 16 at once", connections(16));
    race.add("both ends in memory on one core", || {
        let began = Instant::now();
        for _ in 0..count {
            ends.handshake()?;
        }
        Ok([count as f64 / began.elapsed().as_secs_f64()])
    });
    let mut rcmd = stage.rcmd("--exec")?;
    rcmd.arg("true");
    race.add(RCMD, logins(rcmd, few * 10));
    if let Some(openssh) = stage.openssh() {
        for (name, mut ssh) in [(SSH, openssh.default()), (FASTEST, openssh.fastest())] {
            ssh.arg("true");
            race.add(name, logins(ssh, few));
        }
    }
    let ([series], failures) = race.run(stage.options.rounds());
    let title = "connections made, with mutual TLS and post-quantum key exchange";
    let mut table = Table::new("handshakes", title, "connections/s").with(series);
    for ssh in [SSH, FASTEST] {
        table.ratio(ONE, ssh, None);
        table.ratio(RCMD, ssh, None);
    }
    table.failures = failures;
    Ok(vec![table])
}
