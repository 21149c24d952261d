//! The screen of a person at a terminal while a command runs on a set of hosts, and after its end.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rcmd_tests::disk::SmallDisk;
use rcmd_tests::many::{count_lines, gate, open, put_host, write_hosts, write_hosts_toml};
use rcmd_tests::proc::{Process, signal};
use rcmd_tests::pty::{Emulator, Resize, Terminal, Viewer};
use rcmd_tests::{World, binaries, require, skip};
use rustix::process::Signal;
use serde_json::Value;

/// The longest time that a client may take.
const LIMIT: Duration = Duration::from_secs(120);

fn world(hosts: &[&str]) -> World {
    let world = World::start();
    let mut text = String::new();
    for host in hosts {
        put_host(&mut text, &format!("{host:?}"), world.address());
    }
    write_hosts_toml(&world.client_dir().join("hosts.toml"), &text);
    world
}

/// Returns a client whose standard streams are not yet said.
fn client(world: &World, options: &[&str], hosts: &str, line: &str) -> Command {
    let mut command = Command::new(&binaries().client);
    arrange(&mut command, world, options, hosts, line);
    command
}

fn arrange(command: &mut Command, world: &World, options: &[&str], hosts: &str, line: &str) {
    command.arg("--dir").arg(world.client_dir()).args(options).args(["--shell", hosts, line]);
    for name in ["RCMD_DIR", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm-256color").stdin(Stdio::null());
}

/// Starts it with both outputs at a terminal.
fn watch(columns: u16, mut client: Command) -> Viewer {
    Viewer::start(columns, Resize::Reflow, |terminal| {
        client.stdout(terminal.side()).stderr(terminal.side());
        client
    })
}

/// Runs to the end and returns the rows, those of hosts sorted: they come in any order.
fn sorted(viewer: &mut Viewer) -> Vec<String> {
    let mut rows = viewer.end(LIMIT).0.rows();
    let hosts = rows.iter().take_while(|row| !row.starts_with("rcmd: ")).count();
    rows[..hosts].sort();
    rows
}

/// Returns the number of rows that are of the live line, or what is left of one.
fn live_rows(screen: &Emulator) -> usize {
    let is_live = |row: &&String| {
        // What to type next has a folder in it.
        let is_ours = row.starts_with("rcmd: ") && !row.starts_with("rcmd: next: ");
        is_ours && row.contains('/') || row.contains("done") || row.contains("slowest")
    };
    screen.rows().iter().filter(is_live).count()
}

#[test]
fn labels_are_padded_and_coloured_and_standard_error_is_told_apart() {
    let world = world(&["web123", "büro2", "磁盘"]);
    let line = "echo out; [ {index} = 2 ] || echo err >&2";
    let mut viewer = watch(80, client(&world, &[], "web123,büro2,磁盘", line));
    assert_eq!(
        sorted(&mut viewer),
        [
            "büro2:  ! err",
            "büro2:  out",
            "web123: ! err",
            "web123: out",
            "磁盘:   out",
            "rcmd: 3 hosts: 3 exited 0",
            "rcmd: templates: {index}"
        ]
    );
    let screen = viewer.look();
    let styles: Vec<_> = (0..5).map(|row| screen.styles(row)).collect();
    let of = |start: &str| {
        let found = styles.iter().find(|parts| parts[0].1 == start).expect(start);
        found[0].0.clone()
    };
    let colours = [of("web123:"), of("büro2:"), of("磁盘:")];
    assert!(colours.iter().all(|colour| colour.starts_with('3')), "{colours:?}");
    assert!(colours[0] != colours[1] && colours[1] != colours[2], "{colours:?}");
    for parts in &styles {
        let is_error = parts.iter().any(|(_, text)| text.contains("! err"));
        assert_eq!(is_error, parts.iter().any(|(style, _)| style == "31"), "{parts:?}");
    }
}

#[test]
fn lines_longer_than_the_window_and_characters_of_any_width_stay_one_line_each() {
    let world = world(&["a1", "a2"]);
    let long = "0123456789".repeat(12);
    let wide = "磁盘已满".repeat(12);
    // A letter with an accent of its own, and one that is told by two characters.
    let line = format!("echo {long}; echo {wide}; echo 'cafe\u{301} é'; printf 'a\\tb'");
    for columns in [80, 40] {
        let mut viewer = watch(columns, client(&world, &[], "a[1-2]", &line));
        viewer.end(LIMIT);
        let screen = viewer.look();
        let mut lines = screen.lines();
        lines.sort();
        let mut expected: Vec<_> = ["a1", "a2"]
            .iter()
            .flat_map(|host| {
                let short = [long.as_str(), wide.as_str(), "cafe\u{301} é", "a   b"];
                short.map(|text| format!("{host}: {text}"))
            })
            .collect();
        expected.push("rcmd: 2 hosts: 2 exited 0".to_owned());
        expected.sort();
        assert_eq!(lines, expected);
        let wide = screen.rows().iter().filter(|row| row.contains('磁')).count();
        assert_eq!(wide, 2 * 100_usize.div_ceil(usize::from(columns)), "100 columns each");
    }
}

#[test]
fn the_live_line_stands_alone_fits_the_window_and_is_never_left_behind() {
    let world = world(&["a-host-with-a-rather-long-name", "a2", "a3"]);
    let hosts = "a-host-with-a-rather-long-name,a[2-3]";
    for (columns, first) in [
        (80, "rcmd: 1/3 done, 1 failed, 2 run; slowest a"),
        (40, "rcmd: 1/3 done, 1 failed, 2 run"),
        (24, "rcmd: 1/3 done, 2 run"),
        (10, "rcmd: 1/3"),
    ] {
        let (gate, wait) = gate(&world, &format!("gate-{columns}"));
        let line = format!("[ {{host}} = a3 ] && exit 3; {wait}; echo well");
        let mut viewer = watch(columns, client(&world, &["--fold"], hosts, &line));
        viewer.until("it says how far it is", |screen| {
            screen.rows().last().is_some_and(|row| row.starts_with(first))
        });
        assert_eq!(viewer.look().rows().len(), 1, "{}", viewer.look());
        println!("{}", viewer.look());
        open(&gate);
        let lines = viewer.end(LIMIT).0.lines();
        assert!(lines[1].ends_with(" (2)"), "{lines:?}");
        assert_eq!(
            [&lines[..1], &lines[2..]].concat(),
            [
                "---------------",
                "---------------",
                "well",
                "---------------",
                "a3 (1): failed with status 3",
                "---------------",
                "rcmd: 3 hosts: 2 exited 0, 1 failed",
                "rcmd: 1 failed with status 3: a3",
                "rcmd: templates: {host}"
            ]
        );
    }
}

#[test]
fn a_window_that_shrinks_in_the_middle_keeps_nothing_of_the_live_line() {
    let world = world(&["a1", "a2", "a-longer-name"]);
    for resize in [Resize::Reflow, Resize::Cut] {
        let gates = [80, 40, 10].map(|columns| gate(&world, &format!("{resize:?}-{columns}")));
        let mut line = String::new();
        for (number, (_, wait)) in gates.iter().enumerate() {
            line += &format!("echo before {number}; {wait}; ");
        }
        let hosts = "a[1-2],a-longer-name";
        let mut client = client(&world, &["--progress"], hosts, &format!("{line} echo end"));
        let mut viewer = Viewer::start(80, resize, |terminal| {
            client.stdout(terminal.side()).stderr(terminal.side());
            client
        });
        let live = ["rcmd: 0/3 done, 3 run; slowest ", "rcmd: 0/3 done, 3 run", "rcmd: 0/3"];
        for (number, columns) in [80, 40, 10].into_iter().enumerate() {
            if number > 0 {
                viewer.set_columns(columns);
            }
            // Where rows are cut, what stood behind the tenth column is gone.
            let is_cut = resize == Resize::Cut && columns == 10;
            viewer.until("each host has written", |screen| {
                is_cut || screen.rows().concat().matches("before").count() >= 3 * (number + 1)
            });
            viewer.until("the live line fits, and stands alone", |screen| {
                let last = screen.rows().pop().unwrap_or_default();
                last.starts_with(live[number]) && live_rows(screen) == 1
            });
            println!("{}", viewer.look());
            open(&gates[number].0);
        }
        let screen = viewer.end(LIMIT).0;
        assert_eq!(live_rows(screen), 0, "{screen}");
        let rows = screen.rows();
        let account = rows.iter().rposition(|row| row.starts_with("rcmd: ")).unwrap();
        assert_eq!(rows[account..].concat(), "rcmd: 3 hosts: 3 exited 0");
    }
}

#[test]
fn without_colours_there_is_no_colour_and_at_a_dumb_terminal_no_sequence_at_all() {
    let world = world(&["a1", "a2"]);
    let line = "echo out; echo err >&2; exit 3";
    for options in [&["--progress"][..], &["--fold"], &["--diff"]] {
        let mut command = client(&world, options, "a[1-2]", line);
        command.env("NO_COLOR", "1");
        let mut viewer = watch(80, command);
        let screen = viewer.end(LIMIT).0;
        assert!(!screen.obeyed.contains("CSI m"), "{:?}", screen.obeyed);
        // Where `CI` is set many programs colour what they write anywhere.
        let mut command = client(&world, options, "a[1-2]", line);
        command.env("TERM", "dumb").env("CI", "true");
        let mut viewer = watch(80, command);
        let screen = viewer.end(LIMIT).0;
        assert!(screen.obeyed.iter().map(String::as_str).eq(["CR", "LF"]), "{:?}", screen.obeyed);
        assert_eq!(live_rows(screen), 0);
        let mut coloured = watch(80, client(&world, options, "a[1-2]", line));
        assert!(coloured.end(LIMIT).0.obeyed.contains("CSI m"));
    }
}

#[test]
fn where_one_output_goes_to_a_file_the_other_has_its_own() {
    let world = world(&["a1", "a2"]);
    let file = world.scratch("file");
    let (gate, wait) = gate(&world, "gate");
    let line = format!("echo err >&2; {wait}; echo out");
    let mut command = client(&world, &[], "a[1-2]", &line);
    let mut viewer = Viewer::start(80, Resize::Reflow, |terminal| {
        command.stdout(File::create(&file).unwrap()).stderr(terminal.side());
        command
    });
    // Output that nobody sees here does not show how far it is.
    viewer.until("a live line below the errors", |screen| {
        let rows = screen.rows();
        rows.len() == 3 && rows[2].starts_with("rcmd: 0/2 done, 2 run; slowest ")
    });
    open(&gate);
    assert_eq!(sorted(&mut viewer), ["a1: ! err", "a2: ! err", "rcmd: 2 hosts: 2 exited 0"]);
    assert_eq!(sorted_lines(&file), ["a1: out", "a2: out"]);

    let mut command = client(&world, &["--progress"], "a[1-2]", "echo err >&2; echo out");
    let mut viewer = Viewer::start(80, Resize::Reflow, |terminal| {
        command.stdout(terminal.side()).stderr(File::create(&file).unwrap());
        command
    });
    assert_eq!(sorted(&mut viewer), ["a1: out", "a2: out"]);
    assert_eq!(sorted_lines(&file), ["a1: err", "a2: err", "rcmd: 2 hosts: 2 exited 0"]);
}

fn sorted_lines(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// `rcmd-client HOSTS COMMAND | grep`: the reader of the pipe has the same terminal.
#[test]
fn a_pipe_may_end_at_the_same_terminal_and_gets_a_live_line_only_when_asked() {
    let world = world(&["a1", "a2"]);
    for (options, asked) in [(&[][..], false), (&["--progress"], true)] {
        let (gate, wait) = gate(&world, &format!("gate-{asked}"));
        let line = format!("echo first; {wait}; echo last");
        let mut command = client(&world, options, "a[1-2]", &line);
        command.stdout(Stdio::piped());
        let mut reader = None;
        let mut viewer = Viewer::start(80, Resize::Reflow, |terminal| {
            let mut cat = Command::new("cat");
            command.stderr(terminal.side());
            let mut running = command.spawn().unwrap();
            cat.stdin(running.stdout.take().unwrap());
            cat.stdout(terminal.side()).stderr(terminal.side());
            reader = Some(running);
            // The client's own side of the terminal closes with it.
            command.stdout(Stdio::null()).stderr(Stdio::null());
            cat
        });
        viewer.until("both have written", |screen| {
            screen.rows().concat().matches("first").count() == 2
        });
        if asked {
            viewer.until("a live line", |screen| live_rows(screen) == 1);
        }
        open(&gate);
        viewer.end(LIMIT);
        // The account may come behind the end of the pipe's reader.
        let mut running = reader.take().unwrap();
        assert!(running.wait().unwrap().success());
        let screen = viewer.look();
        if !asked {
            let mut rows = screen.rows();
            rows.sort();
            let expected =
                ["a1: first", "a1: last", "a2: first", "a2: last", "rcmd: 2 hosts: 2 exited 0"];
            assert_eq!(rows, expected);
            assert!(!screen.obeyed.contains("CSI J"), "{:?}", screen.obeyed);
        }
    }
}

#[test]
fn progress_into_a_pipe_is_nothing() {
    let world = world(&["a1", "a2"]);
    let done = client(&world, &["--progress"], "a[1-2]", "sleep 0.5; echo x").output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(said, "rcmd: 2 hosts: 2 exited 0\n");
}

#[test]
fn an_account_in_a_narrow_window_is_whole_and_each_line_begins_a_row() {
    let world = World::start();
    write_hosts(&world, 4);
    let line = "case {index} in 0) ;; 1) exit 3;; 2) kill -9 $$;; *) exec sleep 600;; esac";
    let options = ["--timeout", "300ms"];
    let mut viewer = watch(40, client(&world, &options, "a[1-4],dead", line));
    let (screen, status) = viewer.end(LIMIT);
    let starts = [
        "rcmd: 5 hosts: 1 exited 0, 2 failed, 1 timed out, 1 not started",
        "rcmd: 1 failed with status 3: a2",
        "rcmd: 1 ended by SIGKILL: a3",
        "rcmd: 1 timed out: a4",
        "rcmd: 1 not started: dead: ",
    ];
    assert!(screen.lines().len() >= starts.len(), "{screen}");
    for (line, start) in screen.lines().iter().zip(starts) {
        assert!(line.starts_with(start), "{start}: {screen}");
    }
    assert_eq!(status, Some(125));
    assert!(screen.rows().iter().all(|row| row.chars().count() <= 40), "{screen}");
}

/// Starts a client in front of its own terminal, where keys become signals.
fn in_front(columns: u16, setsid: &Path, world: &World, options: &[&str], line: &str) -> Viewer {
    let mut command = Command::new(setsid);
    command.arg("--ctty").arg(&binaries().client);
    arrange(&mut command, world, options, "web[1-4]", line);
    Viewer::start(columns, Resize::Reflow, |terminal: &Terminal| {
        command.stdin(terminal.side()).stdout(terminal.side()).stderr(terminal.side());
        command
    })
}

#[test]
fn ctrl_c_says_where_each_stands_in_rows_of_its_own() {
    let setsid = require!(skip::need_tool("setsid"));
    let world = world(&["web1", "web2", "web3", "web4"]);
    for (options, columns) in
        [(&["-f", "2"][..], 80), (&["-f", "2", "--fold"], 80), (&["-f", "2"], 40)]
    {
        let _ = fs::remove_file(world.scratch("gate"));
        let _ = fs::remove_file(world.scratch("ran"));
        let (gate, wait) = gate(&world, "gate");
        let ran = world.scratch("ran");
        let line = format!("echo x >> {}; [ {{host}} = web1 ] || {{ {wait}; }}", ran.display());
        let mut viewer = in_front(columns, &setsid, &world, options, &line);
        viewer.until("two wait", |_| count_lines(&ran) == 3);
        viewer.types(&[3]);
        viewer.until("it says where each stands", |screen| {
            screen.lines().iter().any(|line| line == "rcmd: 1 wait and will not begin")
        });
        println!("{}", viewer.look());
        let lines = viewer.look().lines();
        assert_eq!(
            lines[..2],
            [
                "rcmd: interrupted: no further host begins; again to interrupt what runs",
                "rcmd: 1 of 4 ended"
            ]
        );
        assert!(
            lines[2].starts_with("rcmd: 2 run: web[2-3], web2 longest, for "),
            "{}",
            viewer.look()
        );
        assert!(!viewer.look().rows().concat().contains("^C"), "{}", viewer.look());
        open(&gate);
        let (screen, status) = viewer.end(LIMIT);
        assert_eq!((status, live_rows(screen)), (Some(130), 0), "{screen}");
        assert!(
            screen.lines().contains(&"rcmd: 4 hosts: 3 exited 0, 1 not started".to_owned()),
            "{screen}"
        );
    }
}

#[test]
fn the_second_ctrl_c_says_that_what_runs_gets_it() {
    let setsid = require!(skip::need_tool("setsid"));
    let world = world(&["web1", "web2", "web3", "web4"]);
    let ran = world.scratch("ran");
    let line = format!("echo x >> {}; exec sleep 600", ran.display());
    let mut viewer = in_front(80, &setsid, &world, &["--fold"], &line);
    viewer.until("all run", |_| count_lines(&ran) == 4);
    viewer.types(&[3]);
    viewer.until("it says so", |screen| screen.lines().len() >= 3);
    viewer.types(&[3]);
    let (screen, status) = viewer.end(LIMIT);
    assert_eq!(status, Some(130));
    let says = "rcmd: interrupted: no further host begins, and what runs gets SIGINT; in 5s, or if interrupted again, it is killed";
    assert!(screen.lines().iter().any(|line| line == says), "{screen}");
    assert!(
        screen.lines().iter().any(|line| line == "rcmd: 4 ended by SIGINT: web[1-4]"),
        "{screen}"
    );
}

#[test]
fn ctrl_z_takes_the_live_line_away_and_it_comes_again() {
    let setsid = require!(skip::need_tool("setsid"));
    let world = world(&["web1", "web2", "web3", "web4"]);
    let (gate, wait) = gate(&world, "gate");
    let mut viewer = in_front(80, &setsid, &world, &["--fold"], &wait);
    let live = |screen: &Emulator| {
        screen.rows().last().is_some_and(|row| row.starts_with("rcmd: 0/4 done, 4 run; slowest "))
    };
    viewer.until("a live line", live);
    viewer.types(&[0x1a]);
    let pid = viewer.pid();
    let state = || Process::find(pid).map(|process| process.state);
    viewer.until("it is stopped", |_| state() == Some('T'));
    assert_eq!(live_rows(viewer.look()), 0, "{}", viewer.look());
    signal(pid, Signal::CONT);
    viewer.until("a live line again", live);
    open(&gate);
    assert_eq!(live_rows(viewer.end(LIMIT).0), 0);
}

/// The texts by which a host may try to put its output where another's is.
const HOSTILE: [&str; 12] = [
    r"\ra2: I am a2\n",
    r"\033[1A\033[2Ka2: I am a2\n",
    r"\033[H\033[2J\033[3Ja2: I am a2\n",
    r"\033]0;a title\007\033]52;c;aGk=\007\n",
    r"\302\2331A\302\2332Ka2: I am a2\n",
    r"\2331A\2332Ka2: I am a2\205a2: \n",
    r"\b\b\b\b\b\b\b\ba2: I am a2\n",
    r"\033[?1049h\033[?25l\033[8m\n",
    r"\033P\033\\\033_G\033\\\033c\n",
    r"\342\200\2562a :eil\342\200\250a2: I am a2\302\205a2: \n",
    r"\v\f\007\000\177\033",
    r"\357\273\277\342\200\213\n",
];

#[test]
fn a_hostile_host_among_honest_ones_draws_over_nobody_s_lines() {
    let world = world(&["a1", "a2", "a3"]);
    let mut line = "if [ {host} = a1 ]; then ".to_owned();
    for text in HOSTILE {
        line += &format!("printf '{text}'; printf '{text}' >&2; ");
    }
    line += "head -c 100000 /dev/zero; yes x | tr -d '\\n' | head -c 1200000; else for n in 1 2 3 4 5; do echo honest $n; done; fi";
    for (columns, options) in [(80, &["--progress"][..]), (40, &["--progress"]), (80, &["--fold"])]
    {
        let mut viewer = watch(columns, client(&world, options, "a[1-3]", &line));
        viewer.end(LIMIT);
        let screen = viewer.look();
        let obeyed: Vec<_> = screen.obeyed.iter().map(String::as_str).collect();
        let allowed = ["CR", "CSI J", "CSI m", "LF"];
        assert!(obeyed.iter().all(|one| allowed.contains(one)), "{obeyed:?}");
        assert!(is_plain(viewer.shown()), "no other invisible or direction-changing character");
        let lines = viewer.look().lines();
        if options == ["--fold"] {
            assert!(lines.iter().any(|line| line == "a[2-3] (2)"));
            continue;
        }
        for host in ["a2", "a3"] {
            let of: Vec<_> = lines.iter().filter(|line| line.starts_with(host)).collect();
            let expected: Vec<_> = (1..=5).map(|n| format!("{host}: honest {n}")).collect();
            assert_eq!(of, expected.iter().collect::<Vec<_>>());
        }
        let strange = |line: &&String| {
            !["a1: ", "a2: ", "a3: ", "rcmd: "].iter().any(|start| line.starts_with(start))
                && line.as_str() != "a1:"
        };
        assert_eq!(lines.iter().find(strange), None);
    }
}

/// Returns whether no character of a text commands or deceives beyond what [`Emulator`] counts.
fn is_plain(shown: &[u8]) -> bool {
    let text = std::str::from_utf8(shown).unwrap();
    let ours = |c: char| matches!(c, '\r' | '\n' | '\u{1b}');
    text.chars().all(|c| ours(c) || rcmd_certs::text::is_safe(c))
}

#[test]
fn a_record_that_fails_is_told_beside_the_live_line_and_nothing_runs_twice() {
    let names: Vec<_> = (1..=40).map(|number| format!("a{number}")).collect();
    let world = world(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let disk = require!(SmallDisk::mount(&world.client_dir().join("runs"), 256));
    let ran = world.scratch("ran");
    let (gate, wait) = gate(&world, "gate");
    let line = format!("echo {{host}} >> {}; {wait}; [ {{host}} != a30 ]", ran.display());
    let options = ["-f", "1", "--progress"];
    let mut viewer = watch(80, client(&world, &options, "a[1-40]", &line));
    viewer.until("the first one runs", |screen| count_lines(&ran) == 1 && live_rows(screen) == 1);
    disk.fill();
    open(&gate);
    let (screen, status) = viewer.end(LIMIT);
    assert_eq!((status, live_rows(screen)), (Some(1), 0));
    let lines = screen.lines();
    assert!(
        lines[0].starts_with("rcmd: warning: cannot write the record: No space left"),
        "{screen}"
    );
    assert_eq!(lines[1], "rcmd: The run goes on; what follows can't be resumed.");
    assert_eq!(lines[2], "rcmd: 40 hosts: 39 exited 0, 1 failed");
    // What became of the others their hosts know, by the keys that a record gives. Of the one whose start is
    // recorded and whose end is not, the host has told it and forgotten it.
    disk.free();
    let mut resume = Command::new(&binaries().client);
    resume.arg("--dir").arg(world.client_dir()).args(["run", "--resume", "last", "--json"]);
    let done = resume.env_remove("RCMD_DIR").stdin(Stdio::null()).output().unwrap();
    let events = String::from_utf8(done.stdout).unwrap();
    let summary: Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
    let of = |kind: &str| summary[kind].as_u64().unwrap();
    assert_eq!((of("failed"), of("exited") + of("unknown")), (1, 39), "{summary}");
    assert!(of("unknown") <= 1, "{events}");
    assert_eq!(count_lines(&ran), 40, "nothing ran twice");
}
