//! The system calls that make a child, and its first instructions on a stack of its own.
#![allow(unsafe_code)]

use std::{arch::asm, ffi::c_long, io, mem, ptr};

use nix::libc;
use rustix::{
    fd::{AsRawFd as _, BorrowedFd, RawFd},
    process::Pid,
};

use super::{
    child::child,
    image::{Image, STACK},
};

/// The size in bytes of `struct clone_args` up to `cgroup` (clone3(2), Linux 5.7).
const CLONE_ARGS: usize = 88;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;

/// Returns whether the kernel has clone3, and no sandbox of the server forbids it.
pub(in crate::process) fn has_clone3() -> bool {
    // SAFETY: with arguments of a size that the kernel does not know, the call only returns an
    // error.
    let answer = unsafe { libc::syscall(libc::SYS_clone3, ptr::null::<u8>(), 0 as c_long) };
    answer == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL)
}

/// Makes a child by clone3(2), in a cgroup if one is given. Returns its process ID, and writes its
/// pidfd to `pidfd`.
///
/// # Safety
/// `image` must live until the child has executed its program or ended.
pub(super) unsafe fn clone3(
    image: &Image,
    cgroup: Option<BorrowedFd<'_>>,
    pidfd: &mut RawFd,
) -> io::Result<Pid> {
    // SAFETY: all zeroes is a valid clone_args: no flags, nowhere to write to.
    let mut args: libc::clone_args = unsafe { mem::zeroed() };
    args.flags = flags(image) as u64 | CLONE_CLEAR_SIGHAND;
    args.pidfd = ptr::from_mut(pidfd) as u64;
    args.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    args.stack = image.stack.as_ptr() as u64;
    args.stack_size = STACK as u64;
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    // SAFETY: `args` is complete; by the caller's promise, the stack and the rest of the image are
    // the child's as long as it is in this memory.
    unsafe {
        parse_answer(fork(
            libc::SYS_clone3,
            [ptr::from_ref(&args) as usize, CLONE_ARGS, 0],
            ptr::from_ref(image),
        ))
    }
}

/// Makes a child by clone(2), where clone3 is not permitted. The call knows no cgroup, and keeps
/// handlers, which the child resets itself.
///
/// # Safety
/// As for [`clone3`].
pub(super) unsafe fn clone(image: &Image, pidfd: &mut RawFd) -> io::Result<Pid> {
    let flags = flags(image) | libc::SIGCHLD.cast_unsigned() as usize;
    let top = image.stack.as_ptr_range().end;
    // SAFETY: as in `clone3`; the third argument is the address for the pidfd (clone(2)).
    unsafe {
        parse_answer(fork(
            libc::SYS_clone,
            [flags, top as usize, ptr::from_mut(pidfd) as usize],
            ptr::from_ref(image),
        ))
    }
}

/// Returns the flags for both calls. The server continues while the child is in its memory: a
/// parent that waited (CLONE_VFORK) would wait as long as the child waits for a file system.
fn flags(image: &Image) -> usize {
    let memory = if image.own_memory { 0 } else { libc::CLONE_VM };
    (memory | libc::CLONE_PIDFD).cast_unsigned() as usize
}

/// Returns the process ID that the system call has returned, or its error.
fn parse_answer(answer: isize) -> io::Result<Pid> {
    let number = i32::try_from(answer).unwrap_or(-libc::EINVAL);
    // An error is negative, and rustix asserts that a process ID is not.
    let pid = Some(number).filter(|number| *number > 0).and_then(Pid::from_raw);
    pid.ok_or_else(|| io::Error::from_raw_os_error(number.wrapping_neg()))
}

/// Makes the system call and returns its result, in the parent; the child begins in [`child`] on
/// its stack.
///
/// # Safety
/// The call must make a child on a stack that is aligned to 16 bytes, large enough and used by
/// nothing else; `image` must be valid in the child as long as it is in this memory.
#[cfg(target_arch = "x86_64")]
unsafe fn fork(call: c_long, args: [usize; 3], image: *const Image) -> isize {
    let [one, two, three] = args;
    let mut answer = call as isize;
    // SAFETY: by the caller's promise. The child never leaves this block: it calls `child`, which
    // does not return. A system call overwrites rcx and r11 and nothing else (syscall(2)).
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") answer,
            in("rdi") one,
            in("rsi") two,
            in("rdx") three,
            in("r10") 0_usize,
            in("r8") 0_usize,
            in("r12") image,
            in("r13") child as extern "C" fn(*const Image) -> !,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    answer
}

/// Makes the system call and returns its result, in the parent; the child begins in [`child`] on
/// its stack.
///
/// # Safety
/// The call must make a child on a stack that is aligned to 16 bytes, large enough and used by
/// nothing else; `image` must be valid in the child as long as it is in this memory.
#[cfg(target_arch = "aarch64")]
unsafe fn fork(call: c_long, args: [usize; 3], image: *const Image) -> isize {
    let [one, two, three] = args;
    let mut answer = one as isize;
    // SAFETY: by the caller's promise. The child never leaves this block: it calls `child`, which
    // does not return. A system call overwrites x0 and nothing else (syscall(2)).
    unsafe {
        asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x9",
            "blr x10",
            "brk #1",
            "2:",
            in("x8") call,
            inlateout("x0") answer,
            in("x1") two,
            in("x2") three,
            in("x3") 0_usize,
            in("x4") 0_usize,
            in("x9") image,
            in("x10") child as extern "C" fn(*const Image) -> !,
        );
    }
    answer
}
