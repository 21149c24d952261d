use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use rcmd_client::Outcome;
use rcmd_client::hosts::HostSet;
use rcmd_client::inventory::{Inventory, parse_hosts_toml};
use rcmd_protocol::request::Request;
use tempfile::TempDir;

use super::*;
use crate::fleet::templates::Templates;

const HOSTS: &str = "
[hosts.a1]
address = '10.0.0.1'
port = 7264
certificate = 'c1'
user = 'deploy'
labels = { role = 'web' }
vars = { id = 'x y', unused = 'secret', list = [1] }
";

fn targets(count: usize) -> Arc<[HostTarget]> {
    let mut inventory = Inventory::default();
    inventory.add(parse_hosts_toml(HOSTS.as_bytes(), "hosts.toml".as_ref()).unwrap());
    let set: HostSet = (1..=count).map(|number| format!("a{number}").into()).collect();
    set.targets(&inventory).unwrap().into()
}

fn plan(count: usize) -> Plan {
    Plan {
        command: CommandSpec::Exec {
            program: "echo".into(),
            arguments: vec!["{host}".into(), OsString::from_vec(b"\xff\n\x1b".to_vec()), "".into()],
        },
        env: vec![("A".into(), "{var.id}".into()), (OsString::from_vec(vec![0xfe]), "b".into())],
        cwd: Some("/srv/{label.role}".into()),
        templates: true,
        user: Some("root".into()),
        timeout: Some(Duration::from_millis(1500)),
        lock: Some(("deploy".to_owned(), Duration::from_secs(3))),
        key: None,
        input: false,
        targets: targets(count),
    }
}

fn report(host: &str, code: u8) -> Report {
    let failure = WireError::new(ErrorKind::Lost, "x");
    let report = Report::without_job(host, Outcome::Exited, failure);
    Report { code: Some(code), error: None, ..report }
}

fn digest() -> RequestDigest {
    Request::exec(["x"]).build().unwrap().digest()
}

/// A folder of certificates.
struct Dir(TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn create(&self, plan: &Plan) -> Record {
        Record::create(self.path(), plan).unwrap()
    }

    /// Makes a record of two hosts of which the first has ended, and returns its file.
    fn record(&self) -> (RunId, PathBuf) {
        let mut record = self.create(&plan(2));
        send(&mut record, 0, 1);
        record.ended(0, &report("a1", 3)).unwrap();
        send(&mut record, 1, 1);
        (record.id(), self.path().join(format!("runs/{}.jsonl", record.id())))
    }

    fn open(&self, which: &str) -> Result<(Record, Recorded), WireError> {
        Record::open(self.path(), which)
    }

    /// Refuses to take the last record up, and says this.
    fn assert_refused(&self, says: &str) {
        let failure = self.open("last").unwrap_err();
        assert!(failure.message.contains(says), "{failure} says nothing of {says:?}");
        assert!(failure.hint.is_some(), "{failure}");
        assert_eq!(failure.kind.not_started_status(), 125);
    }
}

fn send(record: &mut Record, index: usize, attempt: u32) -> Key {
    let key = Key::from_text(&record.key_text(index, attempt));
    record.sending(index, attempt, key, 7, digest()).unwrap();
    key
}

#[test]
fn a_run_reads_back_with_all_that_a_resume_needs() {
    let dir = Dir::new();
    let asked = plan(2);
    let record = dir.create(&asked);
    let id = record.id();
    drop(record);
    let (_, recorded) = dir.open("last").unwrap();
    let read = &recorded.plan;
    assert_eq!((recorded.id, read.command.clone()), (id, asked.command.clone()));
    assert_eq!((&read.env, &read.cwd, &read.user), (&asked.env, &asked.cwd, &asked.user));
    assert_eq!((read.timeout, &read.lock, &read.key), (asked.timeout, &asked.lock, &None));
    assert_eq!((read.templates, read.input), (true, false));
    assert_eq!(recorded.states, vec![TargetState::default(); 2]);
    assert!(recorded.began.abs_diff(now()) < 60_000 && recorded.resumed.is_empty());
    for (before, after) in asked.targets.iter().zip(read.targets.iter()) {
        assert_eq!((&before.name, before.index), (&after.name, after.index));
        assert_eq!(before.target, after.target);
        assert_eq!(before.user(), after.user());
        assert!(before.labels().eq(after.labels()));
    }
    // The first host is filled as it was; variables that no template names are not kept.
    let fill = |plan: &Plan| {
        let text = (&plan.command, &plan.env, plan.cwd.as_deref());
        Templates::read(text.0, text.1, text.2, true).fill(&plan.targets[0]).unwrap()
    };
    assert_eq!(fill(read), fill(&asked));
    assert_eq!(read.targets[0].vars().unwrap().len(), 1);
}

