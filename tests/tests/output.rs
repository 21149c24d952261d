//! The output of a command arrives whole: the same bytes, in their stream, whoever else holds the
//! pipe.

use std::fs;
use std::io::{self, Read as _};
use std::time::Duration;

use rcmd_tests::proc::marked;
use rcmd_tests::sink::Sink;
use rcmd_tests::soak::output::zeros;
use rcmd_tests::wait::poll_for;
use rcmd_tests::{Random, Tally, World, eventually};

const MIB: u64 = 1 << 20;

/// Returns an argument for `sleep` that no other process has.
fn long_time(test: u32) -> String {
    format!("600.{}{test:02}", std::process::id())
}

/// Runs a line, and asserts that exactly these bytes arrive, in number, order and stream, and that
/// the result says so.
#[track_caller]
fn assert_arrives(world: &World, line: &str, stdout: &[u8], stderr: &[u8]) {
    let done = world.shell(line).option("-q").with_result().run();
    done.assert_code(0);
    assert_eq!(done.stdout_tally(), Tally::of(stdout), "{line}: {}", done.story());
    assert_eq!(done.stderr_tally(), Tally::of(stderr), "{line}: {}", done.story());
    let result = done.result();
    for (name, bytes) in [("stdout", stdout), ("stderr", stderr)] {
        assert_eq!(result[format!("{name}_bytes")], bytes.len(), "{result}");
        let digest = format!("blake3:{}", blake3::hash(bytes).to_hex());
        assert_eq!(result[format!("{name}_digest")], digest, "{result}");
    }
    assert_eq!((&result["output_open"], &result["truncated"]), (&false.into(), &false.into()));
}

#[test]
fn small_and_odd_outputs_are_the_same_bytes_in_the_same_stream() {
    let world = World::start();
    assert_arrives(&world, "true", b"", b"");
    assert_arrives(&world, "printf x", b"x", b"");
    assert_arrives(&world, "printf x >&2", b"", b"x");
    assert_arrives(&world, "echo; printf 'no newline'", b"\nno newline", b"");
    assert_arrives(
        &world,
        r"printf '\377\376\300\200\355\240\200'",
        b"\xff\xfe\xc0\x80\xed\xa0\x80",
        b"",
    );
    assert_arrives(&world, r"printf 'a\000\000b\000'; printf '\000' >&2", b"a\0\0b\0", b"\0");
    assert_arrives(&world, r"printf 'rcmd: \033[2J\r\n\004'", b"rcmd: \x1b[2J\r\n\x04", b"");
}

#[test]
fn every_block_edge_is_crossed_unharmed() {
    let world = World::start();
    for size in [4095, 4096, 4097, 65_535, 65_536, 65_537, 131_073, 1_048_575, 1_048_576, 1_048_577]
    {
        let bytes = Random::new(size).take_bytes(size as usize);
        let file = world.scratch(&size.to_string());
        fs::write(&file, &bytes).unwrap();
        assert_arrives(&world, &format!("cat {}", file.display()), &bytes, b"");
    }
}

#[test]
fn a_large_output_of_zeros_is_whole() {
    // The whole GiB is `soak output`.
    zeros(&World::start(), 128 * MIB);
}

#[test]
fn sixty_four_mebibytes_on_both_streams_at_once_are_whole() {
    let world = World::start();
    let files = [7, 8].map(|seed| {
        let file = world.scratch(&seed.to_string());
        let mut random = Random::new(seed).take(64 * MIB);
        io::copy(&mut random, &mut fs::File::create(&file).unwrap()).unwrap();
        file
    });
    let [out, err] = &files;
    let line = format!("cat {} & cat {} >&2 & wait", out.display(), err.display());
    let done = world.shell(line).option("-q").stdout(Sink::Hash).stderr(Sink::Hash).run();
    done.assert_code(0);
    let tally = |seed| Tally::read(Random::new(seed).take(64 * MIB)).unwrap();
    assert_eq!(done.stdout_tally(), tally(7));
    assert_eq!(done.stderr_tally(), tally(8));
}

