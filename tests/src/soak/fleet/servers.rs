//! Several servers of one authority, each with a folder of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::binaries::binaries;
use crate::lines::Lines;
use crate::wait::DEADLINE;
use crate::world::World;

/// The world's server and further ones.
pub(super) struct Servers {
    addresses: Vec<SocketAddr>,
    further: Vec<Child>,
}

impl Servers {
    /// Starts further servers until there are so many.
    pub(super) fn start(world: &World, count: usize) -> Self {
        let mut servers = Self { addresses: vec![world.address()], further: Vec::new() };
        for number in 1..count {
            let dir = world.scratch(&format!("server-{number}"));
            copy(world.dir(), &dir);
            let mut command = Command::new(&binaries().server);
            command.arg("--dir").arg(&dir).args(["--listen", "127.0.0.1:0"]);
            command.env_remove("RCMD_DIR").stdin(Stdio::null());
            command.stdout(Stdio::piped()).stderr(Stdio::null());
            let mut child = command.spawn().expect("our own program");
            let said = Lines::default();
            said.add(child.stdout.take().expect("a pipe"));
            servers.further.push(child);
            let line = said.wait_for("listening on ", 1, DEADLINE).expect("a server that listens");
            let address = line[0].strip_prefix("listening on ").expect("an address");
            servers.addresses.push(address.parse().expect("an address"));
        }
        servers
    }

    /// Returns the processes of the further servers.
    pub(super) fn pids(&self) -> impl Iterator<Item = u32> {
        self.further.iter().map(Child::id)
    }

    /// Returns the address of the server of a target.
    pub(super) fn address(&self, target: usize) -> SocketAddr {
        self.addresses[target % self.addresses.len()]
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for server in &mut self.further {
            // Nothing runs there any more; one that has ended already is no fault here.
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// Copies what a server needs of a folder: whom it trusts, who it is, what it permits.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("server")).expect("a folder of our own");
    for file in ["ca.pem", "server/cert.pem", "server/key.pem", "server.toml", "policy.cedar"] {
        if from.join(file).exists() {
            fs::copy(from.join(file), to.join(file)).expect("a file of our own");
        }
    }
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(to.join("server"), private).expect("a folder of our own");
}
