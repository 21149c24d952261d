//! Tests of commands of another user: what they are, and what they can't become again.
#![allow(unsafe_code)]

use std::{collections::BTreeMap, fs::File, os::unix::fs::PermissionsExt as _};

use nix::libc;
use rcmd_protocol::outcome::{ErrorKind, WireError};
use rustix::fs::{FlockOperation, flock};

use super::{
    stuck::{LeasedProgram, waiting_in},
    *,
};
use crate::process::{Credentials, Gid, Uid};

over_both! {
    all_of_a_process_is_the_other_user,
    no_new_privs_is_there_when_it_is_asked_for,
    nothing_but_its_three_descriptors_and_its_environment_is_given,
    a_folder_that_the_user_can_not_enter_is_refused,
    a_program_that_the_user_can_not_execute_is_refused,
    a_program_of_roots_gives_no_way_back,
    no_terminal_is_in_reach,
    another_users_tree_is_killed,
    a_user_never_looks_into_the_memory_that_its_child_shares,
    a_user_looks_into_no_child_that_has_not_executed_its_program,
    another_user_has_a_session_keyring_of_its_own,
}

/// Returns the credentials of nobody, with two groups; `None` without the right to assume them.
pub(super) fn nobody() -> Option<Credentials> {
    if nix::unistd::geteuid().is_root() {
        let groups = [7, 9].map(Gid::from_raw).to_vec();
        return Some(Credentials {
            uid: Uid::from_raw(65_534),
            gid: Gid::from_raw(65_533),
            groups,
        });
    }
    assert!(std::env::var_os("RCMD_TEST_REQUIRE").is_none(), "needs root");
    println!("skipped: needs root");
    None
}

pub(super) fn as_nobody(program: &str, args: &[&str]) -> Option<Plan> {
    Some(Plan { credentials: Some(nobody()?), ..plan(program, args) })
}

async fn status(plan: &Plan) -> BTreeMap<String, String> {
    let text = output_of(&processes(), plan).await;
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

async fn all_of_a_process_is_the_other_user() {
    let Some(plan) = as_nobody("/bin/cat", &["/proc/self/status"]) else { return };
    let status = status(&plan).await;
    assert_eq!(status["Uid"], "65534\t65534\t65534\t65534");
    assert_eq!(status["Gid"], "65533\t65533\t65533\t65533");
    assert_eq!(status["Groups"], "7 9");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "SigBlk", "SigIgn", "SigCgt"] {
        assert_eq!(status[set], "0000000000000000", "{set}");
    }
    assert_eq!(status["NoNewPrivs"], "0");
}

async fn no_new_privs_is_there_when_it_is_asked_for() {
    let plan = Plan { no_new_privs: true, ..plan("/bin/cat", &["/proc/self/status"]) };
    assert_eq!(status(&plan).await["NoNewPrivs"], "1");
}

async fn nothing_but_its_three_descriptors_and_its_environment_is_given() {
    let line = "echo $(ls /proc/self/fd); tr '\\0' '\\n' </proc/$$/environ | sort";
    let Some(plan) = as_nobody("/bin/sh", &["-c", line]) else { return };
    let path = std::env::var("PATH").unwrap();
    // The last descriptor is the folder that lists them.
    let expected = format!("0 1 2 3\nPATH={path}\nRCMD_JOB={}\n", plan.job);
    assert_eq!(output_of(&processes(), &plan).await, expected);
}

async fn kind_of(plan: &Plan) -> ErrorKind {
    let failure = WireError::from(
        processes().spawn(plan, IDENTITY, &CALLED_OFF_NEVER).await.expect_err("it can't start"),
    );
    assert!(failure.hint.is_some());
    failure.kind
}

fn private_folder() -> tempfile::TempDir {
    let permissions = std::fs::Permissions::from_mode(0o700);
    tempfile::Builder::new().permissions(permissions).tempdir().unwrap()
}

async fn a_folder_that_the_user_can_not_enter_is_refused() {
    let Some(plan) = as_nobody("/bin/true", &[]) else { return };
    let folder = private_folder();
    let plan = Plan { cwd: folder.path().to_owned(), ..plan };
    assert_eq!(kind_of(&plan).await, ErrorKind::NoSuchDir);
}

async fn a_program_that_the_user_can_not_execute_is_refused() {
    let folder = private_folder();
    let path = folder.path().join("tool");
    script(&processes(), &path, "#!/bin/sh\n", "755").await;
    let Some(plan) = as_nobody(path.to_str().unwrap(), &[]) else { return };
    assert_eq!(kind_of(&plan).await, ErrorKind::NotExecutable);
}

async fn a_program_of_roots_gives_no_way_back() {
    let Some(plan) = as_nobody("/bin/sh", &["-c", "id -u; cat /etc/shadow 2>&1 | wc -l"]) else {
        return;
    };
    assert_eq!(output_of(&processes(), &plan).await, "65534\n1\n");
    // The program of su(1) belongs to root and has the set-user-ID bit, which gives no capability
    // here.
    let plan = Plan { args: vec!["-c".into(), "su -c 'id -u' </dev/null 2>&1; :".into()], ..plan };
    let said = output_of(&processes(), &plan).await;
    assert!(!said.lines().any(|line| line == "0"), "{said}");
}

async fn no_terminal_is_in_reach() {
    let Some(plan) = as_nobody("/bin/sh", &["-c", "(: </dev/tty) 2>&1 | grep -c tty"]) else {
        return;
    };
    assert_eq!(output_of(&processes(), &plan).await, "1\n");
    // A session of its own: it can neither take another's terminal by TIOCSCTTY, nor write to one
    // by TIOCSTI.
    let plan = Plan { args: vec!["-c".into(), "cut -d' ' -f1,6,7 /proc/$$/stat".into()], ..plan };
    let seen = output_of(&processes(), &plan).await;
    let fields: Vec<_> = seen.split_whitespace().collect();
    assert_eq!((fields[0], fields[2]), (fields[1], "0"), "{seen}");
}

