use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use super::*;
use crate::arguments::words::CommandSpec;

fn exec(words: &[&[u8]]) -> CommandSpec {
    let mut words = words.iter().map(|word| OsString::from_vec(word.to_vec()));
    CommandSpec::Exec { program: words.next().unwrap(), arguments: words.collect() }
}

fn words(line: &[u8]) -> CommandSpec {
    let (hosts, words) = read(line, 1, "x").unwrap();
    assert_eq!(hosts, LineHosts::Set);
    words.unwrap()
}

fn refused(line: &[u8]) -> (LineHosts, WireError) {
    let (hosts, words) = read(line, 7, "standard input").unwrap();
    (hosts, words.unwrap_err())
}

fn named(hosts: &str) -> LineHosts {
    LineHosts::Named(hosts.to_owned())
}

#[test]
fn a_line_is_for_the_shell_byte_for_byte() {
    for line in [&b"df -h | sort"[..], b" [ -f /x ] && echo  'a b'", b"echo \xff\xfe", b"a # b"] {
        assert_eq!(words(line), CommandSpec::Shell(OsString::from_vec(line.to_vec())));
    }
}

#[test]
fn an_array_is_a_program_and_its_arguments_exactly() {
    for (line, expected) in [
        (&br#"["ls"]"#[..], &[&b"ls"[..]][..]),
        (
            br#"["printf", "", "a b", "\"'\\", "\n\u00e9"]  "#,
            &[b"printf", b"", b"a b", b"\"'\\", "\n\u{e9}".as_bytes()],
        ),
        (b"[\"cat\", \"\xff\\\"\xfe\"]", &[b"cat", b"\xff\"\xfe"]),
    ] {
        assert_eq!(words(line), exec(expected));
    }
}

#[test]
fn the_marks_of_a_text_from_windows_are_no_part_of_a_command() {
    let text = b"\xef\xbb\xbfone\r\n[\"two\"]\r\n\r\n# no\r\n\xef\xbb\xbfthree\r";
    let two = CommandSpec::Exec { program: "two".into(), arguments: vec![] };
    let expected = vec![(1, shell_of("one")), (2, Ok(two)), (5, shell_of("\u{feff}three"))];
    for size in 1..=text.len() {
        assert_eq!(come(&text.chunks(size).collect::<Vec<_>>()), expected, "{size}");
    }
    let marked = [b"\xef\xbb\xbf".as_slice(), br#"["ls"]"#].concat();
    assert_eq!(words(&marked), exec(&[b"ls"]));
}

#[test]
fn an_object_names_its_hosts_and_has_a_program_or_a_line() {
    for (line, expected) in [
        (&br#"{"hosts": "web[1-3]", "argv": ["ls", ""]}"#[..], exec(&[b"ls", b""])),
        (br#"{"shell":"df | sort","hosts":"web[1-3]"} "#, CommandSpec::Shell("df | sort".into())),
        (b"{\"hosts\":\"web[1-3]\",\"argv\":[\"cat\",\"\xff\"]}", exec(&[b"cat", b"\xff"])),
        (br#" {	"hosts": "web[1-3]", "argv": ["ls", ""]}"#, exec(&[b"ls", b""])),
        (br#"{ "argv": ["ls"], "hosts": "web[1-3]" }"#, exec(&[b"ls"])),
    ] {
        let (hosts, words) = read(line, 1, "x").unwrap();
        assert_eq!((hosts, words.unwrap()), (named("web[1-3]"), expected));
    }
}

#[test]
fn a_brace_that_begins_no_object_is_the_shell_s() {
    for line in
        ["{ ls; }", "{ls,-l}", " { 'my program'; }", "{'a',b}", "{", "${x}", "( {\"a\"; } )"]
    {
        assert_eq!(words(line.as_bytes()), CommandSpec::Shell(line.into()));
    }
    for line in [&br#"{"my program"; }"#[..], br#" { "my program"; }"#, b"{}", b" {	}"] {
        let (hosts, failure) = refused(line);
        assert_eq!(hosts, LineHosts::Unreadable);
        assert!(failure.hint.unwrap().contains("begins with `{`"), "{line:?}");
    }
}

#[test]
fn a_bad_line_keeps_the_hosts_that_it_names() {
    for line in [
        &br#"{"hosts": "a[1-2]"}"#[..],
        br#"{"hosts": "a[1-2]", "argv": []}"#,
        br#"{ "hosts": "a[1-2]", "argv": ["ls"], "shell": "ls"}"#,
        br#"{"argv": [7], "hosts": "a[1-2]"}"#,
        br#"{"hosts": "a[1-2]", "argv": ["ls"], "user": {"name": ["b"]}}"#,
        br#"{"hosts": "a[1-2]", "shell": "a\u0000b"}"#,
    ] {
        assert_eq!(refused(line).0, named("a[1-2]"), "{}", String::from_utf8_lossy(line));
    }
    for line in [
        &br#"{"hosts": "a", "hosts": "b", "argv": ["ls"]}"#[..],
        br#"{"hosts": ["a"], "argv": ["ls"]}"#,
        br#"{"argv": ["ls"]}"#,
        br#"{"hosts": "a""#,
        br#"{"hosts": "a", "argv": ["ls"]} x"#,
    ] {
        assert_eq!(refused(line).0, LineHosts::Unreadable, "{}", String::from_utf8_lossy(line));
    }
    assert_eq!(refused(b"[1]").0, LineHosts::Set);
}

#[test]
fn what_asks_for_nothing_is_passed_over() {
    for line in [&b""[..], b"  \t", b"# ls", b"  # ls", b"\r"] {
        assert!(read(line, 1, "x").is_none(), "{line:?}");
    }
}

#[test]
fn a_bad_line_is_refused_with_its_number_and_what_to_do() {
    for line in [
        &b"[ -f /x ]"[..],
        b"[]",
        b"[1]",
        b"[[\"ls\"]]",
        b"[\"ls\"",
        b"[\"ls\"] x",
        b"[\"\\ud800\"]",
        b"[\"\\u0000\"]",
        b"[\"a\tb\"]",
        b"[\"\xff\", [120]]",
        b"a\0b",
        br#"{"hosts": "a"}"#,
        br#"{"argv": ["ls"]}"#,
        br#"{"hosts": "a", "argv": []}"#,
        br#"{"hosts": "a", "argv": ["ls"], "shell": "ls"}"#,
        br#"{"hosts": "a", "argv": ["ls"], "user": "b"}"#,
        br#"{"hosts": "a", "hosts": "b", "argv": ["ls"]}"#,
        br#"{"hosts": ["a"], "argv": ["ls"]}"#,
        br#"{"hosts": "a", "shell": "a\u0000b"}"#,
        b"{\"hosts\": \"\xff\", \"shell\": \"ls\"}",
        br#"{"a",b} c"#,
    ] {
        let (_, failure) = refused(line);
        assert_eq!(failure.kind, ErrorKind::Usage);
        assert!(failure.message.starts_with("line 7 of standard input is no command"), "{failure}");
        assert!(failure.hint.is_some());
    }
}

/// Returns the lines of text that comes in these blocks: their numbers and how they were read.
fn come(blocks: &[&[u8]]) -> Vec<(u64, Result<CommandSpec, ErrorKind>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (feed, read) = mpsc::channel(blocks.len() + 1);
    for block in blocks {
        feed.try_send(Ok(Bytes::copy_from_slice(block))).unwrap();
    }
    drop(feed);
    runtime.block_on(async {
        let mut lines = Lines::new(Some(read));
        let mut all = Vec::new();
        while let Some(line) = lines.next().await {
            let Line { number, words, .. } = line.unwrap();
            all.push((number, words.map_err(|failure| failure.kind)));
        }
        all
    })
}

fn shell_of(line: &str) -> Result<CommandSpec, ErrorKind> {
    Ok(CommandSpec::Shell(line.into()))
}

#[test]
fn lines_are_the_same_however_they_are_cut_into_blocks() {
    let text = b"one\n\n# two\nthree\nfour";
    let expected = vec![(1, shell_of("one")), (4, shell_of("three")), (5, shell_of("four"))];
    for size in 1..=text.len() {
        assert_eq!(come(&text.chunks(size).collect::<Vec<_>>()), expected, "{size}");
    }
}

#[test]
fn a_line_that_is_too_long_is_refused_alone_and_never_held() {
    let block = vec![b'x'; 1024 * 1024];
    let mut blocks = vec![&b"a\n"[..]];
    blocks.extend(std::iter::repeat_n(&block[..], 20));
    blocks.extend([&b"x\nb\n"[..]]);
    let expected = vec![(1, shell_of("a")), (2, Err(ErrorKind::TooBig)), (3, shell_of("b"))];
    assert_eq!(come(&blocks), expected);
    // Also when nothing comes after it.
    blocks.pop();
    assert_eq!(come(&blocks), expected[..2]);
}

#[test]
fn a_file_is_refused_as_a_whole_for_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("commands");
    std::fs::write(&path, "true\n\n[1]\ntrue\n").unwrap();
    let failure = Lines::of_file(&path, |_, _| Ok(1)).err().unwrap();
    assert!(failure.message.starts_with("line 3 of "), "{failure}");
    std::fs::write(&path, "true\n\n# no\ntrue").unwrap();
    let lines = Lines::of_file(&path, |_, _| Ok(3)).ok().unwrap();
    assert_eq!((lines.count, lines.results), (Some(2), Some(6)));
    let refuse =
        |_: &LineHosts, _: &CommandSpec| Err(WireError::new(ErrorKind::Usage, "no").hint("yes"));
    let failure = Lines::of_file(&path, refuse).err().unwrap();
    assert!(failure.message.starts_with("line 1 of "), "{failure}");
    assert!(failure.message.ends_with(": no") && failure.hint.is_some(), "{failure}");
    let missing = Lines::of_file(&dir.path().join("none"), |_, _| Ok(1)).err().unwrap();
    assert_eq!(missing.kind, ErrorKind::Usage);
}

#[test]
fn a_file_with_a_line_that_is_too_long_is_refused_whatever_the_line_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("commands");
    for begin in ["x", "#", " "] {
        let long = format!("{begin}{}", "x".repeat(LONGEST));
        std::fs::write(&path, format!("true\n{long}\ntrue\n")).unwrap();
        let failure = Lines::of_file(&path, |_, _| Ok(1)).err().unwrap();
        assert_eq!(failure.kind, ErrorKind::Usage);
        let expected = format!("line 2 of {} is longer than 8 MiB", path.display());
        assert_eq!((failure.message, failure.hint.is_some()), (expected, true));
        std::fs::write(&path, &long.as_bytes()[..LONGEST]).unwrap();
        assert!(Lines::of_file(&path, |_, _| Ok(1)).is_ok(), "one byte less");
    }
}

#[test]
fn a_file_that_would_take_too_much_memory_is_refused_with_what_to_write() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("commands");
    let file = File::create(&path).unwrap();
    // A file of nothing but a hole takes no room.
    file.set_len(LARGEST + 1).unwrap();
    let failure = Lines::of_file(&path, |_, _| Ok(1)).err().unwrap();
    assert!(failure.message.ends_with("is larger than 64 MiB"), "{failure}");
    assert!(failure.hint.unwrap().contains("--commands - < FILE"));
}

#[test]
fn a_line_that_is_too_long_belongs_to_the_hosts_that_its_beginning_says() {
    let block = vec![b'x'; 9 * 1024 * 1024];
    for (begin, hosts) in [("\u{feff} { \"", LineHosts::Unreadable), ("ls", LineHosts::Set)] {
        // In blocks, of which the first are gone when the last comes, and at once.
        let whole = [begin.as_bytes(), &block, b"\n"].concat();
        for blocks in [vec![begin.as_bytes(), &block[..], b"{\"x", b"\n"], vec![&whole[..]]] {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (feed, read) = mpsc::channel(blocks.len());
            for block in blocks {
                feed.try_send(Ok(Bytes::copy_from_slice(block))).unwrap();
            }
            drop(feed);
            let line = runtime.block_on(async { Lines::new(Some(read)).next().await });
            let Line { hosts: found, words, .. } = line.unwrap().unwrap();
            assert_eq!((found, words.unwrap_err().kind), (hosts.clone(), ErrorKind::TooBig));
        }
    }
}
