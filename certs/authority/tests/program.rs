//! Tests of the program `rcmd-certs`, as it is typed.
#![allow(clippy::disallowed_methods, reason = "tests may wait")]
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
};

use rcmd_certs::{
    clock,
    paths::Layout,
    tls::{self, ClientFiles, ServerFiles},
};

fn run(arguments: &[&str], directory: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rcmd-certs"))
        .args(arguments)
        .current_dir(directory)
        .env_remove("RCMD_DIR")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[track_caller]
fn succeed(arguments: &[&str], directory: &Path) -> String {
    let output = run(arguments, directory);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {complaint}");
    assert_eq!(complaint, "", "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn fail(arguments: &[&str], directory: &Path, status: i32) -> String {
    let output = run(arguments, directory);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}");
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.starts_with("rcmd: "), "{complaint}");
    complaint
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_rotation_waits_for_nobody_who_never_renews_and_names_them() {
    let root = tempfile::tempdir().unwrap();
    succeed(&["quickstart", "demo"], root.path());
    let rotate = || succeed(&["rotate", "--dir", "demo"], root.path());
    for told in ["was announced", "signs from now on"] {
        let said = rotate();
        assert!(said.contains(told), "{said}");
        assert!(said.contains("behind    client admin\n"), "{said}");
        assert!(said.contains("unless they enroll with a token"), "{said}");
        assert!(!said.contains("waiting "), "{said}");
    }
    assert!(rotate().contains("the rotation is complete"));
}

#[test]
fn quickstart_makes_a_working_folder_and_prints_the_next_commands() {
    let root = tempfile::tempdir().unwrap();
    let report = succeed(&["quickstart", "demo"], root.path());
    assert!(report.contains("rcmd-server --dir demo &\n"), "{report}");
    assert!(report.contains("rcmd-client --dir demo localhost uname -a\n"), "{report}");

    let layout = Layout::new(root.path().join("demo"));
    tls::server_config(&ServerFiles::from(&layout)).unwrap();
    tls::client_config(&ClientFiles::from(&layout)).unwrap();
    assert_eq!(tls::check_server(&ServerFiles::from(&layout)).unwrap(), []);
    assert_eq!(tls::check_client(&ClientFiles::from(&layout)).unwrap(), []);
    for (dir, key) in [
        (layout.authority_dir(), layout.authority_key()),
        (layout.server_dir(), layout.server_key()),
        (layout.client_dir(), layout.client_key()),
    ] {
        assert_eq!((mode(&dir), mode(&key)), (0o700, 0o600), "{}", key.display());
    }
    let names = &tls::load_certificates(&layout.server_cert()).unwrap()[0];
    assert!(names.names.dns.contains(&"localhost".to_owned()));
    assert_eq!(names.names.addresses.len(), 2);
    let settings = fs::read_to_string(layout.server_toml()).unwrap();
    assert!(settings.contains("\npolicy.vocabulary = 2\n"), "{settings}");
}

#[test]
fn quickstart_widens_no_policy_and_changes_no_settings_that_are_there() {
    let root = tempfile::tempdir().unwrap();
    for (file, other) in [("policy.cedar", "server.toml"), ("server.toml", "policy.cedar")] {
        let dir = root.path().join(file);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join(file), "// mine\n").unwrap();
        succeed(&["quickstart", file], root.path());
        assert_eq!(fs::read_to_string(dir.join(file)).unwrap(), "// mine\n");
        assert_eq!(dir.join(other).exists(), other == "policy.cedar", "{other}");
    }
}

#[test]
fn a_folder_with_an_authority_is_refused_and_left_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    succeed(&["quickstart", "demo"], root.path());
    let key = root.path().join("demo/authority/key.pem");
    let before = fs::read(&key).unwrap();
    assert!(fail(&["quickstart", "demo"], root.path(), 1).contains("an authority already"));
    assert!(fail(&["init", "--dir", "demo"], root.path(), 1).contains("an authority already"));
    assert_eq!(fs::read(&key).unwrap(), before);

    fs::create_dir(root.path().join("other")).unwrap();
    fs::write(root.path().join("other/ca.pem"), "somebody's").unwrap();
    assert!(fail(&["quickstart", "other"], root.path(), 1).contains("other/ca.pem"));

    succeed(&["issue", "server", "web1", "--dir", "demo", "--out", "third"], root.path());
    fs::remove_file(root.path().join("third/ca.pem")).unwrap();
    let complaint = fail(&["quickstart", "third"], root.path(), 1);
    assert!(complaint.contains("third/server/key.pem exists already"), "{complaint}");
    assert!(!root.path().join("third/ca.pem").exists(), "half a quickstart was left");
}

