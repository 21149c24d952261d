//! Lines of many hosts are whole, in order, and end where they should: what pdsh and ClusterShell check of
//! themselves (long lines, output without a newline, much output, empty lines), and hosts that write at once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rcmd_tests::many::{exec, shell, world};
use rcmd_tests::{Random, World};

/// Makes a folder with a file for each of the hosts `a1`, `a2` and so on.
fn files(world: &World, contents: &[Vec<u8>]) -> PathBuf {
    let folder = world.scratch("contents");
    fs::create_dir_all(&folder).unwrap();
    for (number, content) in (1..).zip(contents) {
        fs::write(folder.join(format!("a{number}")), content).unwrap();
    }
    folder
}

/// Returns the output of a run in which each host prints a file of its own.
fn printed(world: &World, contents: &[Vec<u8>], options: &[&str]) -> Vec<u8> {
    let file = files(world, contents).join("{host}");
    let set = format!("a[1-{}]", contents.len());
    let done = exec(world, &set, &["cat", file.to_str().unwrap()]).options(options).run();
    done.assert_code(0);
    done.stdout
}

/// Returns the lines of each host, in order, without label and newline.
fn by_host(output: &[u8]) -> BTreeMap<String, Vec<&[u8]>> {
    let mut lines: BTreeMap<String, Vec<&[u8]>> = BTreeMap::new();
    for line in output.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\n").expect("the last line ends too");
        let colon = line.windows(2).position(|two| two == b": ").expect("a label");
        let host = String::from_utf8(line[..colon].to_vec()).expect("a label that is text");
        lines.entry(host).or_default().push(&line[colon + 2..]);
    }
    lines
}

/// Asserts that each host's lines are those of its content, in the same order.
fn assert_lines(output: &[u8], contents: &[Vec<u8>]) {
    let mut lines = by_host(output);
    for (number, content) in (1..).zip(contents) {
        let found = lines.remove(&format!("a{number}")).unwrap_or_default();
        let whole = content.strip_suffix(b"\n").unwrap_or(content);
        let expected: Vec<&[u8]> = match content.is_empty() {
            true => Vec::new(),
            false => whole.split(|byte| *byte == b'\n').collect(),
        };
        // Not `assert_eq`: nobody can read a mebibyte.
        let differs = found.iter().zip(&expected).position(|(found, wanted)| found != wanted);
        assert_eq!((found.len(), differs), (expected.len(), None), "lines of a{number}");
    }
    assert_eq!(lines.keys().len(), 0, "labels of nobody: {:?}", lines.keys());
}

/// Returns `bytes` random characters in lines of this length.
fn text(random: &mut Random, bytes: usize, line: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes + bytes / line + 1);
    for at in 0..bytes {
        if at > 0 && at % line == 0 {
            text.push(b'\n');
        }
        text.push(
            *random.choose(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz012345678+/"),
        );
    }
    text.push(b'\n');
    text
}

#[test]
fn long_lines_are_never_cut() {
    let world = world(4);
    let mut random = Random::new(6036);
    let lengths = [8_000, 80_000, 65_536, 65_537];
    let contents = lengths.map(|length| text(&mut random, 140_000, length));
    assert_lines(&printed(&world, &contents, &[]), &contents);
}

#[test]
fn lines_past_a_mebibyte_are_whole_and_others_stand_between_them() {
    let world = world(4);
    let mut random = Random::new(1 << 20);
    let short = (0..5_000).map(|number| format!("{number}\n")).collect::<String>();
    let contents = [
        text(&mut random, 1 << 20, usize::MAX),
        text(&mut random, (1 << 20) + 1, usize::MAX),
        short.into_bytes(),
        text(&mut random, 7_000_000, 3_000_000),
    ];
    assert_lines(&printed(&world, &contents, &[]), &contents);
}

#[test]
fn output_without_a_newline_is_whole_and_gets_one() {
    let world = world(8);
    let sizes = [1, 1_024, 8_192, 8_195, 10_000, 65_536, 65_537, 1 << 20];
    let contents = sizes.map(|size| vec![b'a'; size]);
    assert_lines(&printed(&world, &contents, &[]), &contents);
    // Nothing is added to a file.
    let out = world.scratch("out");
    printed(&world, &contents, &["--outdir", out.to_str().unwrap()]);
    for (number, content) in (1..).zip(&contents) {
        assert!(fs::read(out.join(format!("a{number}.out"))).unwrap() == *content, "a{number}");
    }
}

#[test]
fn empty_lines_and_blanks_are_lines_and_blanks() {
    let world = world(7);
    let contents = ["", "\n", "\n\n\n", "test\ninput\n foo\nbar  \n\n", " ", "\t\n \n", "x\n\ny"];
    let contents = contents.map(|content| content.as_bytes().to_vec());
    assert_lines(&printed(&world, &contents, &[]), &contents);
}

