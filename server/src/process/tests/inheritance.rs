//! Tests of what a command inherits from a server that was itself started in an unclean
//! environment.

use super::*;
use crate::process::prepare_self;

over_both! {
    ignored_signals_stay_with_the_server,
    blocked_signals_stay_with_the_server,
    descriptors_and_the_umask_stay_with_the_server,
    a_server_under_nohup_runs_clean_commands,
    a_server_in_the_background_runs_clean_commands,
    a_command_can_not_reach_the_servers_terminal,
}

/// The name of the test that is also run as the server.
const SERVER: &str = "process::tests::inheritance::a_server_from_a_clean_world_runs_clean_commands";

/// The variable that is set for the process that runs as the server.
const AS_SERVER: &str = "TEST_AS_SERVER";

/// Starts this test again as the server, as the tests below do.
#[test]
fn a_server_from_a_clean_world_runs_clean_commands() {
    let served = std::env::var(AS_SERVER);
    if served.is_ok() {
        prepare_self().unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match served.as_deref() {
        Ok("cgroup") => println!("{}", runtime.block_on(WAY.scope(Spawn::Cgroup, serve()))),
        Ok(_) => println!("{}", runtime.block_on(WAY.scope(Spawn::Portable, serve()))),
        Err(_) => {
            let line = "exec \"$@\"";
            assert_clean(&runtime.block_on(WAY.scope(Spawn::Portable, seen(line))));
        }
    }
}

/// Runs commands as the server, and returns their output.
async fn serve() -> String {
    let processes = processes();
    // Not by a shell, which would empty the signal mask of what it starts.
    let status = output_of(&processes, &plan("/bin/cat", &["/proc/self/status"])).await;
    let line = "echo Descriptors: $(ls /proc/self/fd); \
        (: </dev/tty) 2>/dev/null && echo Terminal: yes || echo Terminal: no";
    status + &output_of(&processes, &shell(line)).await
}

/// Returns the output of a command whose server was started by this line, in which `"$@"` is the
/// server.
async fn seen(line: &str) -> Vec<(String, String)> {
    let processes = processes();
    let server = std::env::current_exe().unwrap();
    let mut plan = plan(
        "/bin/sh",
        &["-c", line, "sh", server.to_str().unwrap(), SERVER, "--exact", "--nocapture"],
    );
    plan.stdin = true;
    let way = if WAY.get() == Spawn::Cgroup { "cgroup" } else { "portable" };
    plan.env.push((AS_SERVER.into(), way.into()));
    let mut process = processes.spawn(&plan, IDENTITY, &CALLED_OFF_NEVER).await.unwrap();
    let mut errors = pipe_of(process.stderr.take());
    let mut started = Started { stdout: BufReader::new(pipe_of(process.stdout.take())), process };
    let output = started.rest().await;
    let mut complaints = String::new();
    errors.read_to_string(&mut complaints).await.unwrap();
    let fields = output.lines().filter_map(|line| line.split_once(':'));
    let fields: Vec<_> =
        fields.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect();
    assert!(fields.iter().any(|(name, _)| name == "Terminal"), "{output}{complaints}");
    fields
}

fn assert_clean(fields: &[(String, String)]) {
    let field = |name: &str| {
        let found = fields.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_else(|| panic!("no {name}"))
    };
    assert_eq!(field("SigBlk"), "0000000000000000");
    // glibc's posix_spawn(3) leaves the two signals that it reserves, 32 and 33, ignored.
    let ignored = u64::from_str_radix(field("SigIgn"), 16).unwrap();
    let has_cgroups = WAY.try_with(|way| *way == Spawn::Cgroup).unwrap_or(false);
    let reserved = if has_cgroups { 0 } else { 0b11 << 31 };
    assert_eq!(ignored & !reserved, 0, "{ignored:x}");
    assert_eq!(field("Umask"), "0022");
    // The last one is the folder that lists them.
    assert_eq!(field("Descriptors"), "0 1 2 3");
    assert_eq!(field("Terminal"), "no");
}

async fn ignored_signals_stay_with_the_server() {
    assert_clean(&seen("trap '' HUP INT QUIT TERM USR1 CHLD PIPE TSTP; exec \"$@\"").await);
}

async fn blocked_signals_stay_with_the_server() {
    assert_clean(&seen("exec env --block-signal=HUP,TERM,USR2,CHLD \"$@\"").await);
}

async fn descriptors_and_the_umask_stay_with_the_server() {
    assert_clean(&seen("umask 077; exec 3</dev/null 7>/dev/null 9<&0; exec \"$@\"").await);
}

async fn a_server_under_nohup_runs_clean_commands() {
    assert_clean(&seen("exec nohup \"$@\"").await);
}

async fn a_server_in_the_background_runs_clean_commands() {
    assert_clean(&seen("\"$@\" & wait").await);
}

async fn a_command_can_not_reach_the_servers_terminal() {
    let processes = processes();
    if output_of(&processes, &shell("command -v script")).await.is_empty() {
        println!("skipped: needs script(1)");
        return;
    }
    // The output is a terminal's, with CR; once as the leader of the session, and once below it.
    assert_clean(&seen("script -qec \"exec $*\" /dev/null").await);
    assert_clean(&seen("script -qec \"$*; :\" /dev/null").await);
}
