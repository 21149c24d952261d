//! What a request was found to ask for on this host: to run a program, or to reach files.

use rcmd_certs::text::printable;

use super::{
    access::{Access, FileFacts},
    question::HostFacts,
};

/// The facts of this host by which a request is judged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RequestFacts {
    /// A command, with its program.
    Command(HostFacts),
    /// A transfer, with each place that it begins with: at least one.
    Files(Vec<Access>),
}

impl RequestFacts {
    /// Returns the facts of a command, if it is one.
    pub fn command(&self) -> Option<&HostFacts> {
        match self {
            Self::Command(facts) => Some(facts),
            Self::Files(_) => None,
        }
    }

    /// Returns the first access of a transfer with each action that it asks for.
    pub fn roots(&self) -> Vec<&Access> {
        let mut roots: Vec<&Access> = Vec::new();
        for access in self.accesses() {
            if roots.iter().all(|root| root.action() != access.action()) {
                roots.push(access);
            }
        }
        roots
    }

    /// Returns the facts of each file or folder that a transfer begins with.
    pub fn files(&self) -> impl Iterator<Item = &FileFacts> {
        let accesses = self.accesses();
        let first = accesses.first().map(Access::action);
        let files = accesses.iter().filter(move |access| Some(access.action()) == first);
        files.filter_map(Access::file)
    }

    fn accesses(&self) -> &[Access] {
        match self {
            Self::Command(_) => &[],
            Self::Files(files) => files,
        }
    }

    /// Forgets the copy of a program, which the plan alone holds from then on.
    pub fn forget_copy(&mut self) {
        if let Self::Command(facts) = self {
            facts.program.digest.iter_mut().for_each(|digest| digest.copy = None);
        }
    }

    /// Returns about how many bytes of memory they take, beside a request.
    pub fn size(&self) -> usize {
        let of = |file: &FileFacts| {
            let lock = file.lock.as_ref().map_or(0, String::len);
            size_of::<Access>() + file.path.as_os_str().len() + lock
        };
        self.accesses().iter().filter_map(Access::file).map(of).sum()
    }

    /// Returns what would be done, in a text short enough for a frame.
    pub fn shown(&self) -> String {
        match self {
            Self::Command(facts) => {
                let shown = |text: &std::ffi::OsStr| printable(&text.to_string_lossy());
                let (program, account) =
                    (shown(facts.program.path.as_os_str()), shown(&facts.account));
                format!("{program} as {account} in {}", shown(facts.cwd.as_os_str()))
            }
            Self::Files(files) => match files.as_slice() {
                [] => "nothing".to_owned(),
                [one] => one.to_string(),
                [first, more @ ..] => format!("{first} and {} more", more.len()),
            },
        }
    }
}