#[test]
fn bytes_of_all_kinds_are_untouched() {
    let world = world(3);
    let all: Vec<u8> = (0..=255).collect();
    let contents = [all, b"a\r\nb\rc\r\n\x1b[2J\n".to_vec(), b"\xff\xfe\0\0\n\xe5\xa4".to_vec()];
    assert_lines(&printed(&world, &contents, &[]), &contents);
}

#[test]
fn much_output_of_many_hosts_at_once_keeps_each_host_s_order() {
    let world = world(8);
    let contents: Vec<_> = (0..8)
        .map(|host| (0..20_000).map(|at| format!("{host}:{at}\n")).collect::<String>().into_bytes())
        .collect();
    assert_lines(&printed(&world, &contents, &[]), &contents);
}

/// Writes a script by which two hosts take turns: each begins a line while the other has one begun,
/// and ends it likewise.
fn turns(folder: &Path, rounds: usize, redirect: &str) -> PathBuf {
    let script = folder.join("turns");
    let text = format!(
        "half() {{ printf '%s' \"$1\" {redirect}; }}\n\
         end() {{ printf '%s\\n' \"$1\" {redirect}; }}\n\
         n=0\nwhile [ $n -lt {rounds} ]; do\n  n=$((n+1))\n  if [ $1 = a1 ]; then\n    \
         half \"first $n, \"; echo >{0}/two; read x <{0}/one; end \"first $n\"\n  else\n    \
         read x <{0}/two; [ $n = 1 ] || end \"second $((n-1))\"; half \"second $n, \"; \
         echo >{0}/one\n  fi\ndone\n[ $1 = a1 ] || end \"second $n\"\n",
        folder.display()
    );
    fs::write(&script, text).unwrap();
    script
}

#[test]
fn half_lines_of_two_hosts_that_take_turns_never_mix() {
    const ROUNDS: usize = 100;
    let world = world(2);
    let folder = world.scratch("turns");
    fs::create_dir(&folder).unwrap();
    for name in ["one", "two"] {
        assert!(Command::new("mkfifo").arg(folder.join(name)).status().unwrap().success());
    }
    for (redirect, stderr) in [("", false), (">&2", true)] {
        let script = turns(&folder, ROUNDS, redirect);
        let words = ["/bin/sh", script.to_str().unwrap(), "{host}"];
        let options = ["--deadline", "100s", "--summary", "none"];
        let done = exec(&world, "a[1-2]", &words).options(options).run();
        done.assert_code(0);
        let said = if stderr { labelled(&done.stderr) } else { done.stdout.clone() };
        let lines = by_host(&said);
        for (host, name) in [("a1", "first"), ("a2", "second")] {
            let expected: Vec<_> =
                (1..=ROUNDS).map(|n| format!("{name} {n}, {name} {n}").into_bytes()).collect();
            assert!(lines[host] == expected, "{}", done.story());
        }
    }
}

/// Returns the lines but for the client's own, which begin with its name.
fn labelled(errors: &[u8]) -> Vec<u8> {
    let lines = errors.split_inclusive(|byte| *byte == b'\n');
    lines.filter(|line| !line.starts_with(b"rcmd: ")).flatten().copied().collect()
}

#[test]
fn what_comes_behind_a_line_that_has_no_end_begins_a_line_of_its_own() {
    let world = world(2);
    let line = "printf 'out of {host}'; printf 'err of {host}' >&2; [ {host} = a1 ]";
    let done = shell(&world, "a[1-2]", line).run();
    done.assert_code(1);
    let mut out: Vec<_> = done.stdout_text().lines().map(str::to_owned).collect();
    out.sort();
    assert_eq!(out, ["a1: out of a1", "a2: out of a2"]);
    let errors = done.stderr_text();
    for whole in ["a1: err of a1", "a2: err of a2"] {
        assert!(errors.lines().any(|line| line == whole), "{errors}");
    }
    done.assert_says("2 hosts: ");
    assert!(errors.ends_with('\n'), "{errors}");
}

#[test]
fn long_outputs_that_are_alike_are_folded_and_whole() {
    let world = world(4);
    let mut random = Random::new(5000);
    let long = text(&mut random, 3_000_000, usize::MAX);
    let mut other = long.clone();
    other[2_999_999] = b'!';
    let open = long.strip_suffix(b"\n").unwrap().to_vec();
    let folded = printed(&world, &[long.clone(), other.clone(), long.clone(), open], &["--fold"]);
    let rule = "---------------\n";
    let group =
        |names: &str, output: &[u8]| [format!("{rule}{names}\n{rule}").as_bytes(), output].concat();
    let expected = [group("a[1,3-4] (3)", &long), group("a2 (1)", &other)].concat();
    assert!(folded == expected, "{} bytes of {}", folded.len(), expected.len());
}
