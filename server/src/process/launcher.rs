//! Starting a process by clone3(2), without the C library between fork and exec.
//!
//! The child shares the server's memory until it executes (CLONE_VM|CLONE_VFORK), so that it must
//! allocate nothing, take no lock and call nothing that does: all it needs lies in an [`Image`], it
//! has a stack of its own, and it makes raw system calls. The C library's set*id functions would
//! signal all threads of the server, and are not used. It tells where it failed through the memory
//! that it shares.
#![allow(unsafe_code)]

use std::{
    arch::asm,
    cell::UnsafeCell,
    ffi::{CStr, CString, OsStr, c_char, c_long},
    io, mem,
    os::unix::ffi::OsStrExt as _,
    ptr,
    sync::atomic::{AtomicI32, AtomicU32, Ordering},
};

use nix::{
    libc,
    sys::signal::{SigSet, SigmaskHow},
};
use rustix::{
    fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    process::{Pid, WaitId, WaitIdOptions, waitid},
};

use super::plan::{Credentials, Plan};

/// Bytes of the child's stack; its deepest call takes a few hundred, in a debug build a few thousand.
const STACK: usize = 64 << 10;
/// `struct clone_args` up to `cgroup` (clone3(2), Linux 5.7).
const CLONE_ARGS: usize = 88;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
/// The kernel's signal set, in bytes.
const SIGSET: usize = 8;
/// The highest signal (signal(7)).
const SIGNALS: libc::c_int = 64;
/// More capabilities than any kernel has (capabilities(7)).
const CAPABILITIES: c_long = 64;
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// Where a child failed before it executed its program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(super) enum Stage {
    /// No child came to be.
    Clone = 1,
    /// A session and group of its own.
    Session,
    /// Its three descriptors.
    Descriptors,
    /// Capabilities and no_new_privs.
    Privileges,
    /// setgroups(2).
    Groups,
    /// setresgid(2).
    Group,
    /// setresuid(2).
    User,
    /// It could become root again.
    Regained,
    /// The working folder.
    Folder,
    /// execve(2).
    Exec,
}

impl Stage {
    const ALL: [Self; 10] = [
        Self::Clone,
        Self::Session,
        Self::Descriptors,
        Self::Privileges,
        Self::Groups,
        Self::Group,
        Self::User,
        Self::Regained,
        Self::Folder,
        Self::Exec,
    ];
}

/// Why there is no process.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) stage: Stage,
    pub(super) error: io::Error,
}

/// All that a child needs, laid out before it exists.
pub(super) struct Image {
    program: CString,
    sealed: Option<OwnedFd>,
    cwd: CString,
    // What `argv` and `envp` point into.
    _strings: Vec<CString>,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
    credentials: Option<Credentials>,
    no_new_privs: bool,
    fds: [OwnedFd; 3],
}

// SAFETY: the pointers point into `_strings`, which is never changed and moves with them.
unsafe impl Send for Image {}

/// Lies in the parent's memory, which the child shares.
struct Shared<'a> {
    image: &'a Image,
    stage: AtomicU32,
    errno: AtomicI32,
}

/// A child that has executed its program.
#[derive(Debug)]
pub(super) struct Cloned {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
}

/// The stack of the children of one thread, of which one runs at a time.
pub(super) struct Stack(Vec<UnsafeCell<u128>>);

impl Stack {
    pub(super) fn new() -> Self {
        let cells = STACK / size_of::<u128>();
        Self(std::iter::repeat_with(|| UnsafeCell::new(0)).take(cells).collect())
    }
}

impl Image {
    /// Lays out what a plan says, with the child's standard input, output and error.
    ///
    /// # Errors
    /// When a string holds a NUL.
    pub(super) fn new(plan: &Plan, fds: [OwnedFd; 3]) -> io::Result<Self> {
        let text = |text: &OsStr| CString::new(text.as_bytes()).map_err(io::Error::other);
        let mut strings = Vec::with_capacity(1 + plan.args.len() + plan.env.len());
        strings.push(text(&plan.arg0)?);
        for arg in &plan.args {
            strings.push(text(arg)?);
        }
        let arguments = strings.len();
        for (name, value) in &plan.env {
            let mut setting = Vec::with_capacity(name.len() + value.len() + 2);
            setting.extend_from_slice(name.as_bytes());
            setting.push(b'=');
            setting.extend_from_slice(value.as_bytes());
            strings.push(CString::new(setting).map_err(io::Error::other)?);
        }
        let pointers = |strings: &[CString]| {
            let strings = strings.iter().map(|string| string.as_ptr());
            strings.chain([ptr::null()]).collect::<Vec<_>>()
        };
        let (args, env) = strings.split_at_checked(arguments).unwrap_or_default();
        let (argv, envp) = (pointers(args), pointers(env));
        let sealed = plan.sealed.as_ref().map(|sealed| sealed.descriptor()).transpose()?;
        Ok(Self {
            program: text(plan.program.as_os_str())?,
            sealed,
            cwd: text(plan.cwd.as_os_str())?,
            _strings: strings,
            argv,
            envp,
            credentials: plan.credentials.clone(),
            no_new_privs: plan.no_new_privs,
            fds,
        })
    }