#[test]
fn starts_and_ends_read_back_as_the_last_of_each_host() {
    let dir = Dir::new();
    let mut record = dir.create(&plan(4));
    let first = send(&mut record, 0, 1);
    record.ended(0, &report("a1", 0)).unwrap();
    send(&mut record, 1, 1);
    record.ended(1, &report("a2", 1)).unwrap();
    let second = send(&mut record, 1, 2);
    let refused = WireError::new(ErrorKind::Unreachable, "no route").hint("Try.");
    let refused = Report::without_job("a3", Outcome::NotStarted, refused);
    record.ended(2, &refused).unwrap();
    record.resumed().unwrap();
    drop(record);

    let (record, recorded) = dir.open("last").unwrap();
    let [done, again, never, waits] = &recorded.states[..] else { panic!("{recorded:?}") };
    assert_eq!(done.end.as_deref(), Some(&report("a1", 0)));
    assert_eq!(done.sent.map(|sent| sent.key), Some(first));
    assert_eq!((again.attempt, &again.end), (2, &None), "the end was that of an earlier start");
    let sent = again.sent.unwrap();
    assert_eq!((sent.key, sent.generation, sent.digest), (second, 7, digest()));
    assert_eq!((never.attempt, never.sent, never.end.as_deref()), (0, None, Some(&refused)));
    assert_eq!(waits, &TargetState::default());
    assert_eq!(recorded.resumed.len(), 1);
    assert_eq!(record.attempts, [1, 2, 0, 0]);
    let stages = recorded.states.iter().map(|state| Stage::of(state, false));
    use Stage::*;
    assert!(stages.eq([Exited, Unknown, NotStarted, NotStarted]));
    let stages = recorded.states.iter().map(|state| Stage::of(state, true));
    assert!(stages.eq([Exited, Running, NotStarted, Waiting]));
}

#[test]
fn a_key_is_that_of_one_attempt_of_one_host() {
    let dir = Dir::new();
    let record = dir.create(&plan(2));
    let text = |index, attempt| String::from_utf8(record.key_text(index, attempt)).unwrap();
    let id = record.id();
    assert_eq!(text(0, 1), format!("{id}\na1"));
    assert_eq!(text(1, 1), format!("{id}\na2"));
    assert_eq!(text(1, 2), format!("{id}\na2\n2"));
    let named = dir.create(&Plan { key: Some("deploy-7".into()), ..plan(1) });
    assert_eq!(named.key_text(0, 1), b"deploy-7\na1");
    assert_eq!(named.key_text(0, 3), b"deploy-7\na1\n3");
}

#[test]
fn wherever_a_record_is_cut_off_its_whole_lines_count_and_it_is_gone_on_with() {
    let dir = Dir::new();
    let (_, path) = dir.record();
    let whole = fs::read(&path).unwrap();
    let ends: Vec<usize> = (1..=whole.len()).filter(|&end| whole[end - 1] == b'\n').collect();
    let [_, _, planned, sent, ended, last] = ends[..] else { panic!("{ends:?}") };
    assert_eq!(last, whole.len());
    for length in 0..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        if length < planned {
            dir.assert_refused("nothing was run");
            continue;
        }
        let (mut record, recorded) = dir.open("last").unwrap();
        let [first, second] = &recorded.states[..] else { panic!("{recorded:?}") };
        assert_eq!(first.attempt, u32::from(length >= sent), "{length}");
        assert_eq!(first.end.is_some(), length >= ended, "{length}");
        assert_eq!(second.sent.is_some(), length == last, "{length}");
        record.ended(1, &report("a2", 9)).unwrap();
        drop(record);
        let (_, recorded) = dir.open("last").unwrap();
        assert_eq!(recorded.states[1].end.as_ref().unwrap().code, Some(9), "{length}");
    }
}

