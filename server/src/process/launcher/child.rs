//! The child between clone and exec. It may share the server's memory, and the server goes on meanwhile:
//! it allocates nothing, takes no lock, changes nothing but its own stack, and makes system calls
//! alone.
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
use crate::process::plan::Credentials;

/// The kernel's signal set, in bytes.
const SIGSET: usize = 8;
/// The highest signal (signal(7)).
const SIGNALS: libc::c_int = 64;
/// More capabilities than any kernel has (capabilities(7)).
const CAPABILITIES: c_long = 64;
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// The child, on its own stack.
pub(super) extern "C" fn child(image: *const Image) -> ! {
    // SAFETY: `Launch::start` passes a pointer to what lives until the child executes or ends.
    let image = unsafe { &*image };
    // SAFETY: this is the child between clone and exec, which is what these are for.
    unsafe {
        let Err(failure) = run(image);
        tell(image, failure);
    }
    loop {
        // SAFETY: ends this process; nothing of the memory is run down.
        unsafe { syscall(libc::SYS_exit_group, [127]) };
    }
}

/// A system call; its error comes with the stage.
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
/// Only in a child of its own stack.
unsafe fn run(image: &Image) -> Step<std::convert::Infallible> {
    // SAFETY: system calls with valid arguments; `image` holds strings ended by NUL and lists ended
    // by a null pointer.
    unsafe {
        default_signals();
        // A group of its own, whose number is its pid, and no terminal: the server has none. Another
        // user gets a session as well, in which alone it may send SIGCONT to whom it likes (kill(2))
        // and join groups (setpgid(2)). Not everybody does: the kernel gives each session the same
        // share of the processors (sched(7), autogroup), the server's among hundreds.
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
        // From here on it may have to wait for a file system, for ever.
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

/// Every signal gets its default, those that whoever started the server let be ignored and SIGPIPE
/// too: the kernel resets handlers alone.
///
/// # Safety
/// The one of [`run`].
unsafe fn default_signals() {
    let action: [u64; 4] = [0; 4];
    let old = ptr::null::<u64>();
    for signal in 1..=SIGNALS {
        // SAFETY: all zeroes is the default disposition. Two signals have no other, and say so.
        let _ = unsafe {
            call!(Stage::Session, SYS_rt_sigaction, signal, action.as_ptr(), old, SIGSET)
        };
    }
}

/// 0 to 2 are the plan's, and what is the server's is closed before anything can make this child wait:
/// a child that waits for ever must hold neither a listening socket nor a lock.
///
/// # Safety
/// The one of [`run`].
unsafe fn descriptors(image: &Image) -> Step {
    // SAFETY: numbers of open descriptors. They are above 2: the standard library opens 0 to 2
    // before `main`.
    unsafe {
        let [stdin, stdout, stderr] = image.fds;
        call!(Stage::Descriptors, SYS_dup3, stdin, 0, 0)?;
        call!(Stage::Descriptors, SYS_dup3, stdout, 1, 0)?;
        call!(Stage::Descriptors, SYS_dup3, stderr, 2, 0)?;
        for (first, last) in &image.closed {
            // A kernel before 5.9 does not know this. All are marked to be closed by the exec.
            let _ = call!(Stage::Descriptors, SYS_close_range, *first, *last, 0);
        }
    }
    Ok(())
}

/// A session keyring of its own instead of the server's, which whoever has it may read
/// (session-keyring(7)). Made while it is root, whose quota the user can't have used up.
///
/// # Safety
/// The one of [`run`].
unsafe fn leave_keyring() -> Step {
    let (join, anonymous) = (libc::KEYCTL_JOIN_SESSION_KEYRING, ptr::null::<u8>());
    // SAFETY: numbers, and no name.
    match unsafe { call!(Stage::Keyring, SYS_keyctl, join, anonymous) } {
        // A kernel without keys, or one that is kept from the server and so from its commands.
        Ok(_) | Err((_, libc::ENOSYS | libc::EPERM)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Groups, group, user, in this order, and then looks that there is no way back. For all but root
/// capabilities go with it, also those that a program could be given by its file.
///
/// With memory of its own (`fs.suid_dumpable` is 1) the kernel lets a process be looked into by its user
/// when it has changed its numbers, and this one has a copy of the server's memory. The saved user ID
/// stays root's until that is forbidden again: with it nobody but root may look (ptrace(2)), and giving
/// it up changes nothing of what is allowed.
///
/// # Safety
/// The one of [`run`].
unsafe fn become_user(credentials: &Credentials, own_memory: bool) -> Step {
    let Credentials { uid, gid, groups } = credentials;
    let saved = if own_memory { 0 } else { *uid };
    // SAFETY: raw calls, which change this process alone; `groups` is that many numbers.
    unsafe {
        if *uid != 0 {
            drop_bounding_set()?;
        }
        call!(Stage::Groups, SYS_setgroups, groups.len(), groups.as_ptr())?;
        call!(Stage::Group, SYS_setresgid, *gid, *gid, *gid)?;
        call!(Stage::User, SYS_setresuid, *uid, *uid, saved)?;
        if *uid == 0 {
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
            call!(Stage::User, SYS_setresuid, keep, keep, *uid)?;
        }
        let back = call!(Stage::Regained, SYS_setresuid, 0, 0, 0).is_ok()
            || call!(Stage::Regained, SYS_setresuid, keep, 0, keep).is_ok()
            || (*gid != 0 && call!(Stage::Regained, SYS_setresgid, 0, 0, 0).is_ok());
        if back { Err((Stage::Regained, libc::EPERM)) } else { Ok(()) }
    }
}

/// # Safety
/// The one of [`run`].
unsafe fn drop_bounding_set() -> Step {
    for capability in 0..CAPABILITIES {
        // SAFETY: numbers alone.
        let dropped = unsafe {
            call!(Stage::Privileges, SYS_prctl, libc::PR_CAPBSET_DROP, capability, 0, 0, 0)
        };
        match dropped {
            Ok(_) => {}
            // That was the last one.
            Err((_, libc::EINVAL)) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// # Safety
/// The one of [`run`].
unsafe fn execute(image: &Image) -> Step<std::convert::Infallible> {
    let (argv, envp) = (image.argv.as_ptr(), image.envp.as_ptr());
    let empty: &CStr = c"";
    // SAFETY: see `run`.
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

/// Reports what failed, and what there is to see of a program that can't be executed: here, as its user and
/// within the time of a start, and not in the server.
///
/// # Safety
/// The one of [`run`].
unsafe fn tell(image: &Image, (stage, errno): (Stage, i32)) {
    // SAFETY: calls with valid buffers of the length that is said.
    unsafe {
        let mut obstacle = 0;
        let mut head = [0_u8; HEAD];
        let mut length = 0;
        // What is sealed is a program of its own, and has no path any more.
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

/// Reads how a program begins, if it is a regular file: to open anything else may do something. Returns
/// the number of bytes.
///
/// # Safety
/// The one of [`run`].
unsafe fn read_head(image: &Image, head: &mut [u8; HEAD]) -> Step<usize> {
    let stage = Stage::Exec;
    let (cwd, path, close) = (libc::AT_FDCWD, image.program.as_ptr(), libc::O_CLOEXEC);
    let reading = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY | close;
    // SAFETY: valid strings and buffers; 0 is this child's own, and of no use to it any more.
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
