//! Files that were damaged: each program names the file and the fault, and prints nothing of what the
//! file holds, which may be a private key.

use std::fs;
use std::path::Path;
use std::process::Output;

use rcmd_tests::audit::records;
use rcmd_tests::damage::Secrets;
use rcmd_tests::soak::Judged as _;
use rcmd_tests::{World, eventually};
use rustix::process::Signal;

/// The texts that replace the ends of lines: by `tr -d '\n'`, in a variable of a shell, in a
/// variable of CI.
const ENDS: [&str; 3] = ["", " ", "\\n"];

/// Damages a key, and returns what is to be found nowhere.
fn lose_lines(key: &Path, end: &str) -> Secrets {
    let good = fs::read_to_string(key).unwrap();
    let mut secrets = Secrets::default();
    secrets.add_key(&good);
    fs::write(key, good.replace('\n', end)).unwrap();
    secrets
}

#[track_caller]
fn assert_named(done: &Output, key: &str, secrets: &Secrets) {
    let said = [done.stdout.as_slice(), &done.stderr].concat();
    let text = String::from_utf8_lossy(&said);
    assert!(!done.status.success(), "{text}");
    assert!(text.contains(key) && text.contains("line breaks"), "{text}");
    assert!(text.contains("restore it from a backup"), "{text}");
    assert_eq!(secrets.found_in(&said), None, "{text}");
}

#[test]
fn a_server_s_key_without_its_line_breaks_is_named_and_never_printed() {
    for end in ENDS {
        let world = World::builder().prepare();
        let secrets = lose_lines(&world.dir().join("server/key.pem"), end);
        for words in [&["--check-config"][..], &[]] {
            let done = world.server_program().args(words).output().unwrap();
            assert_named(&done, "server/key.pem", &secrets);
        }
    }
}

#[test]
fn a_running_server_writes_nothing_of_a_damaged_key_into_its_log_or_its_audit() {
    let world = World::start();
    let mut secrets = Secrets::default();
    for (n, end) in ENDS.into_iter().enumerate() {
        let key = world.dir().join("server/key.pem");
        let good = fs::read(&key).unwrap();
        secrets = lose_lines(&key, end);
        world.signal_server(Signal::HUP);
        world.wait_for_log_lines("the old ones stay in use", n + 1);
        fs::write(&key, good).unwrap();
    }
    let failed = |record: &serde_json::Value| record.to_string().contains("server/key.pem");
    eventually("the audit has all", || {
        records(&world).iter().filter(|record| failed(record)).count() == ENDS.len()
    });
    let log = world.log().join("\n");
    assert!(log.contains("server/key.pem"), "{log}");
    let audit: Vec<_> = records(&world).iter().map(ToString::to_string).collect();
    for text in [log, audit.join("\n")] {
        assert_eq!(secrets.found_in(text.as_bytes()), None, "{text}");
    }
    world.exec(["true"]).run().assert_code(0);
}

#[test]
fn a_client_s_key_without_its_line_breaks_is_named_and_never_printed() {
    for end in ENDS {
        let world = World::start();
        let secrets = lose_lines(&world.dir().join("client/key.pem"), end);
        for options in [&[][..], &["--json"]] {
            let done = world.exec(["true"]).options(options).with_result().run();
            done.assert_code(125);
            let result = done.result().to_string();
            for said in [&done.stdout[..], &done.stderr, result.as_bytes()] {
                assert_eq!(secrets.found_in(said), None, "{}", done.story());
            }
            assert!(result.contains("client/key.pem"), "{result}");
        }
        let doctor = world.bare_client(["doctor", "--dir"]).words([world.dir()]);
        let done = doctor.words([world.target()]).run();
        let said = [&done.stdout[..], &done.stderr].concat();
        assert_ne!(done.code(), 0);
        assert_eq!(secrets.found_in(&said), None, "{}", done.story());
    }
}