#[test]
fn init_and_issue_make_what_quickstart_makes() {
    let root = tempfile::tempdir().unwrap();
    let report = succeed(&["init", "--dir", "ca", "--algorithm", "ecdsa-p256"], root.path());
    assert!(report.contains("rcmd-certs token server NAME --dir ca"), "{report}");
    succeed(&["issue", "server", "web1.example", "192.0.2.7", "--dir", "ca"], root.path());
    let issue = ["issue", "client", "alice", "--group", "ops", "--dir", "ca", "--days", "7"];
    let report = succeed(&issue, root.path());
    assert!(report.contains("rcmd authority") && report.contains("expires in"), "{report}");
    let layout = Layout::new(root.path().join("ca"));
    let leaf = &tls::load_certificates(&layout.client_cert()).unwrap()[0];
    assert_eq!(leaf.names.uris, ["rcmd://user/alice", "rcmd://group/ops"]);
    assert!((leaf.not_after - clock::now_unix()).abs_diff(7 * 86_400) < 600);
    assert_eq!(tls::check_client(&ClientFiles::from(&layout)).unwrap(), []);
    assert_eq!(tls::check_server(&ServerFiles::from(&layout)).unwrap(), []);
}

#[test]
fn an_intermediate_signs_while_its_root_is_away() {
    let root = tempfile::tempdir().unwrap();
    succeed(&["init", "--dir", "ca", "--offline-root", "root"], root.path());
    succeed(&["issue", "server", "web1", "--dir", "ca", "--out", "web1"], root.path());
    let layout = Layout::new(root.path().join("web1"));
    assert_eq!(tls::check_server(&ServerFiles::from(&layout)).unwrap(), []);
    assert_eq!(tls::load_certificates(&layout.server_cert()).unwrap().len(), 2);
    assert_eq!(
        fs::read(layout.ca()).unwrap(),
        fs::read(root.path().join("root/cert.pem")).unwrap()
    );

    // The same authority, imported from files.
    let parts = ["--cert", "ca/authority/cert.pem", "--key", "ca/authority/key.pem"];
    let import =
        |dir, root_pem| [&["import", "--dir", dir, "--root", root_pem], &parts[..]].concat();
    succeed(&import("two", "root/cert.pem"), root.path());
    succeed(&["issue", "client", "alice", "--dir", "two", "--out", "alice"], root.path());
    let layout = Layout::new(root.path().join("alice"));
    assert_eq!(tls::check_client(&ClientFiles::from(&layout)).unwrap(), []);

    succeed(&["init", "--dir", "other"], root.path());
    let complaint = fail(&import("three", "other/ca.pem"), root.path(), 1);
    assert!(complaint.contains("no root"), "{complaint}");
    assert_eq!(fs::read_dir(root.path().join("three")).unwrap().count(), 0, "something was left");
}

#[test]
fn an_identity_that_is_there_is_replaced_only_by_force() {
    let root = tempfile::tempdir().unwrap();
    succeed(&["quickstart", "demo"], root.path());
    let key = root.path().join("demo/client/key.pem");
    let before = fs::read(&key).unwrap();
    let issue = ["issue", "client", "alice", "--dir", "demo"];
    assert!(fail(&issue, root.path(), 1).contains("--force"));
    assert_eq!(fs::read(&key).unwrap(), before);
    succeed(&[&issue[..], &["--force"]].concat(), root.path());
    assert_ne!(fs::read(&key).unwrap(), before);
    let layout = Layout::new(root.path().join("demo"));
    tls::client_config(&ClientFiles::from(&layout)).unwrap();
}

#[test]
fn out_makes_a_folder_that_a_client_can_use_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    succeed(&["quickstart", "demo"], root.path());
    succeed(&["issue", "client", "bob", "--dir", "demo", "--out", "bob"], root.path());
    let layout = Layout::new(root.path().join("bob"));
    assert_eq!(tls::check_client(&ClientFiles::from(&layout)).unwrap(), []);
    assert!(!layout.authority_dir().exists(), "the authority's key left its folder");

    succeed(&["quickstart", "other"], root.path());
    let into_other = ["issue", "client", "bob", "--dir", "demo", "--out", "other", "--force"];
    let before = fs::read(root.path().join("other/client/key.pem")).unwrap();
    assert!(fail(&into_other, root.path(), 1).contains("does not hold this authority"));
    let after = fs::read(root.path().join("other/client/key.pem")).unwrap();
    assert_eq!(before, after, "a refused command replaced a key");
}

