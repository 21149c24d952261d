//! The settings of `ls` and `edit`.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use rcmd_certs::Layout;
use rcmd_protocol::outcome::{ErrorKind, WireError};
use rcmd_transfer::{Landing, TransferLimits, TransferOptions, is_pattern};

use super::copy::{CopyHost, CopyRun, CopyShow, CopyWork};
use super::file::File;
use super::{Reached, Verbosity, host_of};
use crate::arguments::Common;
use crate::arguments::listing::{EditArguments, ListArguments};
use crate::arguments::places::{
    LocalSources, LocalTarget, Place, RemotePlace, is_set, last_name, shell_word,
};

/// The size of a file that is edited at most, in bytes.
const EDITED: u64 = 1 << 30;

/// A listing of a path of a host.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) reach: Reach,
    pub(crate) path: Vec<u8>,
    pub(crate) is_long: bool,
    pub(crate) json: bool,
}

/// One host, and how it is reached.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    pub(crate) layout: Layout,
    pub(crate) host: CopyHost,
    /// The time limit for look-up, TCP and TLS together.
    pub(crate) connect_timeout: Duration,
    pub(crate) compress: bool,
    pub(crate) verbosity: Verbosity,
}

/// The editing of a file of a host.
#[derive(Debug)]
pub(crate) struct Edit {
    pub(crate) reach: Reach,
    pub(crate) path: Vec<u8>,
    /// The last name of the path.
    pub(crate) name: Vec<u8>,
    /// The place as it can be typed.
    pub(crate) written: String,
    /// How a command line of `cp` begins that reaches it in the same way.
    pub(crate) copy: String,
}

impl Reach {
    fn of(common: &Common, user: Option<OsString>, place: &RemotePlace) -> Result<Self, WireError> {
        if is_set(place) {
            return Err(usage(&format!(
                "`{}` is a set of hosts, but one host is needed",
                place.hosts
            ))
            .hint("Name one of the hosts; `rcmd-client hosts EXPR` lists them."));
        }
        let verbosity = super::verbosity(common);
        let layout = super::layout(common.dir.as_deref())?;
        let file = File::read(&layout.client_toml())?;
        let host = host_of(OsStr::new(&place.hosts))?;
        let Reached { target, user: listed } = Reached::find(host, &layout, verbosity)?;
        let user = user.or(listed);
        Ok(Self {
            host: CopyHost { name: target.to_string(), target, user },
            connect_timeout: super::connect_timeout(common, &file),
            compress: file.compress.unwrap_or(false),
            layout,
            verbosity,
        })
    }
}

impl Listing {
    /// Combines the settings, as [`super::Run::resolve`] does.
    ///
    /// # Errors
    /// A usage error, with advice.
    pub(crate) fn resolve(typed: ListArguments) -> Result<Self, WireError> {
        let place = remote(&typed.place, "ls")?;
        let reach = Reach::of(&typed.common, typed.user, &place)?;
        Ok(Self { reach, path: place.path, is_long: typed.long, json: typed.common.json })
    }
}

impl Edit {
    /// Combines the settings, as [`super::Run::resolve`] does.
    ///
    /// # Errors
    /// A usage error, with advice.
    pub(crate) fn resolve(typed: EditArguments) -> Result<Self, WireError> {
        if typed.common.json {
            return Err(usage("edit cannot be combined with --json").hint("Leave the option out."));
        }
        let place = remote(&typed.place, "edit")?;
        let Some(name) = last_name(&place.path).map(<[u8]>::to_vec) else {
            return Err(usage(&format!("`{}` is a folder", typed.place.display()))
                .hint("Name a file, as in `rcmd-client edit web1:/etc/hosts`."));
        };
        let written = shell_word(typed.place.as_encoded_bytes());
        let mut copy = "rcmd-client cp".to_owned();
        let dir = typed.common.dir.as_ref().map(|dir| dir.as_os_str());
        for (option, value) in [("--dir", dir), ("-l", typed.user.as_deref())] {
            if let Some(value) = value {
                copy.push_str(&format!(" {option} {}", shell_word(value.as_encoded_bytes())));
            }
        }
        let reach = Reach::of(&typed.common, typed.user, &place)?;
        Ok(Self { reach, path: place.path, name, written, copy })
    }