#[test]
fn the_authority_s_key_without_its_line_breaks_is_named_and_never_printed() {
    for end in ENDS {
        let world = World::builder().prepare();
        let secrets = lose_lines(&world.dir().join("authority/key.pem"), end);
        for words in [&["list"][..], &["issue", "client", "bob"], &["serve"]] {
            let done = world.certs().args(words).arg("--dir").arg(world.dir()).output().unwrap();
            assert_named(&done, "authority/key.pem", &secrets);
        }
    }
}

#[test]
fn a_key_that_stands_where_a_setting_belongs_is_never_printed() {
    let world = World::builder().prepare();
    let pem = fs::read_to_string(world.dir().join("server/key.pem")).unwrap();
    let mut secrets = Secrets::default();
    secrets.add_key(&pem);
    // Of letters and digits alone, as the line is now and then, it would be a name like any other.
    let line = pem.lines().nth(1).unwrap();
    let everywhere = [format!("{line} = 1\n"), format!("{line:?} = 1\n"), pem.clone()];
    let texts =
        |settings: &[String]| everywhere.iter().chain(settings).cloned().collect::<Vec<_>>();
    let server = texts(&[
        format!("grace = {line:?}\n"),
        format!("path = {line:?}\n"),
        format!("[host]\nname = \"{line}/\"\n"),
    ]);
    let identity = texts(&[
        format!("ca = {line:?}\n"),
        format!("[[user]]\nmatch = {line:?}\n"),
        format!("[[user]]\nmatch = \"email:x\"\nname = \"{line}/\"\n"),
        format!("[[user]]\nmatch = \"email:*\"\nca = \"/{line}\"\n"),
    ]);
    for (file, texts) in [("identity.toml", identity), ("server.toml", server)] {
        for text in texts {
            fs::write(world.dir().join(file), &text).unwrap();
            let done = world.server_program().arg("--check-config").output().unwrap();
            let said = [done.stdout.as_slice(), &done.stderr].concat();
            let shown = String::from_utf8_lossy(&said);
            assert!(!done.status.success() && shown.contains(file), "{file}: {shown}");
            assert_eq!(secrets.found_in(&said), None, "{file}: {shown}");
        }
        fs::remove_file(world.dir().join(file)).unwrap();
    }
    let client = texts(&[format!("connect_timeout = {line:?}\n")]);
    let hosts = texts(&[
        format!("host = {line:?}\n"),
        format!("[hosts.web1]\n{line:?} = 1\n"),
        format!("[hosts.web1]\naddress = 1\nport = {line:?}\n"),
    ]);
    for (file, texts) in [("client.toml", client), ("hosts.toml", hosts)] {
        for text in texts {
            fs::write(world.dir().join(file), &text).unwrap();
            let done = world.exec(["true"]).run();
            let said = [&done.stdout[..], &done.stderr].concat();
            done.assert_code(125).assert_says(file);
            assert_eq!(secrets.found_in(&said), None, "{file}: {}", done.story());
        }
        fs::remove_file(world.dir().join(file)).unwrap();
    }
}

#[test]
fn no_damage_of_any_file_has_a_secret_printed_or_a_program_die() {
    // CI's share; `soak damage` has 10,000.
    let figures = rcmd_tests::soak::damage::run(170, 1);
    assert!(figures.are_good(), "{figures}");
}

#[test]
fn the_search_for_secrets_finds_them_in_every_form() {
    let mut secrets = Secrets::default();
    let key = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n-----END PRIVATE KEY-----\n";
    secrets.add_key(key);
    secrets.add_text("correct horse");
    for found in [
        key.to_owned(),
        key.replace('\n', ""),
        format!("{:?}", key.as_bytes()),
        format!("{:02x?}", key.as_bytes()),
        format!("{:?}", (0..32).collect::<Vec<u8>>()),
        (0..32).map(|byte| format!("{byte:02x}")).collect(),
        "Correct Horse".to_owned(),
        "EBQYHCAkKC".to_owned(),
    ] {
        assert!(secrets.found_in(found.as_bytes()).is_some(), "{found}");
    }
    for harmless in ["MC4CAQAwBQYDK2VwBCIEI", "-----BEGIN PRIVATE KEY-----", "1, 2, 3, 4, 5", ""] {
        assert_eq!(secrets.found_in(harmless.as_bytes()), None);
    }
}