#[test]
fn names_that_no_certificate_should_carry_are_refused() {
    let root = tempfile::tempdir().unwrap();
    succeed(&["init", "--dir", "ca"], root.path());
    for name in ["a/b", "..", "", "al ice", "\u{1b}[2Jx", "a?x"] {
        let complaint = fail(&["issue", "client", name, "--dir", "ca"], root.path(), 1);
        assert!(!complaint.contains('\u{1b}'), "{complaint:?}");
    }
    fail(&["issue", "client", "alice", "--group", "a,b", "--dir", "ca"], root.path(), 1);
    fail(&["issue", "server", "https://web1", "--dir", "ca"], root.path(), 1);
    assert!(!root.path().join("ca/client").exists());
}

#[test]
fn a_key_that_others_can_read_is_not_signed_with() {
    let root = tempfile::tempdir().unwrap();
    succeed(&["init", "--dir", "ca"], root.path());
    let key = root.path().join("ca/authority/key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let complaint = fail(&["issue", "client", "alice", "--dir", "ca"], root.path(), 1);
    assert!(complaint.contains("chmod 600 ca/authority/key.pem"), "{complaint}");
}

#[test]
fn a_missing_authority_is_told_with_the_command_that_makes_one() {
    let root = tempfile::tempdir().unwrap();
    let complaint = fail(&["issue", "client", "alice", "--dir", "none"], root.path(), 1);
    assert!(complaint.contains("rcmd-certs init"), "{complaint}");
}

#[test]
fn the_environment_names_the_folder_when_no_flag_does() {
    let root = tempfile::tempdir().unwrap();
    let made = Command::new(env!("CARGO_BIN_EXE_rcmd-certs"))
        .arg("init")
        .env("RCMD_DIR", root.path().join("from-env"))
        .output()
        .unwrap();
    assert!(made.status.success());
    assert!(root.path().join("from-env/ca.pem").exists());
}

#[test]
fn show_tells_people_and_programs_the_same() {
    let root = tempfile::tempdir().unwrap();
    succeed(&["quickstart", "demo"], root.path());
    let text = succeed(&["show", "--dir", "demo"], root.path());
    for part in ["demo/ca.pem", "authority", "localhost", "user", "admin", "expires in 36"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    let json = succeed(&["show", "--json", "demo/client/cert.pem"], root.path());
    let value: serde_json::Value = serde_json::from_str(json.trim()).unwrap();
    assert_eq!(value["user"], "admin");
    assert_eq!(value["groups"][0], "admin");
    assert_eq!(value["usage"][0], "client");
    let fingerprint = value["fingerprint"].as_str().unwrap();
    assert!(text.contains(fingerprint) && fingerprint.len() == 7 + 64);
}

#[test]
fn show_goes_on_after_a_file_that_it_cannot_read() {
    let root = tempfile::tempdir().unwrap();
    succeed(&["quickstart", "demo"], root.path());
    let output = run(&["show", "demo/none.pem", "demo/ca.pem"], root.path());
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("rcmd: demo/none.pem"));
    assert!(String::from_utf8_lossy(&output.stdout).contains("demo/ca.pem"));
}

#[test]
fn nonsense_on_the_command_line_is_answered_in_our_form() {
    let root = tempfile::tempdir().unwrap();
    fail(&["frobnicate"], root.path(), 125);
    fail(&["issue", "client", "alice", "--days", "0"], root.path(), 125);
    fail(&["issue", "server"], root.path(), 125);
    assert!(fail(&["issue"], root.path(), 125).contains("See `rcmd-certs issue -h`"));
}

#[test]
fn the_short_help_fits_a_screen() {
    let root = tempfile::tempdir().unwrap();
    let help = succeed(&["-h"], root.path());
    assert!(help.lines().count() <= 26, "{help}");
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let root = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_rcmd-certs"))
        .args(["completions", "bash"])
        .current_dir(root.path())
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn completions_and_manual_pages_are_printed() {
    let root = tempfile::tempdir().unwrap();
    assert!(succeed(&["completions", "bash"], root.path()).contains("rcmd-certs"));
    assert!(succeed(&["man"], root.path()).contains(".TH rcmd-certs 1"));
    succeed(&["man", "--out", "man1"], root.path());
    for page in ["rcmd-certs.1", "rcmd-certs-quickstart.1", "rcmd-certs-issue-client.1"] {
        assert!(root.path().join("man1").join(page).exists(), "{page}");
    }
}
