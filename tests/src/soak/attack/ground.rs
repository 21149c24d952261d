//! The setup of the attack: a server with default settings, and the identities and programs of the attackers.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::roles::SILENT;
use crate::hostile::InTheWay;
use crate::pki::{Authority, Leaf};
use crate::skip::need_mount_namespace;
use crate::wait::keep_pace;
use crate::{NameService, World, eventually};

/// Descriptors of the server: as many as its defaults foresee.
const DESCRIPTORS: u64 = 16_384;
/// The time for which the name service does not answer; then it does for [`RELEASED`].
const HELD: Duration = Duration::from_secs(7);
const RELEASED: Duration = Duration::from_secs(3);
/// The user that a file system which answers nothing is mounted as.
const NOBODY: u32 = 65_534;
/// A rule that speaks of a program's digest, by which a look at a program costs most.
const RULE_OF_DIGESTS: &str = "
@id(\"by-digest\")
permit (principal in Group::\"digested\", action == Action::\"run\", resource)
when { context has digest && context.digest == \"sha256:none\" };
";

/// A server, and what is laid out around it.
pub(super) struct Ground {
    /// A file system that answers nothing, in the folder of the local user. It is there before the server, which
    /// has mounts of its own, and goes first: nothing else could be looked at or ended.
    silent: Option<InTheWay>,
    pub(super) world: World,
    /// The folders of identities: `denied` may run nothing, `permitted` may run everything, and
    /// `honest` stands beside the world's own client.
    pub(super) denied: PathBuf,
    pub(super) permitted: PathBuf,
    pub(super) honest: PathBuf,
    /// A folder that everybody may enter, for what a local user puts in the way.
    local: TempDir,
    names: Option<NameService>,
}

impl Ground {
    pub(super) fn lay() -> Self {
        let names = need_mount_namespace().ok().map(|()| NameService::start());
        let mut builder = World::builder().limit("nofile", DESCRIPTORS).terse();
        if let Some(names) = &names {
            builder = builder.name_service(names);
        }
        let mut world = builder.prepare();
        let authority = Authority::of(world.dir());
        let identity = |name: &str, groups: &[&str]| {
            let user = format!("rcmd://user/{name}");
            let uris: Vec<_> = std::iter::once(&*user).chain(groups.iter().copied()).collect();
            let folder = world.scratch(name);
            authority.issue(&Leaf::client_uris(&uris)).write(&folder.join("client"));
            fs::copy(world.dir().join("ca.pem"), folder.join("ca.pem")).expect("our own folder");
            folder
        };
        let denied = identity("mallory", &["rcmd://group/digested"]);
        let permitted = identity("eve", &["rcmd://group/admin"]);
        let honest = identity("bob", &["rcmd://group/admin"]);
        let policy = world.dir().join("policy.cedar");
        let rules = fs::read_to_string(&policy).expect("the first policy") + RULE_OF_DIGESTS;
        fs::write(policy, rules).expect("our own folder");
        let local = tempfile::Builder::new().prefix("rcmd-local-").tempdir().expect("a folder");
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(local.path(), open).expect("our own folder");
        let silent = InTheWay::silent_mount(&local.path().join(SILENT), NOBODY).ok();
        world.start_server();
        Self { world, denied, permitted, honest, local, silent, names }
    }

    /// Returns the folder of what a local user puts in the way.
    pub(super) fn local(&self) -> PathBuf {
        self.local.path().to_owned()
    }

    /// Keeps the name service from answering, again and again, until then.
    pub(super) fn harass_until(&self, end: Instant) {
        while Instant::now() < end {
            let left = |most: Duration| most.min(end.saturating_duration_since(Instant::now()));
            if let Some(names) = &self.names {
                names.hold();
            }
            keep_pace(Instant::now(), left(HELD));
            if let Some(names) = &self.names {
                names.release();
            }
            keep_pace(Instant::now(), left(RELEASED));
        }
    }

    /// Takes away the file system that answers nothing, so that who waits for it is ended.
    pub(super) fn unmount(&mut self) {
        self.silent = None;
        let folder = self.local().display().to_string();
        eventually("the local user's mount is gone", || {
            let mounts = fs::read_to_string("/proc/self/mountinfo").expect("our own mounts");
            !mounts.contains(&folder)
        });
    }

    /// Stops the server, which must leave nothing, and removes everything.
    pub(super) fn clear(self) {
        self.world.end().unwrap_or_else(|error| panic!("{error:#}"));
    }
}
