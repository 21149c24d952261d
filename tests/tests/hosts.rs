//! `rcmd-client hosts`: which hosts are meant.

use rcmd_tests::{Finished, World};

/// `rcmd-client hosts` with these words, over a folder of its own.
struct Hosts(World);

impl Hosts {
    fn new() -> Self {
        Self(World::builder().prepare())
    }

    fn run(&self, words: &[&str]) -> Finished {
        let dir = self.0.dir().to_str().unwrap();
        let words = ["hosts", "--dir", dir].into_iter().chain(words.iter().copied());
        self.0.bare_client(words).run()
    }

    /// Runs the program and returns what it prints, its lines joined by blanks.
    fn printed(&self, words: &[&str]) -> String {
        let done = self.run(words);
        done.assert_code(0);
        done.stdout_text().trim_end().replace('\n', " ")
    }

    /// Refuses it as usage, with a hint, and says this.
    fn assert_refused(&self, words: &[&str], says: &str) {
        let done = self.run(words);
        done.assert_code(125).assert_says(says).assert_says("rcmd: hint: ");
        assert_eq!(done.stdout_text(), "", "{}", done.story());
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.scratch(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

#[test]
fn a_set_is_printed_by_name_folded_counted_and_as_json() {
    let hosts = Hosts::new();
    assert_eq!(hosts.printed(&["b[2,1],a"]), "b2 b1 a");
    assert_eq!(
        hosts.printed(&["--fold", "b[2,1],a,listserv01,listserv3"]),
        "a,b[1-2],listserv[3,01]"
    );
    assert_eq!(hosts.printed(&["--count", "a0[1-3],a[01-03]"]), "3");
    let json = hosts.printed(&["--json", "a,b"]);
    let lines: Vec<serde_json::Value> =
        json.split(' ').map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[1]["host"], &lines[1]["index"]), (&"b".into(), &1.into()));
}

#[test]
fn two_ports_of_one_address_are_two_hosts() {
    let hosts = Hosts::new();
    assert_eq!(hosts.printed(&["127.0.0.1:7001,127.0.0.1:7002"]), "127.0.0.1:7001 127.0.0.1:7002");
    for text in ["127.0.0.1:7001,127.0.0.1:7002", "[::1]:7001,[::1]:7002"] {
        let folded = hosts.printed(&["--fold", text]);
        assert_eq!(hosts.printed(&[&folded]), text.replace(',', " "), "{folded}");
    }
}

#[test]
fn nothing_is_never_everything() {
    let hosts = Hosts::new();
    let blank = hosts.file("blank", "\n  \n# none\n");
    for (words, says) in [
        (&[""][..], "it is empty"),
        (&[","], "a name is missing before the `,`"),
        (&[" "], "it contains a blank"),
        (&["a1!a1"], "no host is left in `a1!a1`"),
        (&["a1", "-x", ""], "--exclude: the expression: it is empty"),
        (&["a1", "-x", "a1"], "no host is left without `a1`"),
        (&["a1", "--pick", "0"], "--pick"),
        (&["--hosts-file", "/dev/null"], "/dev/null names no host"),
        (&["--hosts-file", &blank], "names no host"),
        (&["--hosts-file", "/nonexistent/file"], "cannot read /nonexistent/file"),
        (&["@web"], "unknown group `web`"),
        (&["web*"], "no known host matches `web*`"),
        (&["-rf"], "unexpected argument"),
        (&["--", "-rf"], "a name begins with `-`"),
        (&[".."], "are not names"),
        (&["root@a1"], "-l root a1"),
        (&["a[1-100001]"], "these are 100001 hosts, and 100000 is the most"),
    ] {
        hosts.assert_refused(words, says);
    }
}

#[test]
fn files_have_an_expression_a_line() {
    let hosts = Hosts::new();
    let text = "\u{feff}# racks [1-3] are down, see node[5\r\na1  # old\r\n\r\n  a2\r\na[2-3]";
    let file = hosts.file("list", text);
    assert_eq!(hosts.printed(&["--hosts-file", &file]), "a1 a2 a3");
    assert_eq!(hosts.printed(&["b,a3", "--hosts-file", &file]), "b a3 a1 a2");
    let wrong = hosts.file("wrong", "a1\nroot@a2\n");
    hosts.assert_refused(&["--hosts-file", &wrong], "wrong:2:5: a name cannot contain a user");
    let dir = hosts.0.dir().to_str().unwrap();
    let client = hosts.0.bare_client(["hosts", "--dir", dir, "--hosts-file", "-"]);
    let done = client.stdin(b"web[1-2]\n".to_vec()).run();
    assert_eq!(done.stdout_text(), "web1\nweb2\n", "{}", done.story());
}

#[test]
fn what_is_excluded_is_gone_and_an_idle_exclusion_is_warned_of() {
    let hosts = Hosts::new();
    let done = hosts.run(&["a[1-5]", "-x", "a2,a3", "--exclude", "a9"]);
    assert_eq!(done.stdout_text(), "a1\na4\na5\n");
    done.assert_says("rcmd: `--exclude a9` excludes nothing");
    let done = hosts.run(&["a[1-2]!b1"]);
    assert_eq!(done.stdout_text(), "a1\na2\n");
    done.assert_says("rcmd: `!b1` excludes nothing");
    let done = hosts.run(&["-q", "a[1-2]!b1"]);
    assert_eq!(done.stderr_text(), "");
}

#[test]
fn so_many_are_drawn_by_lot_as_are_asked_for() {
    let hosts = Hosts::new();
    assert_eq!(hosts.printed(&["--pick", "3", "--count", "a[1-50]"]), "3");
    assert_eq!(hosts.printed(&["--pick", "9", "--count", "a[1-5]"]), "5");
    let draw = || hosts.printed(&["--pick", "5", "a[1-10000]"]);
    assert_ne!(draw(), draw());
}

#[test]
fn a_hundred_thousand_names_without_a_pattern_are_folded_in_seconds() {
    let hosts = Hosts::new();
    let mut random = rcmd_tests::Random::new(7);
    let mut text = String::new();
    for _ in 0..100_000 {
        let [dc, rack, node] = [20, 500, 100].map(|end| random.below(end));
        text += &format!("dc{dc}r{rack}n{node}\n");
    }
    let file = hosts.file("many", &text);
    let done = hosts.run(&["--fold", "--hosts-file", &file]);
    done.assert_code(0);
    // 2 s where programs are optimized; tests run those that are not.
    assert!(done.elapsed.as_secs() < 30, "{:?}", done.elapsed);
    let folded =
        hosts.file("folded", &done.stdout_text().replace("],", "]\n").replace(",dc", "\ndc"));
    let count = hosts.printed(&["--count", "--hosts-file", &folded]);
    assert_eq!(count, hosts.printed(&["--count", "--hosts-file", &file]));
}