async fn another_users_tree_is_killed() {
    let line = "trap '' TERM; setsid sleep 600 & echo ready; wait; wait";
    let Some(plan) = as_nobody("/bin/sh", &["-c", line]) else { return };
    let processes = processes();
    let mut started = start(&processes, &plan).await;
    assert_eq!(started.line().await, "ready");
    let kill = timeout(DEADLINE, started.process.tree().kill()).await.unwrap();
    assert!(kill.left.is_empty() && kill.killed >= 2, "{kill:?}");
    assert_eq!(started.rest().await, "");
}

async fn a_user_never_looks_into_the_memory_that_its_child_shares() {
    let Some(plan) = as_nobody("/bin/true", &[]) else { return };
    let (_sysctl, value) = SuidDumpable::hold();
    if value == "1" {
        println!("skipped: fs.suid_dumpable is 1");
        return;
    }
    output_of(&processes(), &plan).await;
    // The kernel took it away when the child changed its user, and it must not be restored: a child
    // of another thread may share the memory at that moment.
    let dumpable = rustix::process::dumpable_behavior().unwrap();
    assert_ne!(dumpable, rustix::process::DumpableBehavior::Dumpable);
}

const SUID_DUMPABLE: &str = "/proc/sys/fs/suid_dumpable";

/// The host's `fs.suid_dumpable`, which all tests share. A test that depends on it holds this
/// shared; a test that changes it holds it exclusively, and restores it.
struct SuidDumpable {
    _locked: File,
    before: Option<String>,
}

impl SuidDumpable {
    fn hold() -> (Self, String) {
        let file = File::open(SUID_DUMPABLE).unwrap();
        flock(&file, FlockOperation::LockShared).unwrap();
        (Self { _locked: file, before: None }, value())
    }

    /// Returns `None` if it can't be changed.
    fn change() -> Option<Self> {
        let file = File::open(SUID_DUMPABLE).unwrap();
        flock(&file, FlockOperation::LockExclusive).unwrap();
        let before = value();
        let before = std::fs::write(SUID_DUMPABLE, &before).ok().map(|()| before)?;
        Some(Self { _locked: file, before: Some(before) })
    }

    fn set(&self, value: &str) {
        std::fs::write(SUID_DUMPABLE, value).unwrap();
    }
}

impl Drop for SuidDumpable {
    fn drop(&mut self) {
        self.before.iter().for_each(|before| self.set(before));
    }
}

fn value() -> String {
    std::fs::read_to_string(SUID_DUMPABLE).unwrap().trim().to_owned()
}

async fn a_user_looks_into_no_child_that_has_not_executed_its_program() {
    let Some(credentials) = nobody() else { return };
    let Some(sysctl) = SuidDumpable::change() else {
        println!("skipped: needs a writable fs.suid_dumpable");
        return;
    };
    for value in ["0", "1", "2"] {
        sysctl.set(value);
        let leased = LeasedProgram::new();
        let processes = processes();
        let start = Plan { credentials: Some(credentials.clone()), ..leased.plan() };
        let starting = processes.spawn(&start, IDENTITY, &CALLED_OFF_NEVER);
        let looking = async {
            let child = waiting_in(leased.folder()).await;
            // The kernel lets only those open its memory who may trace it (proc_pid_mem(5)).
            let line = format!("(: </proc/{child}/mem) 2>/dev/null && echo readable; echo looked");
            let look = as_nobody("/bin/sh", &["-c", &line]).unwrap();
            output_of(&processes, &look).await
        };
        tokio::select! {
            started = starting => panic!("{value}: {:?}", started.map(|process| process.pid())),
            seen = looking => assert_eq!(seen, "looked\n", "fs.suid_dumpable is {value}"),
        }
    }
}

/// Makes a session keyring of this thread with a key in it. The keyring ends with the thread, which
/// starts nothing itself: new threads inherit it.
fn key_in_the_session_keyring(name: &std::ffi::CStr) -> Result<(), std::io::Error> {
    let (join, session) = (libc::KEYCTL_JOIN_SESSION_KEYRING, libc::KEY_SPEC_SESSION_KEYRING);
    let (kind, secret) = (c"user", c"secret");
    // SAFETY: strings ended by NUL, and a payload of the given length.
    let done = unsafe {
        libc::syscall(libc::SYS_keyctl, join, std::ptr::null::<u8>()) >= 0
            && libc::syscall(
                libc::SYS_add_key,
                kind.as_ptr(),
                name.as_ptr(),
                secret.as_ptr(),
                6_usize,
                session,
            ) >= 0
    };
    if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

async fn another_user_has_a_session_keyring_of_its_own() {
    if nobody().is_none() {
        return;
    }
    // The keyring is that of a thread, so the server is made on one whose threads begin with it.
    let way = WAY.get();
    let seen = std::thread::spawn(move || {
        key_in_the_session_keyring(c"rcmd:secret")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let seen = WAY.scope(way, async {
            let processes = processes();
            let own = output_of(&processes, &plan("/bin/cat", &["/proc/keys"])).await;
            let other = as_nobody("/bin/cat", &["/proc/keys"]).unwrap();
            [own, output_of(&processes, &other).await]
        });
        Ok::<_, std::io::Error>(runtime.block_on(seen))
    });
    match seen.join().unwrap() {
        Ok([own, other]) => {
            assert!(own.contains("rcmd:secret"), "{own}");
            assert!(!other.contains("rcmd:secret"), "{other}");
        }
        Err(error) => println!("skipped: needs keyrings: {error}"),
    }
}
