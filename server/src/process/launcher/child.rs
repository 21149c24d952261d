//! The child between clone and exec. It shares the server's memory: it allocates nothing, takes no lock,
//! and makes raw system calls alone.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, c_long},
    ptr,
    sync::atomic::Ordering,
};

use nix::libc;
use rustix::fd::AsRawFd as _;

use super::{
    image::{Image, Shared},
    stage::Stage,
};
use crate::process::plan::Credentials;

/// The kernel's signal set, in bytes.
const SIGSET: usize = 8;
/// The highest signal (signal(7)).
const SIGNALS: libc::c_int = 64;
/// More capabilities than any kernel has (capabilities(7)).
const CAPABILITIES: c_long = 64;
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// The child: on its own stack, in the parent's memory.
pub(super) extern "C" fn child(shared: *const Shared<'static>) -> ! {
    // SAFETY: `Image::start` passes a pointer to what lives until the parent goes on.
    let shared = unsafe { &*shared };
    // SAFETY: this is the child between clone and exec, which is what `run` is for.
    let Err((stage, errno)) = unsafe { run(shared) };
    shared.errno.store(errno, Ordering::Release);
    shared.stage.store(stage as u32, Ordering::Release);
    loop {
        // SAFETY: ends this process; nothing of the shared memory is run down.
        unsafe { libc::syscall(libc::SYS_exit_group, 127 as c_long) };
    }
}

/// A raw system call; its error comes with the stage.
macro_rules! call {
    ($stage:expr, $number:ident $(, $arg:expr)* $(,)?) => {
        match libc::syscall(libc::$number $(, $arg as c_long)*) {
            -1 => Err(($stage, *libc::__errno_location())),
            answer => Ok(answer),
        }
    };
}

type Step<T = ()> = Result<T, (Stage, i32)>;

/// # Safety
/// Only in a child that shares its parent's memory while the parent waits.
unsafe fn run(shared: &Shared<'_>) -> Step<std::convert::Infallible> {
    let image = shared.image;
    // SAFETY: system calls with valid arguments; `image` holds strings ended by NUL and lists ended
    // by a null pointer. errno is the waiting thread's.
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
            become_user(credentials)?;
        }
        if image.no_new_privs {
            call!(Stage::Privileges, SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)?;
        }
        call!(Stage::Folder, SYS_chdir, image.cwd.as_ptr())?;
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

/// 0 to 2 are the plan's, and nothing else survives the exec.
///
/// # Safety
/// The one of [`run`].
unsafe fn descriptors(image: &Image) -> Step {
    // SAFETY: numbers of open descriptors. They are above 2: the standard library opens 0 to 2
    // before `main`.
    unsafe {
        let [stdin, stdout, stderr] = &image.fds;
        call!(Stage::Descriptors, SYS_dup3, stdin.as_raw_fd(), 0, 0)?;
        call!(Stage::Descriptors, SYS_dup3, stdout.as_raw_fd(), 1, 0)?;
        call!(Stage::Descriptors, SYS_dup3, stderr.as_raw_fd(), 2, 0)?;
        // All are marked already (see `self_setup`); a kernel before 5.11 does not know this.
        let _ = call!(Stage::Descriptors, SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
    }
    Ok(())
}

/// Groups, group, user, in this order, and then looks that there is no way back. For all but root
/// capabilities go with it, also those that a program could be given by its file.
///
/// # Safety
/// The one of [`run`].
unsafe fn become_user(credentials: &Credentials) -> Step {
    let Credentials { uid, gid, groups } = credentials;
    // SAFETY: raw calls, which change this process alone; `groups` is that many numbers.
    unsafe {
        if *uid != 0 {
            drop_bounding_set()?;
        }
        call!(Stage::Groups, SYS_setgroups, groups.len(), groups.as_ptr())?;
        call!(Stage::Group, SYS_setresgid, *gid, *gid, *gid)?;
        call!(Stage::User, SYS_setresuid, *uid, *uid, *uid)?;
        if *uid == 0 {
            return Ok(());
        }
        let ambient = libc::PR_CAP_AMBIENT_CLEAR_ALL;
        let _ = call!(Stage::Privileges, SYS_prctl, libc::PR_CAP_AMBIENT, ambient, 0, 0, 0);
        let header = [CAPABILITY_VERSION_3, 0];
        let sets = [0_u32; 6];
        call!(Stage::Privileges, SYS_capset, header.as_ptr(), sets.as_ptr())?;
        let keep = u32::MAX;
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
        match &image.sealed {
            Some(sealed) => {
                let fd = sealed.as_raw_fd();
                call!(
                    Stage::Exec,
                    SYS_execveat,
                    fd,
                    empty.as_ptr(),
                    argv,
                    envp,
                    libc::AT_EMPTY_PATH
                )
            }
            None => call!(Stage::Exec, SYS_execve, image.program.as_ptr(), argv, envp),
        }
    };
    match done {
        Ok(_) => Err((Stage::Exec, 0)),
        Err(error) => Err(error),
    }
}
