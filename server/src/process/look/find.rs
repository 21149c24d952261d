//! Finding the folder and the program of a request.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use rustix::io::Errno;

use super::{
    order::{Facts, Failure, FileKey, Find, Found, Wanted},
    walk::{FOLDERS, Place, Reach, Stop, Walk, path_of},
};
use crate::process::{error::lacking, program};

/// The folders in which the packages of OpenSSH have its server for files, which are in no PATH: of Debian, of Fedora
/// and Alpine, of SUSE and Arch.
const SFTP_FOLDERS: [&[u8]; 3] = [b"/usr/lib/openssh", b"/usr/libexec/openssh", b"/usr/lib/ssh"];
/// The name of that program.
const SFTP_SERVER: &str = "sftp-server";

/// The reason why a look has found nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Unfound {
    /// The path leads out of the look's reach.
    OutOfReach,
    /// The folder or program does not exist, or can't be used.
    Failed(Failure),
}

impl From<Failure> for Unfound {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Finds the folder and the program of an order. May wait for the file system.
///
/// # Errors
/// If the folder can't be entered, the program is not found or can't be executed, or the look would
/// lead out of its reach.
pub(super) fn find(order: &Find, reach: Reach<'_>) -> Result<Found, Unfound> {
    let mut walk = Walk { reach, uid: order.uid, writable: None };
    let (folder, note) = folder(&mut walk, order)?;
    let cwd = path_of_folder(&folder)?;
    // A finding about the folder does not matter to the program.
    walk.writable = None;
    let (program, place) = match &order.program {
        Wanted::Shell(shell) => (shell.clone(), executable(&mut walk, shell)?),
        Wanted::Named(name) => search(&mut walk, name, &order.search, &cwd)?,
    };
    let head = place.head();
    walk.interpreters(&place.path, &head, &cwd, &order.search).map_err(|stop| match stop {
        Stop::OutOfReach => Unfound::OutOfReach,
        Stop::Errno(errno) => Failure::unreadable(&program, errno).into(),
    })?;
    let facts = Facts {
        cwd,
        note,
        program,
        path: place.path,
        writable: walk.writable,
        is_elf: program::is_elf(&head),
        file: FileKey::of(&place.stat),
    };
    let trusted = matches!(reach, Reach::Trusted(_));
    Ok(Found { facts, folder: folder.descriptor, trusted })
}

/// Finds the folder of the request, relative to the home. Without one, finds the home, or `/` with
/// a note.
fn folder(walk: &mut Walk<'_>, order: &Find) -> Result<(Place, Option<String>), Unfound> {
    let home = &order.home;
    if let Some(cwd) = &order.cwd {
        return Ok((enter(walk, &home.join(cwd))?, None));
    }
    match enter(walk, home) {
        Ok(place) => Ok((place, None)),
        Err(Unfound::OutOfReach) => Err(Unfound::OutOfReach),
        Err(Unfound::Failed(failure)) => {
            let error = crate::process::error::SpawnError::from(failure);
            Ok((enter(walk, Path::new("/"))?, Some(format!("{error}; started in / instead"))))
        }
    }
}

/// Opens a folder that a process could start in.
fn enter(walk: &mut Walk<'_>, path: &Path) -> Result<Place, Unfound> {
    let entered = walk.follow(path).and_then(|place| {
        if !place.is_folder() {
            return Err(Errno::NOTDIR.into());
        }
        place.check_execute()?;
        Ok(place)
    });
    entered.map_err(|stop| match stop {
        Stop::OutOfReach => Unfound::OutOfReach,
        Stop::Errno(errno) => Failure::folder(path.to_owned(), errno).into(),
    })
}

/// Returns the path of an open folder, if that is still the path by which it was found, so that the
/// folder that is judged is the one that is entered.
fn path_of_folder(folder: &Place) -> Result<PathBuf, Unfound> {
    use rustix::fd::AsFd as _;
    match path_of(folder.descriptor.as_fd()) {
        Ok(path) if path == folder.path => Ok(path),
        // The folder was moved or removed meanwhile.
        Ok(_) => Err(Failure::folder(folder.path.clone(), Errno::STALE).into()),
        Err(errno) => Err(Failure::folder(folder.path.clone(), errno).into()),
    }
}

/// Finds a program as execvp(3) does, by the child's PATH and from its folder, with three
/// differences: an empty element of PATH, which would mean that folder and is mostly a mistake, is
/// skipped; a file without a `#!` line is not passed to the shell; and `sftp-server` is also looked
/// for where OpenSSH's packages have it.
fn search(
    walk: &mut Walk<'_>,
    name: &OsStr,
    path: &OsStr,
    cwd: &Path,
) -> Result<(PathBuf, Place), Unfound> {
    if name.as_bytes().contains(&b'/') {
        let program = cwd.join(name);
        return executable(walk, &program).map(|place| (program, place));
    }
    let not_found = || Failure::NotInPath { name: name.to_owned(), path: path.to_owned() };
    if name.is_empty() {
        return Err(not_found().into());
    }
    let mut obstacle = None;
    let elements = path.as_bytes().split(|&byte| byte == b':').filter(|e| !e.is_empty());
    let further = if name == SFTP_SERVER { &SFTP_FOLDERS[..] } else { &[] };
    for element in elements.take(FOLDERS).chain(further.iter().copied()) {
        let program = cwd.join(OsStr::from_bytes(element)).join(name);
        match executable(walk, &program) {
            Ok(place) => return Ok((program, place)),
            Err(Unfound::OutOfReach) => return Err(Unfound::OutOfReach),
            Err(Unfound::Failed(failure @ (Failure::NoFile(_) | Failure::Denied(_)))) => {
                _ = obstacle.get_or_insert(failure);
            }
            Err(Unfound::Failed(_)) => {}
        }
        // The findings on the way to another candidate do not count.
        walk.writable = None;
    }
    Err(obstacle.unwrap_or_else(not_found).into())
}

/// Opens a program that could be executed.
fn executable(walk: &mut Walk<'_>, program: &Path) -> Result<Place, Unfound> {
    let place = walk.follow(program).map_err(|stop| match stop {
        Stop::OutOfReach => Unfound::OutOfReach,
        Stop::Errno(Errno::ACCESS | Errno::PERM) => Failure::Denied(program.to_owned()).into(),
        Stop::Errno(errno) if lacking(errno).is_some() => {
            Failure::unreadable(program, errno).into()
        }
        Stop::Errno(_) => Failure::NotFound(program.to_owned()).into(),
    })?;
    if !place.is_file() {
        return Err(Failure::NoFile(program.to_owned()).into());
    }
    place.check_execute().map_err(|_| Failure::Denied(program.to_owned()))?;
    Ok(place)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::Permissions,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use nix::{
        mount::{MsFlags, mount},
        sched::{CloneFlags, unshare},
    };

    use super::{super::mounts::Mounts, *};
    use crate::process::{ids::Uid, program::Writable};

    fn order(program: &Path) -> Find {
        let program = Wanted::Named(program.into());
        Find {
            home: "/".into(),
            cwd: None,
            program,
            search: "/usr/bin:/bin".into(),
            uid: Uid::ROOT,
        }
    }

    #[test]
    fn what_others_could_make_wait_is_out_of_a_thread_s_reach() {
        let mounts = Mounts::read().unwrap();
        if !mounts.is_local(Path::new("/")) {
            return;
        }
        let reach = Reach::Trusted(&mounts);
        assert!(find(&order(Path::new("sh")), reach).is_ok());
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let link = folder.path().join("link");
        symlink("/bin/sh", &link).unwrap();
        for beyond in [link.as_path(), Path::new("/proc/self/exe")] {
            assert_eq!(find(&order(beyond), reach).unwrap_err(), Unfound::OutOfReach);
            assert!(find(&order(beyond), Reach::Anywhere).is_ok());
        }
    }

    #[test]
    fn what_is_no_regular_file_is_no_program_and_is_not_opened() {
        for other in ["/dev/null", "/dev", "/dev/../dev/zero"] {
            let unfound = find(&order(Path::new(other)), Reach::Anywhere).unwrap_err();
            assert!(matches!(unfound, Unfound::Failed(Failure::NoFile(_))), "{unfound:?}");
        }
    }

    /// Finds a script that names this interpreter, with this PATH.
    fn script_of(folder: &Path, line: &str, search: &str) -> Found {
        let script = folder.join("script");
        std::fs::write(&script, format!("#!{line}\n")).unwrap();
        std::fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
        let order = Find { search: search.into(), ..order(&script) };
        find(&order, Reach::Anywhere).unwrap()
    }

    #[test]
    fn a_link_of_proc_leaves_open_what_runs_wherever_proc_is_mounted() {
        let folder = tempfile::tempdir_in("/root").or_else(|_| tempfile::tempdir()).unwrap();
        // The mount is visible to this thread alone, and ends with it.
        let finding = std::thread::scope(|scope| {
            let found = scope.spawn(|| {
                let (none, private) = (None::<&str>, MsFlags::MS_PRIVATE | MsFlags::MS_REC);
                unshare(CloneFlags::CLONE_NEWNS).ok()?;
                mount(none, "/", none, private, none).ok()?;
                let proc = folder.path().join("proc");
                std::fs::create_dir(&proc).unwrap();
                mount(Some("proc"), &proc, Some("proc"), MsFlags::empty(), none).ok()?;
                let line = format!("{}/self/exe", proc.display());
                Some(script_of(folder.path(), &line, "/usr/bin").facts.writable)
            });
            found.join().unwrap()
        });
        // Without the right to mount, nothing can be tested.
        if let Some(finding) = finding {
            assert!(matches!(finding, Some(Writable::Open { .. })), "{finding:?}");
        }
    }

    #[test]
    fn env_is_followed_through_as_many_folders_of_path_as_a_program_is() {
        let folder = tempfile::tempdir_in("/root").or_else(|_| tempfile::tempdir()).unwrap();
        let path = |before| "/nowhere:".repeat(before) + "/usr/bin";
        let within = script_of(folder.path(), "/usr/bin/env sh", &path(FOLDERS - 1));
        let beyond = script_of(folder.path(), "/usr/bin/env sh", &path(FOLDERS));
        assert_ne!(within.facts.writable, beyond.facts.writable);
        assert!(matches!(beyond.facts.writable, Some(Writable::Open { .. })), "{beyond:?}");
    }

    #[test]
    fn the_sftp_server_is_found_in_openssh_s_folders_behind_path() {
        let named = |name: &str, search: &str| {
            find(&Find { search: search.into(), ..order(Path::new(name)) }, Reach::Anywhere)
        };
        let folders = SFTP_FOLDERS.map(|folder| Path::new(OsStr::from_bytes(folder)));
        // Without the package, nothing can be found.
        if let Some(program) =
            folders.iter().map(|folder| folder.join(SFTP_SERVER)).find(|file| file.is_file())
        {
            let found = named(SFTP_SERVER, "/nowhere").unwrap();
            assert_eq!(found.facts.program, program);
            assert!(named("ssh-keysign", "/nowhere").is_err(), "another program of that folder");
        }
        let own = tempfile::tempdir().unwrap();
        let program = own.path().join(SFTP_SERVER);
        std::fs::copy("/bin/true", &program).unwrap();
        let found = named(SFTP_SERVER, own.path().to_str().unwrap()).unwrap();
        assert_eq!(found.facts.program, program);
    }

    #[test]
    fn ways_that_never_end_are_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        symlink(&one, &other).unwrap();
        symlink(&other, &one).unwrap();
        let unfound = find(&order(&one), Reach::Anywhere).unwrap_err();
        assert!(matches!(unfound, Unfound::Failed(Failure::NotFound(_))), "{unfound:?}");
    }
}
