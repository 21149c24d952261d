//! The child between clone and exec. It may share the server's memory, and the server continues
//! meanwhile. Therefore it allocates nothing, takes no lock, changes only its own stack, and only
//! makes system calls.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, c_long},
    mem::MaybeUninit,
    ptr,
};

use nix::libc;

use super::{
    image::Image,
    stage::{HEAD, Stage},
    syscall::syscall,
};
use crate::process::plan::{Credentials, Handed};

/// The size of the kernel's signal set in bytes.
const SIGSET: usize = 8;
/// The highest signal number (signal(7)).
const SIGNALS: libc::c_int = 64;
/// A number of capabilities greater than that of any kernel (capabilities(7)).
const CAPABILITIES: c_long = 64;
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// Runs the child, on its own stack.
pub(super) extern "C" fn child(image: *const Image) -> ! {
    // SAFETY: `Launch::start` passes a pointer to an image that lives until the child executes or
    // ends.
    let image = unsafe { &*image };
    // SAFETY: this is the child between clone and exec, which these functions are for.
    unsafe {
        let Err(failure) = run(image);
        tell(image, failure);
    }
    loop {
        // SAFETY: ends this process; no destructor of the server's memory runs.
        unsafe { syscall(libc::SYS_exit_group, [127]) };
    }
}

/// Makes a system call; an error is returned together with the stage.
macro_rules! call {
    ($stage:expr, $number:ident $(, $arg:expr)* $(,)?) => {
        match syscall(libc::$number, [$($arg as usize),*]) {
            answer if answer < 0 => Err(($stage, answer.unsigned_abs() as i32)),
            answer => Ok(answer as usize),
        }
    };
}

type Step<T = ()> = Result<T, (Stage, i32)>;

/// # Safety
/// To be called only in a child on its own stack.
unsafe fn run(image: &Image) -> Step<std::convert::Infallible> {
    // SAFETY: system calls with valid arguments; `image` contains strings ended by NUL and lists
    // ended by a null pointer.
    unsafe {
        default_signals();
        // The child gets a group of its own, whose number is its process ID, and no terminal: the
        // server has none. Another user also gets a session, outside which it may neither send
        // SIGCONT to processes of other users (kill(2)) nor join groups (setpgid(2)). Not every
        // child gets one: the kernel gives each session the same share of the processors (sched(7),
        // autogroup), so the server's would be one of hundreds.
        match image.credentials {
            Some(_) => call!(Stage::Session, SYS_setsid)?,
            None => call!(Stage::Session, SYS_setpgid, 0, 0)?,
        };
        descriptors(image)?;
        if let Some(credentials) = &image.credentials {
            leave_keyring()?;
            become_user(credentials, image.own_memory)?;
        }
        if image.no_new_privs {
            call!(Stage::Privileges, SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)?;
        }
        // From here on the child may have to wait for a file system, for ever.
        match image.folder {
            Some(folder) => call!(Stage::Folder, SYS_fchdir, folder)?,
            None => call!(Stage::Folder, SYS_chdir, image.cwd.as_ptr())?,
        };
        let none = 0_u64;
        let set = libc::SIG_SETMASK;
        let old = ptr::null::<u64>();
        call!(Stage::Exec, SYS_rt_sigprocmask, set, ptr::from_ref(&none), old, SIGSET)?;
        execute(image)
    }
}

/// Resets every signal to its default, including SIGPIPE and those that the starter of the server
/// left ignored: the kernel resets handlers only.
///
/// # Safety
/// As for [`run`].
unsafe fn default_signals() {
    let action: [u64; 4] = [0; 4];
    let old = ptr::null::<u64>();
    for signal in 1..=SIGNALS {
        // SAFETY: all zeroes is the default disposition. Two signals can't be changed, and return
        // an error.
        let _ = unsafe {
            call!(Stage::Session, SYS_rt_sigaction, signal, action.as_ptr(), old, SIGSET)
        };
    }
}