#[test]
fn what_is_damaged_is_refused_with_its_line() {
    let dir = Dir::new();
    let (id, path) = dir.record();
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let sent = lines[3];
    for (line, text, says) in [
        (1, "{\"run\":{\"version\":2}}".to_owned(), "has format 2"),
        (1, "[]".to_owned(), ":1:"),
        (1, lines[1].to_owned(), ":1:"),
        (1, lines[0].replace("\"targets\":2", "\"targets\":3"), ":4:1: a target is missing"),
        (
            1,
            lines[0].replace("\"targets\":2", "\"targets\":1"),
            ":3:1: this target is one too many",
        ),
        (1, lines[0].replace("\"targets\":2", "\"targets\":100001"), "at most 100000 hosts"),
        (
            1,
            lines[0].replace(&id.to_string(), "0000000000000001"),
            "the record of the run 00000000",
        ),
        (1, lines[0].replace("\"mode\":\"exec\"", "\"mode\":\"shell\""), "a line has one word"),
        (2, lines[1].replace("\"port\":7264", "\"port\":70000"), ":2:"),
        (4, sent.replace("\"index\":0", "\"index\":2"), ":4:1: there is no target 2 of 2"),
        (4, sent.replace("\"attempt\":1", "\"attempt\":0"), ":4:1: attempt is 0"),
        (4, sent.replace("\"key\":\"", "\"key\":\"x"), ":4:1: key is no key"),
        (4, sent.replace("\"digest\":\"", "\"digest\":\"x"), ":4:1: digest is no digest"),
        (4, sent.replace("\"at\":\"2", "\"at\":\"x2"), "no time of RFC 3339"),
        (4, sent.replace("{\"sent\"", "{\"s\u{1b}nt\""), ":4:"),
        (4, format!("{sent}{sent}"), ":4:"),
        (5, String::new(), ":5:"),
        (6, lines[0].to_owned(), ":6:1: a second run begins"),
    ] {
        let mut damaged = lines.clone();
        damaged[line - 1] = &text;
        fs::write(&path, damaged.join("\n") + "\n").unwrap();
        dir.assert_refused(says);
        let told = dir.open("last").unwrap_err().message;
        assert!(!told.contains(char::is_control), "{told:?}");
    }
    // It was copied under another name.
    fs::write(&path, &whole).unwrap();
    fs::rename(&path, path.with_file_name("ffffffffffffffff.jsonl")).unwrap();
    dir.assert_refused(&format!("this is the record of the run {id}"));
}

#[test]
fn a_line_without_end_is_not_read_to_its_end() {
    let dir = Dir::new();
    let (_, path) = dir.record();
    let mut bytes = fs::read(&path).unwrap();
    bytes.resize(bytes.len() + usize::try_from(LONGEST_LINE).unwrap() + 1, b' ');
    fs::write(&path, bytes).unwrap();
    dir.assert_refused(":7:1: a line has at most 16 MiB");
    assert!(grown(LARGEST - 1, b"\n").is_ok());
    assert_eq!(grown(LARGEST, b"\n").unwrap_err().kind(), io::ErrorKind::FileTooLarge);
}

#[test]
fn the_longest_command_line_that_the_kernel_takes_is_read_again() {
    let dir = Dir::new();
    // 2 MiB of arguments, each byte of which JSON writes as six.
    let arguments = vec![OsString::from("\u{1}".repeat(128 * 1024 - 1)); 16];
    let command = CommandSpec::Exec { program: "x".into(), arguments };
    drop(dir.create(&Plan { command: command.clone(), ..plan(1) }));
    assert_eq!(dir.open("last").unwrap().1.plan.command, command);
}

#[test]
fn one_process_writes_a_record_and_others_see_that_it_does() {
    let dir = Dir::new();
    let mut record = dir.create(&plan(1));
    send(&mut record, 0, 1);
    dir.assert_refused("still goes on, in another process");
    assert!(look(dir.path(), "last").unwrap().running);
    drop(record);
    assert!(!look(dir.path(), "last").unwrap().running);
    let (first, _) = dir.open("last").unwrap();
    dir.assert_refused("still goes on, in another process");
    drop(first);
    assert!(dir.open("last").is_ok());
}

