//! Tests of the way from a request to a plan.

use std::{
    ffi::OsStr,
    fs::{self, Permissions},
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::PermissionsExt as _,
    },
    path::Path,
};

use rcmd_protocol::{
    outcome::{ErrorKind, WireError},
    request::Request,
};
use tempfile::TempDir;

use crate::process::{Account, Gid, Looks, Plan, Uid, environment, resolve::Draft};

/// A host with a home folder, and programs in two folders of PATH.
struct Host {
    folder: TempDir,
    account: Account,
    path: String,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in ["home", "home/bin", "one", "two", "two/folder"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        let account = Account {
            name: "ada".into(),
            uid: Uid::from_raw(1000),
            gid: Gid::from_raw(1000),
            home: root.join("home"),
            shell: "/bin/sh".into(),
            credentials: None,
        };
        let path = format!("{0}/one:{0}/two::bin", root.display());
        Self { folder, account, path }
    }

    fn file(&self, name: impl AsRef<Path>, mode: u32) {
        let path = self.folder.path().join(name);
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }

    /// Returns what would run, and the note about it.
    fn resolve(&self, request: &Request) -> Result<Resolved, WireError> {
        let draft = Draft::new(request, &self.account, &self.path, "j1", "user:ada")?;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = runtime.block_on(Looks::here().find(None, draft.find().clone()))?;
        let note = found.facts.note.clone();
        Ok(Resolved { plan: draft.plan(request, &self.account, "j1", found), note })
    }

    /// Returns where the program of this name is found, relative to the host's folder.
    fn found(&self, name: &str) -> Result<String, ErrorKind> {
        let resolved = self.resolve(&exec(&[name.as_bytes()])).map_err(|failure| {
            assert!(failure.message.contains(name) && failure.hint.is_some(), "{failure:?}");
            failure.kind
        })?;
        let program = resolved.plan.program.strip_prefix(self.folder.path()).unwrap().to_owned();
        Ok(program.into_os_string().into_string().unwrap())
    }
}

#[derive(Debug)]
struct Resolved {
    plan: Plan,
    note: Option<String>,
}

fn exec(args: &[&[u8]]) -> Request {
    Request::exec(args.iter().copied()).build().unwrap()
}

#[test]
fn the_first_that_can_be_executed_is_taken() {
    let host = Host::new();
    host.file("one/tool", 0o644);
    host.file("two/tool", 0o755);
    assert_eq!(host.found("tool").unwrap(), "two/tool");
    host.file("one/tool", 0o755);
    assert_eq!(host.found("tool").unwrap(), "one/tool");
}

#[test]
fn what_exists_but_can_not_be_executed_is_told_from_what_does_not_exist() {
    let host = Host::new();
    host.file("one/plain", 0o644);
    assert_eq!(host.found("plain").unwrap_err(), ErrorKind::NotExecutable);
    assert_eq!(host.found("folder").unwrap_err(), ErrorKind::NotExecutable);
    assert_eq!(host.found("missing").unwrap_err(), ErrorKind::NotFound);
    assert_eq!(host.found("./missing").unwrap_err(), ErrorKind::NotFound);
    assert_eq!(host.found("./bin").unwrap_err(), ErrorKind::NotExecutable);
}

#[test]
fn names_with_a_slash_and_relative_folders_count_from_the_working_folder() {
    let host = Host::new();
    host.file("home/bin/own", 0o755);
    host.file("home/here", 0o755);
    assert_eq!(host.found("bin/own").unwrap(), "home/bin/own");
    assert_eq!(host.found("own").unwrap(), "home/bin/own");
    assert_eq!(host.found("./here").unwrap(), "home/./here");
    let from_one = exec(&[b"own"]).to_builder().cwd("../one").build().unwrap();
    assert_eq!(host.resolve(&from_one).unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn an_empty_element_of_path_is_no_folder() {
    let host = Host::new();
    host.file("home/here", 0o755);
    assert_eq!(host.found("here").unwrap_err(), ErrorKind::NotFound);
}

#[test]
fn the_path_of_the_request_is_the_one_that_is_searched() {
    let host = Host::new();
    host.file("home/bin/tool", 0o755);
    host.file("two/tool", 0o755);
    let path = format!("PATH={}/home/bin", host.folder.path().display());
    let request = exec(&[b"tool"]).to_builder().env(path).build().unwrap();
    assert!(host.resolve(&request).unwrap().plan.program.ends_with("home/bin/tool"));
}

#[test]
fn names_and_arguments_are_bytes() {
    let host = Host::new();
    host.file(Path::new("two").join(OsStr::from_bytes(b"\xff tool")), 0o755);
    let plan = host.resolve(&exec(&[b"\xff tool", b"\xfe", b""])).unwrap().plan;
    assert!(plan.program.as_os_str().as_bytes().ends_with(b"/two/\xff tool"));
    assert_eq!(plan.arg0.into_vec(), b"\xff tool");
    assert_eq!(plan.args.iter().map(|arg| arg.as_bytes()).collect::<Vec<_>>(), [&b"\xfe"[..], b""]);
}

#[test]
fn a_line_goes_to_the_shell_of_the_account() {
    let host = Host::new();
    let request = Request::shell("df -h | sort").stdin(true).build().unwrap();
    let Resolved { plan, note } = host.resolve(&request).unwrap();
    let Plan { program, arg0, args, env, cwd, job, stdin, .. } = plan;
    assert_eq!((program.to_str(), arg0.to_str()), (Some("/bin/sh"), Some("sh")));
    assert_eq!(args, ["-c", "df -h | sort"]);
    assert_eq!(environment::get(&env, "RCMD_JOB").unwrap(), "j1");
    assert_eq!((cwd, job.as_str(), stdin), (host.account.home, "j1", true));
    assert_eq!(note, None);
}

#[test]
fn a_shell_that_does_not_exist_is_not_found() {
    let mut host = Host::new();
    host.account.shell = "/no/such/shell".into();
    let failure = host.resolve(&Request::shell(":").build().unwrap()).unwrap_err();
    assert_eq!(failure.kind, ErrorKind::NotFound);
    assert!(failure.message.contains("/no/such/shell"));
}

#[test]
fn a_home_that_is_gone_is_no_reason_not_to_run() {
    let mut host = Host::new();
    host.account.home = host.folder.path().join("gone");
    let Resolved { plan, note } = host.resolve(&exec(&[b"/bin/true"])).unwrap();
    assert_eq!(plan.cwd, Path::new("/"));
    let note = note.unwrap();
    assert!(note.contains("gone") && note.ends_with("started in / instead"), "{note}");
}

#[test]
fn a_folder_that_was_asked_for_must_be_there() {
    let host = Host::new();
    host.file("home/file", 0o755);
    for cwd in ["missing", "/no/such/folder", "file"] {
        let request = exec(&[b"/bin/true"]).to_builder().cwd(cwd).build().unwrap();
        let failure = host.resolve(&request).unwrap_err();
        assert_eq!(failure.kind, ErrorKind::NoSuchDir);
        assert!(failure.message.contains(cwd), "{failure}");
    }
}

#[test]
fn a_setting_that_is_the_servers_own_is_refused() {
    let host = Host::new();
    let request = exec(&[b"/bin/true"]).to_builder().env("RCMD_JOB=other").build().unwrap();
    assert_eq!(host.resolve(&request).unwrap_err().kind, ErrorKind::Usage);
}