    /// Returns whether the path has what would be a pattern in `cp`.
    pub(crate) fn has_pattern(&self) -> bool {
        is_pattern(&self.path)
    }

    /// Returns a path of this machine as a word of a command line of `cp`.
    pub(crate) fn word(&self, path: &Path) -> String {
        shell_word(path.as_os_str().as_encoded_bytes())
    }

    /// Returns the transfer that asks whether the file can be written there, with any file here.
    pub(crate) fn probe(&self, from: Vec<u8>) -> CopyRun {
        let mut run = self.send(from);
        run.options.dry_run = true;
        // The failure alone is of interest.
        run.show.verbosity = Verbosity::Quiet;
        run
    }

    /// Returns the transfer that fetches the file to a path here.
    pub(crate) fn fetch(&self, to: Vec<u8>) -> CopyRun {
        let landing = Landing { is_itself: true, has_several: false };
        let paths = vec![self.path.clone()];
        self.run(CopyWork::Fetch { paths, is_literal: true, to: LocalTarget::Path(to), landing })
    }

    /// Returns the transfer that sends a file here back.
    pub(crate) fn send(&self, from: Vec<u8>) -> CopyRun {
        let landing = Landing { is_itself: true, has_several: false };
        let sources = LocalSources::Paths(vec![from]);
        self.run(CopyWork::Push { sources, to: self.path.clone(), landing })
    }

    fn run(&self, work: CopyWork) -> CopyRun {
        let Reach { layout, host, connect_timeout, compress, verbosity } = self.reach.clone();
        CopyRun {
            layout,
            connect_timeout,
            compress,
            hosts: vec![host],
            is_set: false,
            work,
            // The content decides: it may be changed within the time that a file's time tells apart.
            options: TransferOptions { checksum: true, ..TransferOptions::default() },
            limits: TransferLimits { file_bytes: EDITED, bytes: EDITED, entries: 1 },
            timeout: None,
            lock: None,
            rate: None,
            fanout: 1,
            show: CopyShow { json: false, itemize: false, progress: false, verbosity },
            instead_of_port: None,
        }
    }
}

/// Reads a word that must name a path of a host.
fn remote(typed: &OsStr, name: &str) -> Result<RemotePlace, WireError> {
    match Place::read(typed)? {
        Place::Remote(place) => Ok(place),
        Place::Local(_) | Place::Standard => {
            let typed = typed.display();
            Err(usage(&format!("`{typed}` names no path of a host"))
                .hint(format!("Write `rcmd-client {name} HOST:PATH`; a home is `HOST:`.")))
        }
    }
}

fn usage(message: &str) -> WireError {
    WireError::new(ErrorKind::Usage, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &[&str]) -> String {
        let typed: Vec<_> = ["rcmd-client", "--dir", "/nonexistent"]
            .iter()
            .chain(line)
            .map(OsString::from)
            .collect();
        let failure = match EditArguments::read(typed.iter()) {
            Ok(typed) => Edit::resolve(typed).unwrap_err(),
            Err(other) => panic!("{line:?}: {other:?}"),
        };
        format!("{failure} {}", failure.hint.as_deref().unwrap())
    }

    #[test]
    fn one_file_of_one_host_is_edited() {
        for (line, says) in [
            (&["f"][..], "HOST:PATH"),
            (&["-"], "HOST:PATH"),
            (&["web1:"], "is a folder"),
            (&["web1:/etc/"], "is a folder"),
            (&["a[1-2]:/etc/hosts"], "one host is needed"),
            (&["--json", "web1:f"], "--json"),
            (&["root@web1:f"], "-l root"),
        ] {
            let text = refused(line);
            assert!(text.contains(says), "{line:?}: {text}");
        }
    }
}
