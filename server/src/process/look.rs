//! Looks: finding the folders and programs that others named, on file systems that may be
//! anybody's.
//!
//! | module | holds |
//! | --- | --- |
//! | [`order`] | the orders for looks, and their answers |
//! | [`roots`] | the places that the paths of a transfer lead to |
//! | `find`, `walk`, `seal` | the look itself, descriptor by descriptor; files are opened last |
//! | `mounts` | the file systems that nobody can make wait |
//! | `helper`, `helpers`, `message` | processes that look as an account, and can be killed |
//! | [`error`] | the reasons why there is no answer |
//!
//! A look may never return: the path may lead to a silent file server (NFS, autofs) or to a user's
//! own file system (FUSE). A thread that waits there can't be ended, but a process can. Therefore a
//! thread of the server looks only as the server's own account, and only through folders of root
//! and that account on local file systems, which is the common case. All else is looked at by a
//! helper, as the account that the command runs as. Nothing is opened for reading before it is
//! known to be a regular file.

pub mod error;
mod find;
mod helper;
mod helpers;
mod message;
mod mounts;
pub mod order;
pub mod roots;
mod seal;
mod walk;

use std::{
    any::Any,
    collections::{HashMap, VecDeque},
    ffi::OsStr,
    fs::File,
    io,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::{
    fd::{AsFd as _, OwnedFd},
    io::Errno,
};
use tokio::time::timeout;

pub use self::{
    error::LookError,
    helper::serve as serve_as_helper,
    order::{Facts, FileKey, Find, Found, Wanted},
    roots::{FindRoots, FoundRoots},
    walk::path_of,
};
use self::{
    find::Unfound,
    helpers::Helpers,
    mounts::Mounts,
    order::{Answer, Failure, Order},
    walk::Reach,
};
use super::{
    account::{Account, AccountError},
    error::SpawnError,
    plan::Credentials,
    program::{Digest, Sealed},
};
use crate::workers::Workers;

/// The number of threads that look.
const THREADS: usize = 4;
/// The number of threads that digest, so low that the runtime's workers have a processor left.
const DIGESTERS: usize = 1;
/// The maximum time of a look.
const PATIENCE: Duration = Duration::from_secs(5);
/// The maximum time for copying and digesting a program.
const DIGEST_PATIENCE: Duration = Duration::from_secs(60);
/// The number of digests that are remembered.
const REMEMBERED: usize = 1024;
/// The time in seconds after a file's last change from which its times identify its content: within
/// one tick of the clock, it could change again without changing them.
const SETTLED: i64 = 2;

/// The service that looks at the host's files.
#[derive(Clone, Debug)]
pub struct Looks(Arc<Way>);

#[derive(Debug)]
enum Way {
    /// Looks happen in the calling thread.
    Here,
    /// Looks are distributed over threads and helpers, as a server needs.
    Server(Box<Server>),
}

#[derive(Debug)]
struct Server {
    mounts: Arc<Mounts>,
    threads: Workers,
    digesters: Workers,
    helpers: Helpers,
    digests: Mutex<Digests>,
}

/// The digests of files, oldest first. A helper's answer about which file it was counts for its
/// account alone.
#[derive(Debug, Default)]
struct Digests {
    known: HashMap<(Option<Credentials>, FileKey), Arc<str>>,
    order: VecDeque<(Option<Credentials>, FileKey)>,
}

impl Looks {
    /// Starts the threads of a server.
    ///
    /// # Errors
    /// If the host can't start a thread, or `/proc` is missing.
    pub fn start() -> io::Result<Self> {
        let server = Server {
            mounts: Arc::new(Mounts::read()?),
            threads: Workers::start("files", THREADS)?,
            digesters: Workers::start("digests", DIGESTERS)?,
            helpers: Helpers::new(),
            digests: Mutex::default(),
        };
        Ok(Self(Arc::new(Way::Server(Box::new(server)))))
    }

    /// Returns looks that are made in the calling thread, as its own account: for a program that
    /// serves nobody else.
    pub fn here() -> Self {
        Self(Arc::new(Way::Here))
    }

    /// Ends helpers that are no longer needed. Never returns.
    pub async fn tend(self) {
        match &*self.0 {
            Way::Here => std::future::pending().await,
            Way::Server(server) => server.helpers.tend().await,
        }
    }

    /// Returns the account of this name, if commands may run as it.
    ///
    /// # Errors
    /// The reason why they may not.
    ///
    /// # Cancel safety
    /// If the future is dropped, the helper that looks is killed.
    pub async fn account(&self, name: &[u8]) -> Result<Account, AccountError> {
        let name = OsStr::from_bytes(name);
        let Way::Server(server) = &*self.0 else { return Account::find(name) };
        let order = Order::Account(name.to_owned());
        let failed = |error: String| AccountError::Failed { name: name.to_owned(), error };
        match server.ask(None, &order, Instant::now() + PATIENCE).await {
            Ok((Answer::Account(found), _)) => found,
            Ok(_) => Err(failed("it was not understood".to_owned())),
            Err(LookError::Slow | LookError::Crowded) => Err(AccountError::Slow),
            Err(LookError::Failed(error)) => Err(failed(error.to_string())),
        }
    }

    /// Finds a folder and a program, as the account with the credentials `whom`; without them, as
    /// the server's own account.
    ///
    /// # Errors
    /// If one of them does not exist or can't be used, or a file system does not answer in time.
    ///
    /// # Cancel safety
    /// If the future is dropped, the helper that looks is killed.
    pub async fn find(&self, whom: Option<&Credentials>, order: Find) -> Result<Found, SpawnError> {
        let Way::Server(server) = &*self.0 else {
            return find::find(&order, Reach::Anywhere).map_err(as_error);
        };
        let until = Instant::now() + PATIENCE;
        let order = Arc::new(order);
        if whom.is_none() {
            let (mounts, order) = (Arc::clone(&server.mounts), Arc::clone(&order));
            let look = move || find::find(&order, Reach::Trusted(&mounts));
            match by_thread(&server.threads, look, PATIENCE).await? {
                Err(Unfound::OutOfReach) => {}
                found => return found.map_err(as_error),
            }
        }
        let order = Order::Find(Arc::unwrap_or_clone(order));
        let (answer, mut passed) = server.ask(whom, &order, until).await?;
        match (answer, passed.pop()) {
            (Answer::Found(facts), Some(folder)) => verified(facts, folder),
            (Answer::Failed(failure), _) => Err(failure.into()),
            _ => Err(LookError::Failed(io::ErrorKind::InvalidData.into()).into()),
        }
    }

    /// Finds the roots of a transfer, as the account with the credentials `whom`; without them, as
    /// the server's own account.
    ///
    /// # Errors
    /// If there is no such place, none of the paths leads anywhere, or a file system does not answer
    /// in time.
    ///
    /// # Cancel safety
    /// As for [`Looks::find`].
    pub async fn roots(
        &self,
        whom: Option<&Credentials>,
        order: FindRoots,
    ) -> Result<FoundRoots, SpawnError> {
        let (answer, passed) = match &*self.0 {
            Way::Here => helper::carry_out(&Order::Roots(order)),
            Way::Server(server) => {
                server.ask(whom, &Order::Roots(order), Instant::now() + PATIENCE).await?
            }
        };
        let invalid = |error: io::Error| SpawnError::from(LookError::Failed(error));
        match answer {
            Answer::Roots(roots) => {
                FoundRoots::verified(roots, passed).map_err(|errno| invalid(errno.into()))
            }
            Answer::NoRoots(failure) => Err(SpawnError::of_root(failure)),
            _ => Err(invalid(io::ErrorKind::InvalidData.into())),
        }
    }

    /// Returns the digest of a program that was found, if it is known for that file.
    pub fn known_digest(&self, whom: Option<&Credentials>, facts: &Facts) -> Option<Digest> {
        let Way::Server(server) = &*self.0 else { return None };
        let of = (whom.cloned(), facts.file);
        let text = server.digests(|digests| digests.known.get(&of).cloned())?;
        Some(Digest { text, copy: None })
    }

    /// Digests a program that was found. Returns `None` for a file that is not ELF or is too large.
    /// With `copy`, the program is copied first, and `held` is kept as long as the copy. May take a
    /// minute.
    ///
    /// # Errors
    /// If the file is another one by now, or can't be read in time.
    ///
    /// # Cancel safety
    /// As for [`Looks::find`].
    pub async fn digest(
        &self,
        whom: Option<&Credentials>,
        facts: &Facts,
        copy: bool,
        held: Option<Arc<dyn Any + Send + Sync>>,
    ) -> Result<Option<Digest>, SpawnError> {
        let (path, key) = (&facts.path, facts.file);
        if !facts.is_elf || key.size > seal::LARGEST {
            return Ok(None);
        }
        let Way::Server(server) = &*self.0 else {
            let text = seal::digest(path, key, Reach::Anywhere).map_err(as_error)?;
            return Ok(Some(Digest { text: text.into(), copy: None }));
        };
        let (text, copied) = server.digest(whom, path, key, copy).await?;
        let text = Arc::<str>::from(text);
        if is_settled(key) {
            server.digests(|digests| digests.remember((whom.cloned(), key), &text));
        }
        let copy = copied.map(|file| Sealed::new(file, held));
        Ok(Some(Digest { text, copy }))
    }
}

impl Server {
    fn digests<T>(&self, act: impl FnOnce(&mut Digests) -> T) -> T {
        act(&mut self.digests.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn ask(
        &self,
        whom: Option<&Credentials>,
        order: &Order,
        until: Instant,
    ) -> Result<(Answer, Vec<OwnedFd>), LookError> {
        self.helpers.ask(&whom.cloned(), order, until, &self.threads).await
    }

    async fn digest(
        &self,
        whom: Option<&Credentials>,
        path: &Path,
        key: FileKey,
        copy: bool,
    ) -> Result<(String, Option<File>), SpawnError> {
        let until = Instant::now() + DIGEST_PATIENCE;
        if whom.is_none() {
            let (path, mounts) = (path.to_owned(), Arc::clone(&self.mounts));
            let look = move || {
                let reach = Reach::Trusted(&mounts);
                if !copy {
                    return seal::digest(&path, key, reach).map(|digest| (digest, None));
                }
                let (mut copy, copied) = seal::copy(&path, reach)?;
                let digest = digest_of_copy(&path, &mut copy, copied, key)?;
                Ok((digest, Some(copy)))
            };
            match by_thread(&self.digesters, look, DIGEST_PATIENCE).await? {
                Err(Unfound::OutOfReach) => {}
                digested => return digested.map_err(as_error),
            }
        }
        let order = Order::Copy(path.to_owned());
        let (answer, mut passed) = self.ask(whom, &order, until).await?;
        let (mut copied, of) = match (answer, passed.pop()) {
            (Answer::Copied(of), Some(copied)) => (File::from(copied), of),
            (Answer::Failed(failure), _) => return Err(failure.into()),
            _ => return Err(LookError::Failed(io::ErrorKind::InvalidData.into()).into()),
        };
        let path = path.to_owned();
        let look = move || {
            digest_of_copy(&path, &mut copied, of, key).map(|digest| (digest, Some(copied)))
        };
        let (digest, copied) =
            by_thread(&self.digesters, look, DIGEST_PATIENCE).await?.map_err(as_error)?;
        Ok((digest, copied.filter(|_| copy)))
    }
}

impl Digests {
    fn remember(&mut self, of: (Option<Credentials>, FileKey), digest: &Arc<str>) {
        if self.known.insert(of.clone(), Arc::clone(digest)).is_none() {
            self.order.push_back(of);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

/// Runs a look on a thread, and waits for it no longer than `patience`.
async fn by_thread<T: Send + 'static>(
    threads: &Workers,
    look: impl FnOnce() -> T + Send + 'static,
    patience: Duration,
) -> Result<T, LookError> {
    let panicked = || LookError::Failed(io::Error::other("the server's log may say more"));
    match timeout(patience, threads.run_if_awaited(look)).await {
        Ok(looked) => looked.ok_or_else(panicked),
        Err(_) => Err(LookError::Slow),
    }
}

/// Returns what a helper has found, if the folder that it passed on is the one that it names.
fn verified(facts: Facts, folder: OwnedFd) -> Result<Found, SpawnError> {
    match path_of(folder.as_fd()) {
        Ok(path) if path == facts.cwd => Ok(Found { facts, folder, trusted: false }),
        Ok(_) => Err(Failure::folder(facts.cwd, Errno::STALE).into()),
        Err(errno) => Err(Failure::folder(facts.cwd, errno).into()),
    }
}

/// Digests a copy, if it is of the file that was found.
fn digest_of_copy(
    path: &Path,
    copy: &mut File,
    of: FileKey,
    found: FileKey,
) -> Result<String, Unfound> {
    if of != found {
        return Err(Failure::unreadable(path, Errno::STALE).into());
    }
    seal::digest_of_sealed(copy).map_err(|error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        Failure::unreadable(path, errno).into()
    })
}

fn is_settled(key: FileKey) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(now).is_ok_and(|now| now.saturating_sub(key.changed.0) >= SETTLED)
}

fn as_error(unfound: Unfound) -> SpawnError {
    match unfound {
        Unfound::Failed(failure) => failure.into(),
        // Nothing is out of reach in the calls whose errors come here.
        Unfound::OutOfReach => LookError::Failed(io::ErrorKind::PermissionDenied.into()).into(),
    }
}
