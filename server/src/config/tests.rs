//! Tests of `server.toml`.

use super::*;

fn load(text: &str) -> Result<ServerSettings, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    std::fs::write(layout.server_toml(), text).unwrap();
    ServerSettings::load(&layout, Vec::new())
}

fn error(text: &str) -> String {
    let error = load(text).unwrap_err().to_string();
    error.rsplit_once("server.toml").unwrap().1.to_owned()
}

#[test]
fn a_grace_and_a_keepalive_that_do_not_fit_are_doubted() {
    for (text, says) in [
        ("", None),
        ("grace = '1h'\nkeepalive = '15s'", None),
        ("grace = '3s'\nkeepalive = '1h'", None),
        ("grace = '2s'", Some("grace is 2s")),
        ("grace = '0s'", Some("grace is 0s")),
        ("grace = '1h'\nkeepalive = '10m'", Some("firewalls may forget it")),
        ("keepalive = '300ms'", Some("does not answer for 900ms")),
    ] {
        let doubts = load(text).unwrap().doubts();
        let found = doubts.iter().any(|doubt| says.is_some_and(|says| doubt.contains(says)));
        assert_eq!(
            (found, doubts.len()),
            (says.is_some(), usize::from(says.is_some())),
            "{text}: {doubts:?}"
        );
    }
}

#[test]
fn nothing_at_all_is_a_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let settings = ServerSettings::load(&Layout::new(dir.path()), Vec::new()).unwrap();
    assert_eq!(settings.listen, ["127.0.0.1:7263".parse().unwrap()]);
    assert_eq!(settings.limits, Limits::default());
}

#[test]
fn the_vocabulary_is_the_first_unless_the_file_has_the_second() {
    for (text, vocabulary) in [
        ("", Vocabulary::One),
        ("[policy]\nvocabulary = 1", Vocabulary::One),
        ("[policy]\nvocabulary = 2", Vocabulary::Two),
        ("policy.vocabulary = 2\npolicy.on_reload = \"end\"", Vocabulary::Two),
    ] {
        assert_eq!(load(text).unwrap().vocabulary, vocabulary, "{text}");
    }
}

#[test]
fn a_flag_goes_before_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    std::fs::write(layout.server_toml(), "listen = [\"0.0.0.0:1\"]").unwrap();
    let flag = vec!["127.0.0.1:2".parse().unwrap()];
    assert_eq!(ServerSettings::load(&layout, flag.clone()).unwrap().listen, flag);
}

#[test]
fn errors_name_file_line_column_and_what_is_wrong() {
    assert!(
        error("grace = \"1s\"\n\n  graec = 5\n")
            .starts_with(":3:3: unknown setting `graec`; did you mean `grace`?")
    );
    assert!(error("grace = 10").starts_with(":1:9: invalid type"));
    assert!(error("grace = \"ten\"").starts_with(":1:9: "));
    assert!(error("grace = \"2h\"").contains("grace is 2h; write at most 1h"));
    assert!(error("[limits]\nrunning = 0").starts_with(":2:11: it must be at least 1"));
    assert!(
        error("[limits.user.ci]\nqueue_wait = \"2d\"").contains(":2:14: 2days is out of range")
    );
    assert!(error("[limits.peer]\nstarts = \"fast\"").contains(":2:10: \"fast\" is not a rate"));
    assert!(error("= 1").starts_with(":1:1: "));
    assert!(error("[host]\nlabels = [\"a b\"]").contains("host.labels is \"a b\"; use only A-Z"));
    assert!(
        error("[policy]\non_reload = \"stop\"")
            .starts_with(":2:13: unknown value `stop`; known here: keep, end")
    );
    for wrong in ["0", "3", "-1", "9223372036854775807"] {
        let said = error(&format!("[policy]\nvocabulary = {wrong}"));
        let says = format!(":2:14: {wrong} is not a vocabulary; write 1 or 2");
        assert!(said.starts_with(&says), "{said}");
    }
    assert!(error("policy.vocabulary = \"2\"").starts_with(":1:21: invalid type"));
    assert!(error("listen = [\"nowhere\"]").starts_with(":1:"));
}

#[test]
fn settings_of_nothing_are_refused_with_what_to_write() {
    assert!(error("listen = []").contains("listen is []; write addresses, as in"));
    let many = |count| format!("listen = [{}]", "\"127.0.0.1:1\",".repeat(count));
    assert!(load(&many(LISTENERS)).is_ok());
    assert!(error(&many(LISTENERS + 1)).contains("listen is 1001 addresses; write at most 1000"));
    for path in ["", ":/bin", "/bin:", "bin", "/bin:./x"] {
        let said = error(&format!("path = \"{path}\""));
        assert!(said.contains("a folder in path is ") && said.contains("absolute paths"), "{said}");
    }
    for (text, says) in [
        ("grace = \"\"", "is not a duration"),
        ("spawn = \"\"", "unknown value"),
        ("[host]\nname = \"\"", "host.name is \"\"; use only A-Z"),
        ("[host]\nlabels = [\"\"]", "host.labels is \"\"; use only A-Z"),
        ("[policy]\non_reload = \"\"", "unknown value"),
        ("[limits]\nstarts = \"\"", "is not a rate"),
        ("[limits]\nlock_wait = \"\"", "is not a duration"),
        ("[limits]\nconnections = 0", "must be at least 1"),
        ("[limits.peer]\nkeys = 0", "must be at least 1"),
        ("[limits.user.'']\nrunning = 1", "cannot be the name of a user"),
        ("[limits.tree]\nmemory = \"\"", "is not a size"),
        ("[audit]\nrotate_size = \"\"", "is not a size"),
        ("[audit]\njournald = \"\"", "write true, or the absolute path of a socket"),
        ("[audit]\nmask = [\"\"]", "would mask everything or nothing"),
    ] {
        let said = error(text);
        assert!(said.contains(says), "{text}: {said}");
    }
}
