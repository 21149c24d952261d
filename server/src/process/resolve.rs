//! Turning a request into a plan: the environment, what must be found on this host, and what was
//! found.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStringExt as _,
};

use rcmd_protocol::{frame::Mode, request::Request};

use super::{
    account::Account,
    environment::{self, Environment, Sources},
    error::SpawnError,
    look::{Find, Found, Wanted},
    plan::{Folder, Plan},
};

/// A request, complete except for what only the host's files can tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Draft {
    env: Environment,
    find: Find,
}

impl Draft {
    /// Makes a draft: the environment, and the order for the look at the host.
    ///
    /// # Errors
    /// If the account has no shell for a line, or a setting of the environment is invalid.
    pub fn new(
        request: &Request,
        account: &Account,
        path: &str,
        job: &str,
        peer: &str,
    ) -> Result<Self, SpawnError> {
        let program = match request.mode() {
            Mode::Shell => Wanted::Shell(account.login_shell()?.to_owned()),
            Mode::Exec => {
                let name = request.args().first().cloned().unwrap_or_default();
                Wanted::Named(OsString::from_vec(name))
            }
            Mode::Transfer => return Err(SpawnError::NoProgram),
        };
        let sources = Sources { account, path, job, peer, request: request.env() };
        let env = environment::build(&sources, environment::inherited())?;
        let find = Find {
            home: account.home.clone(),
            cwd: request.cwd().map(|cwd| OsString::from_vec(cwd.to_vec())),
            program,
            search: environment::get(&env, "PATH").unwrap_or(OsStr::new("")).to_owned(),
            uid: account.uid,
        };
        Ok(Self { env, find })
    }

    /// Returns what must be found on the host.
    pub fn find(&self) -> &Find {
        &self.find
    }

    /// Makes the plan from what was found.
    pub fn plan(self, request: &Request, account: &Account, job: &str, found: Found) -> Plan {
        let Found { facts, folder, trusted } = found;
        let mut words = request.args().iter().map(|word| OsString::from_vec(word.clone()));
        let (arg0, args) = match request.mode() {
            Mode::Shell => {
                let shell = facts.program.as_os_str();
                let arg0 = facts.program.file_name().unwrap_or(shell).to_owned();
                (arg0, ["-c".into()].into_iter().chain(words).collect())
            }
            Mode::Exec | Mode::Transfer => (words.next().unwrap_or_default(), words.collect()),
        };
        Plan {
            program: facts.program,
            arg0,
            args,
            env: self.env,
            cwd: facts.cwd,
            folder: Some(Folder::new(folder)),
            trusted,
            job: job.to_owned(),
            stdin: request.stdin(),
            sealed: None,
            handed: None,
            credentials: account.credentials.clone(),
            no_new_privs: false,
        }
    }
}