#[test]
fn a_slow_reader_gets_every_line() {
    let world = World::start();
    let slow = Sink::HashSlowly(4_000_000);
    let done = world.exec(["seq", "1", "2000000"]).stdout(slow).with_result().run();
    done.assert_code(0);
    let expected: String = (1..=2_000_000).map(|number| format!("{number}\n")).collect();
    assert_eq!(done.stdout_tally(), Tally::of(expected.as_bytes()));
    assert_eq!(done.result()["stdout_bytes"], expected.len());
}

#[test]
fn stderr_goes_on_after_stdout_was_closed() {
    let world = World::start();
    let line =
        "echo out; exec >&-; i=0; while [ $i -lt 2000 ]; do echo line $i >&2; i=$((i+1)); done";
    let expected: String = (0..2000).map(|number| format!("line {number}\n")).collect();
    assert_arrives(&world, line, b"out\n", expected.as_bytes());
}

#[test]
fn stdout_goes_on_after_stderr_was_closed() {
    let world = World::start();
    assert_arrives(&world, "echo err >&2; exec 2>&-; seq 1 3", b"1\n2\n3\n", b"err\n");
}

#[test]
fn output_comes_as_it_is_written_and_not_at_the_end() {
    let world = World::start();
    let line = "echo first; read line; echo \"then $line\"";
    let mut client = world.shell(line).stdin_pipe().stdout(Sink::Pipe).spawn();
    assert_eq!(client.read_line(), "first");
    client.write_stdin(b"this\n");
    assert_eq!(client.read_line(), "then this");
    client.wait().assert_code(0);
}

#[test]
fn who_holds_the_pipe_after_the_end_is_killed_and_the_result_says_so() {
    let world = World::start();
    let time = long_time(1);
    let done = world.shell(format!("sleep {time} & echo done")).with_result().run();
    done.assert_code(0);
    assert_eq!(done.stdout, b"done\n");
    let result = done.result();
    assert_eq!(result["output_open"], true, "{result}");
    assert_eq!(result["outcome"], "exited", "{result}");
    done.assert_says("still held the output open");
    eventually("who held the pipe is gone", || marked(&time).is_empty());
}

#[test]
fn a_tail_that_was_written_before_the_exit_is_never_cut_off() {
    let world = World::start();
    let time = long_time(2);
    // Credit rises in steps, and the tail waits in the pipe only when the end lies right behind one.
    let sizes = (0..8).map(|step| 3_000_000 + step * (32 << 10));
    std::thread::scope(|scope| {
        for size in sizes {
            let (world, time) = (&world, &time);
            scope.spawn(move || assert_has_its_tail(world, time, size));
        }
    });
    eventually("who held the pipe is gone", || marked(&time).is_empty());
}

/// Reads no more than lets the command end, and the rest when the 2 s for who holds the pipe are over.
fn assert_has_its_tail(world: &World, time: &str, size: u64) {
    let ended = world.scratch(&format!("ended-{size}"));
    let write = format!("head -c {size} /dev/zero; printf tail; : > {}", ended.display());
    let line = format!("sleep {time} & {write}");
    let mut client = world.shell(line).stdout(Sink::Pipe).with_result().spawn();
    let mut head = Vec::new();
    while poll_for(Duration::from_millis(100), || ended.exists().then_some(())).is_none() {
        head.extend(client.read_stdout(32 << 10));
    }
    world.exec(["sleep", "3"]).run().assert_code(0);
    let whole = Tally::read(head.as_slice().chain(client.stdout.take().unwrap())).unwrap();
    let expected = io::repeat(0).take(size).chain(&b"tail"[..]);
    assert_eq!(whole, Tally::read(expected).unwrap(), "{size}");
    let result = client.wait().assert_code(0).result();
    assert_eq!((&result["output_open"], &result["truncated"]), (&true.into(), &false.into()));
}

#[test]
fn a_daemon_that_holds_no_pipe_outlives_a_normal_end() {
    let world = World::start();
    let time = long_time(3);
    let line = format!("sleep {time} </dev/null >/dev/null 2>&1 & echo started");
    let done = world.shell(line).with_result().run();
    done.assert_code(0);
    assert_eq!(done.result()["output_open"], false);
    // It may still be on its way from fork to exec.
    eventually("it runs on", || marked(&time).iter().filter(|one| one.runs()).count() == 1);
    marked(&time).iter().for_each(|one| one.kill());
    eventually("the server has reaped it", || marked(&time).is_empty());
}