#[test]
fn the_last_hundred_are_kept_and_whatever_still_goes_on() {
    let dir = Dir::new();
    let oldest = dir.create(&plan(1));
    let second = dir.create(&plan(1)).id();
    fs::write(dir.path().join("runs/notes.txt"), "").unwrap();
    for _ in 0..KEPT - 2 {
        dir.create(&plan(1));
    }
    assert_eq!(names(dir.path()).unwrap().len(), KEPT);
    let last = dir.create(&plan(1)).id();
    let kept = names(dir.path()).unwrap();
    assert_eq!(kept.len(), KEPT + 1, "the one that still goes on is not removed");
    assert_eq!((kept[0], kept[1], kept[KEPT]), (oldest.id(), second, last));
    drop(oldest);
    dir.create(&plan(1));
    let kept = names(dir.path()).unwrap();
    assert_eq!(kept.len(), KEPT);
    assert!(!kept.contains(&second));
    assert!(dir.path().join("runs/notes.txt").exists());
}

#[test]
fn records_are_this_users_alone() {
    let dir = Dir::new();
    let (_, path) = dir.record();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let folder = path.parent().unwrap();
    assert_eq!((mode(&path), mode(folder)), (0o600, 0o700));
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    set(&path, 0o640).unwrap();
    dir.assert_refused("chmod 600");
    set(&path, 0o600).unwrap();
    set(folder, 0o750).unwrap();
    dir.assert_refused("chmod 700");
    let failure = Record::create(dir.path(), &plan(1)).unwrap_err();
    assert!(failure.hint.unwrap().contains("can't be resumed"));
    set(folder, 0o700).unwrap();
    assert!(dir.open("last").is_ok());
}

#[test]
fn links_pipes_and_folders_are_no_records_and_are_not_waited_for() {
    let dir = Dir::new();
    let (_, path) = dir.record();
    let last = path.with_file_name("ffffffffffffffff.jsonl");
    symlink(&path, &last).unwrap();
    dir.assert_refused("cannot read");
    fs::remove_file(&last).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &last,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    assert!(look(dir.path(), "last").unwrap_err().message.contains("is not a regular file"));
    assert!(dir.open("last").is_err());
    fs::remove_file(&last).unwrap();
    // A link in place of the folder leads to where others may write.
    let folder = path.parent().unwrap();
    fs::rename(folder, dir.path().join("elsewhere")).unwrap();
    symlink(dir.path().join("elsewhere"), folder).unwrap();
    dir.assert_refused("cannot read");
    assert!(Record::create(dir.path(), &plan(1)).is_err());
}

#[test]
fn what_is_not_there_is_told_and_nothing_is_made_by_looking() {
    let dir = Dir::new();
    dir.assert_refused("no run over many hosts is recorded");
    assert_eq!(names(dir.path()).unwrap(), []);
    assert!(!dir.path().join("runs").exists());
    let refused = |which: &str| dir.open(which).unwrap_err().message;
    assert!(refused("19ac7436cdbdef01").contains("no run 19ac7436cdbdef01 is recorded"));
    assert!(refused("../x").contains("is the name of no run"));
    // A folder that is not there is not made either.
    let missing = dir.path().join("missing");
    let failure = Record::create(&missing, &plan(1)).unwrap_err();
    assert!(failure.message.contains("does not exist"), "{failure}");
    assert!(!missing.exists());
}

#[test]
fn a_line_that_can_not_be_written_leaves_no_half_of_it() {
    let dir = Dir::new();
    let mut record = dir.create(&plan(1));
    // It takes nothing, and no length can be set.
    record.file = File::options().append(true).open("/dev/full").unwrap();
    let key = Key::from_text(b"k");
    let failed = record.sending(0, 1, key, 7, digest()).unwrap_err();
    assert_eq!(failed.kind(), io::ErrorKind::StorageFull);
    assert!(record.broken && record.resumed().is_err());
}

#[test]
fn a_start_whose_line_was_lost_is_not_mixed_up_with_an_earlier_one() {
    let dir = Dir::new();
    let mut record = dir.create(&plan(1));
    send(&mut record, 0, 1);
    record.ended(0, &report("a1", 1)).unwrap();
    // As if the line of the second start had not been written.
    record.attempts[0] = 2;
    record.ended(0, &Report { code: None, ..report("a1", 0) }).unwrap();
    drop(record);
    let state = dir.open("last").unwrap().1.states.remove(0);
    assert_eq!((state.attempt, state.sent), (2, None));
}
