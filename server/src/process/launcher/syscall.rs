//! System calls without the C library: without errno, which would be that of a thread of the
//! parent, and without handling of thread cancellation.
#![allow(unsafe_code)]

use std::{arch::asm, ffi::c_long};

/// Makes a system call. Returns the kernel's answer; an error is a negative number.
///
/// # Safety
/// As for the call.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn syscall<const COUNT: usize>(number: c_long, args: [usize; COUNT]) -> isize {
    let [one, two, three, four, five, six] = padded(args);
    let mut answer = number as isize;
    // SAFETY: by the caller's promise. A system call overwrites rcx and r11 and nothing else
    // (syscall(2)).
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") answer,
            in("rdi") one,
            in("rsi") two,
            in("rdx") three,
            in("r10") four,
            in("r8") five,
            in("r9") six,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    answer
}

/// Makes a system call. Returns the kernel's answer; an error is a negative number.
///
/// # Safety
/// As for the call.
#[cfg(target_arch = "aarch64")]
pub(super) unsafe fn syscall<const COUNT: usize>(number: c_long, args: [usize; COUNT]) -> isize {
    let [one, two, three, four, five, six] = padded(args);
    let mut answer = one as isize;
    // SAFETY: by the caller's promise. A system call overwrites x0 and nothing else (syscall(2)).
    unsafe {
        asm!(
            "svc #0",
            in("x8") number,
            inlateout("x0") answer,
            in("x1") two,
            in("x2") three,
            in("x3") four,
            in("x4") five,
            in("x5") six,
            options(nostack),
        );
    }
    answer
}

fn padded<const COUNT: usize>(args: [usize; COUNT]) -> [usize; 6] {
    let mut all = [0; 6];
    for (place, arg) in all.iter_mut().zip(args) {
        *place = arg;
    }
    all
}
