//! What a child needs, laid out before it exists.
#![allow(unsafe_code)]

use std::{
    ffi::{CString, OsStr, c_char},
    io,
    os::unix::ffi::OsStrExt as _,
    ptr,
    sync::atomic::{AtomicI32, AtomicU32},
};

use rustix::fd::OwnedFd;

use crate::process::plan::{Credentials, Plan};

/// All that a child needs, laid out before it exists.
pub(in crate::process) struct Image {
    pub(super) program: CString,
    pub(super) sealed: Option<OwnedFd>,
    pub(super) cwd: CString,
    // What `argv` and `envp` point into.
    _strings: Vec<CString>,
    pub(super) argv: Vec<*const c_char>,
    pub(super) envp: Vec<*const c_char>,
    pub(super) credentials: Option<Credentials>,
    pub(super) no_new_privs: bool,
    pub(super) fds: [OwnedFd; 3],
}

// SAFETY: the pointers point into `_strings`, which is never changed and moves with them.
unsafe impl Send for Image {}

/// Lies in the parent's memory, which the child shares.
pub(super) struct Shared<'a> {
    pub(super) image: &'a Image,
    pub(super) stage: AtomicU32,
    pub(super) errno: AtomicI32,
}

impl Image {
    /// Lays out what a plan says, with the child's standard input, output and error.
    ///
    /// # Errors
    /// When a string holds a NUL.
    pub(in crate::process) fn new(plan: &Plan, fds: [OwnedFd; 3]) -> io::Result<Self> {
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
}