    /// Starts it, in a cgroup if there is one, and returns when it has executed its program or could
    /// not. It blocks for as long as that takes: not for a worker of the runtime.
    ///
    /// # Errors
    /// Where and why it failed. Nothing is left then.
    pub(super) fn start(
        &self,
        cgroup: Option<BorrowedFd<'_>>,
        stack: &mut Stack,
    ) -> Result<Cloned, Failed> {
        let mut pidfd: RawFd = -1;
        let shared = Shared { image: self, stage: AtomicU32::new(0), errno: AtomicI32::new(0) };
        // A handler of the server's would run in the child.
        let mask = SigSet::all()
            .thread_swap_mask(SigmaskHow::SIG_SETMASK)
            .unwrap_or_else(|_| SigSet::empty());
        let born = clone3(&shared, cgroup, stack, &mut pidfd);
        // Some container profiles answer as a kernel without clone3 would. The older call knows no
        // cgroup, and keeps handlers, which the child resets itself.
        let born = match born {
            Err(error) if cgroup.is_none() && error.raw_os_error() == Some(libc::ENOSYS) => {
                clone(&shared, stack, &mut pidfd)
            }
            born => born,
        };
        let _ = mask.thread_set_mask();
        let pid = born.map_err(|error| Failed { stage: Stage::Clone, error })?;
        // SAFETY: the kernel has put a new descriptor there, which nobody else knows of.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        let at = shared.stage.load(Ordering::Acquire);
        let Some(&stage) = Stage::ALL.iter().find(|stage| **stage as u32 == at) else {
            return Ok(Cloned { pid, pidfd });
        };
        // It has ended, or does so without another step.
        let _ = waitid(WaitId::PidFd(rustix::fd::AsFd::as_fd(&pidfd)), WaitIdOptions::EXITED);
        let error = io::Error::from_raw_os_error(shared.errno.load(Ordering::Acquire));
        Err(Failed { stage, error })
    }
}

/// Whether the kernel has clone3, and whoever confines the server lets it be called.
pub(super) fn has_clone3() -> bool {
    // SAFETY: without arguments of a size that it knows it does nothing but say so.
    let answer = unsafe { libc::syscall(libc::SYS_clone3, ptr::null::<u8>(), 0 as c_long) };
    answer == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL)
}

fn clone3(
    shared: &Shared<'_>,
    cgroup: Option<BorrowedFd<'_>>,
    stack: &mut Stack,
    pidfd: &mut RawFd,
) -> io::Result<Pid> {
    // SAFETY: all zeroes is a valid clone_args: no flags, nowhere to write to.
    let mut args: libc::clone_args = unsafe { mem::zeroed() };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD;
    args.flags = u64::from(flags.cast_unsigned()) | CLONE_CLEAR_SIGHAND;
    args.pidfd = ptr::from_mut(pidfd) as u64;
    args.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    args.stack = stack.0.as_mut_ptr() as u64;
    args.stack_size = STACK as u64;
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    // SAFETY: `args` is complete; the stack is the child's alone, since this thread waits for its
    // exec or end before it goes on (CLONE_VFORK), and `shared` lives that long.
    unsafe {
        born(fork(
            libc::SYS_clone3,
            [ptr::from_ref(&args) as usize, CLONE_ARGS, 0],
            ptr::from_ref(shared).cast(),
        ))
    }
}

fn clone(shared: &Shared<'_>, stack: &mut Stack, pidfd: &mut RawFd) -> io::Result<Pid> {
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let top = stack.0.as_mut_ptr_range().end;
    // SAFETY: as in `clone3`; the third argument is where the pidfd goes (clone(2)).
    unsafe {
        born(fork(
            libc::SYS_clone,
            [flags.cast_unsigned() as usize, top as usize, ptr::from_mut(pidfd) as usize],
            ptr::from_ref(shared).cast(),
        ))
    }
}

fn born(answer: isize) -> io::Result<Pid> {
    let number = i32::try_from(answer).unwrap_or(-libc::EINVAL);
    // An error is negative, which rustix asserts that no pid is.
    let pid = Some(number).filter(|number| *number > 0).and_then(Pid::from_raw);
    pid.ok_or_else(|| io::Error::from_raw_os_error(number.wrapping_neg()))
}

/// The system call, in the parent; the child begins in [`child`] on its stack.
///
/// # Safety
/// The call must make a child with CLONE_VM and CLONE_VFORK, on a stack that is aligned to 16 bytes,
/// large enough and nobody else's; `shared` must point to a [`Shared`].
#[cfg(target_arch = "x86_64")]
unsafe fn fork(call: c_long, args: [usize; 3], shared: *const libc::c_void) -> isize {
    let [one, two, three] = args;
    let mut answer = call as isize;
    // SAFETY: by the caller's promise. The child never comes out of this block: it calls `child`,
    // which does not return. A system call overwrites rcx and r11 and nothing else (syscall(2)).
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
            in("r12") shared,
            in("r13") child as extern "C" fn(*const Shared<'static>) -> !,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    answer
}

/// As above.
///
/// # Safety
/// As above.
#[cfg(target_arch = "aarch64")]
unsafe fn fork(call: c_long, args: [usize; 3], shared: *const libc::c_void) -> isize {
    let [one, two, three] = args;
    let mut answer = one as isize;
    // SAFETY: by the caller's promise. The child never comes out of this block: it calls `child`,
    // which does not return. A system call overwrites x0 and nothing else (syscall(2)).
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
            in("x9") shared,
            in("x10") child as extern "C" fn(*const Shared<'static>) -> !,
        );
    }
    answer
}

/// The child: on its own stack, in the parent's memory.
extern "C" fn child(shared: *const Shared<'static>) -> ! {
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
/// As [`run`].
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
/// As [`run`].
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
/// As [`run`].
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
/// As [`run`].
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
/// As [`run`].
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