/// Sets descriptors 0 to 2 to the plan's, and those behind them to what is handed over, and closes the server's before anything can make this
/// child wait: a child that waits for ever must hold neither a listening socket nor a lock.
///
/// # Safety
/// As for [`run`].
unsafe fn descriptors(image: &Image) -> Step {
    // SAFETY: numbers of open descriptors. They are above 2: the standard library opens 0 to 2
    // before `main`. Those that are handed over, and what is needed later, are above the numbers
    // that are given here.
    unsafe {
        let [stdin, stdout, stderr] = image.fds;
        call!(Stage::Descriptors, SYS_dup3, stdin, 0, 0)?;
        call!(Stage::Descriptors, SYS_dup3, stdout, 1, 0)?;
        call!(Stage::Descriptors, SYS_dup3, stderr, 2, 0)?;
        for (number, handed) in (Handed::SOCKET..).zip(&image.handed) {
            call!(Stage::Descriptors, SYS_dup3, *handed, number, 0)?;
        }
        for (first, last) in &image.closed {
            // A kernel before 5.9 does not know this call. All descriptors are marked to be closed
            // by the exec.
            let _ = call!(Stage::Descriptors, SYS_close_range, *first, *last, 0);
        }
    }
    Ok(())
}

/// Joins a new session keyring instead of the server's, whose keys the command could otherwise read
/// (session-keyring(7)). Called while the child is root, whose quota the user can't have used up.
///
/// # Safety
/// As for [`run`].
unsafe fn leave_keyring() -> Step {
    let (join, anonymous) = (libc::KEYCTL_JOIN_SESSION_KEYRING, ptr::null::<u8>());
    // SAFETY: numbers, and no name.
    match unsafe { call!(Stage::Keyring, SYS_keyctl, join, anonymous) } {
        // The kernel has no keys, or the server, and so its commands, may not use them.
        Ok(_) | Err((_, libc::ENOSYS | libc::EPERM)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Sets groups, group and user, in this order, and then checks that they can't be regained. Unless
/// the user is root, all capabilities are given up, also those that a program could gain through
/// its file.
///
/// If the child has memory of its own, because `fs.suid_dumpable` is 1, the kernel lets a user look
/// into a process that has changed to that user, and this one has a copy of the server's memory. So
/// the saved user ID stays root's until that is forbidden again: until then only root may look
/// (ptrace(2)). Giving it up does not change what is permitted.
///
/// # Safety
/// As for [`run`].
unsafe fn become_user(credentials: &Credentials, own_memory: bool) -> Step {
    let Credentials { uid, gid, groups } = credentials;
    let (uid, gid) = (uid.as_raw(), gid.as_raw());
    let saved = if own_memory { 0 } else { uid };
    // SAFETY: raw calls, which change only this process; `groups` has that many numbers.
    unsafe {
        if uid != 0 {
            drop_bounding_set()?;
        }
        call!(Stage::Groups, SYS_setgroups, groups.len(), groups.as_ptr())?;
        call!(Stage::Group, SYS_setresgid, gid, gid, gid)?;
        call!(Stage::User, SYS_setresuid, uid, uid, saved)?;
        if uid == 0 {
            return Ok(());
        }
        let ambient = libc::PR_CAP_AMBIENT_CLEAR_ALL;
        let _ = call!(Stage::Privileges, SYS_prctl, libc::PR_CAP_AMBIENT, ambient, 0, 0, 0);
        let header = [CAPABILITY_VERSION_3, 0];
        let sets = [0_u32; 6];
        call!(Stage::Privileges, SYS_capset, header.as_ptr(), sets.as_ptr())?;
        let keep = u32::MAX;
        if own_memory {
            call!(Stage::Privileges, SYS_prctl, libc::PR_SET_DUMPABLE, 0, 0, 0, 0)?;
            call!(Stage::User, SYS_setresuid, keep, keep, uid)?;
        }
        let back = call!(Stage::Regained, SYS_setresuid, 0, 0, 0).is_ok()
            || call!(Stage::Regained, SYS_setresuid, keep, 0, keep).is_ok()
            || (gid != 0 && call!(Stage::Regained, SYS_setresgid, 0, 0, 0).is_ok());
        if back { Err((Stage::Regained, libc::EPERM)) } else { Ok(()) }
    }
}

/// # Safety
/// As for [`run`].
unsafe fn drop_bounding_set() -> Step {
    for capability in 0..CAPABILITIES {
        // SAFETY: only numbers.
        let dropped = unsafe {
            call!(Stage::Privileges, SYS_prctl, libc::PR_CAPBSET_DROP, capability, 0, 0, 0)
        };
        match dropped {
            Ok(_) => {}
            // The previous capability was the last one.
            Err((_, libc::EINVAL)) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// # Safety
/// As for [`run`].
unsafe fn execute(image: &Image) -> Step<std::convert::Infallible> {
    let (argv, envp) = (image.argv.as_ptr(), image.envp.as_ptr());
    let empty: &CStr = c"";
    // SAFETY: as in `run`.
    let done = unsafe {
        match image.sealed {
            Some(sealed) => {
                let flags = libc::AT_EMPTY_PATH;
                call!(Stage::Exec, SYS_execveat, sealed, empty.as_ptr(), argv, envp, flags)
            }
            None => call!(Stage::Exec, SYS_execve, image.program.as_ptr(), argv, envp),
        }
    };
    match done {
        Ok(_) => Err((Stage::Exec, 0)),
        Err(error) => Err(error),
    }
}

/// Reports the failure and, for a program that can't be executed, what can be seen of it. This is
/// done here, with the rights of its user and within the time of a start, not in the server.
///
/// # Safety
/// As for [`run`].
unsafe fn tell(image: &Image, (stage, errno): (Stage, i32)) {
    // SAFETY: calls with valid buffers of the given lengths.
    unsafe {
        let mut obstacle = 0;
        let mut head = [0_u8; HEAD];
        let mut length = 0;
        // A sealed copy is a valid program, and has no path.
        if stage == Stage::Exec && image.sealed.is_none() {
            let (cwd, executable) = (libc::AT_FDCWD, libc::X_OK);
            let path = image.program.as_ptr();
            if let Err((_, errno)) = call!(stage, SYS_faccessat, cwd, path, executable) {
                obstacle = errno;
            }
            length = read_head(image, &mut head).unwrap_or(0);
        }
        let numbers = [stage as i32, errno, obstacle];
        let _ = call!(stage, SYS_write, image.report, numbers.as_ptr(), size_of_val(&numbers));
        let _ = call!(stage, SYS_write, image.report, head.as_ptr(), length);
    }
}

/// Reads the beginning of a program if it is a regular file: opening any other file may have
/// effects. Returns the number of bytes.
///
/// # Safety
/// As for [`run`].
unsafe fn read_head(image: &Image, head: &mut [u8; HEAD]) -> Step<usize> {
    let stage = Stage::Exec;
    let (cwd, path, close) = (libc::AT_FDCWD, image.program.as_ptr(), libc::O_CLOEXEC);
    let reading = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY | close;
    // SAFETY: valid strings and buffers; descriptor 0 is this child's own, and no longer needed.
    unsafe {
        let found = call!(stage, SYS_openat, cwd, path, libc::O_PATH | close)?;
        let mut kind = MaybeUninit::<libc::stat>::zeroed();
        call!(stage, SYS_fstat, found, kind.as_mut_ptr())?;
        if kind.assume_init().st_mode & libc::S_IFMT != libc::S_IFREG {
            return Ok(0);
        }
        call!(stage, SYS_dup3, found, 0, close)?;
        let file = call!(stage, SYS_openat, cwd, c"/proc/self/fd/0".as_ptr(), reading)?;
        call!(stage, SYS_read, file, head.as_mut_ptr(), size_of_val(head))
    }
}
