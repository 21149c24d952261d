//! The way from two empty folders to a working pair by token, in the README's words.

use std::fs;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcmd_tests::{binaries, eventually_some};

/// Returns the words of the README's section, of which each test step is one.
fn section() -> String {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let (_, rest) = readme.split_once("## Two real hosts\n").unwrap();
    rest.split_once("\n## ").unwrap().0.to_owned()
}

/// A process that is ended when it goes out of scope.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn two_empty_folders_become_a_working_pair_in_the_words_of_the_readme() {
    let began = Instant::now();
    let words = section();
    let folder = tempfile::tempdir().unwrap();
    let programs = binaries();
    // What the README types, with the folders and the ports that a test needs.
    let command = |typed: &str, dir: &str| {
        assert!(words.contains(typed), "the README does not say: {typed}");
        let mut typed = typed.split(' ');
        let program = match typed.next().unwrap() {
            "rcmd-certs" => &programs.certs,
            "rcmd-server" => &programs.server,
            _ => &programs.client,
        };
        let mut command = Command::new(program);
        command.current_dir(folder.path()).stdin(Stdio::null());
        command.env("RCMD_DIR", folder.path().join(dir)).args(typed);
        command
    };
    let output = |mut command: Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let listening = |mut command: Command, name: &str| {
        let said = folder.path().join(name);
        command.stdout(fs::File::create(&said).unwrap()).stderr(Stdio::null());
        let running = Running(command.spawn().unwrap());
        let address = eventually_some("it listens", || {
            let text = fs::read_to_string(&said).unwrap();
            text.lines().find_map(|line| Some(line.strip_prefix("listening on ")?.to_owned()))
        });
        (running, address)
    };

    output(command("rcmd-certs init --dir ca", "ca"));
    let mut serve = command("rcmd-certs serve --dir ca", "ca");
    serve.args(["--name", "localhost", "--listen", "127.0.0.1:0"]);
    let (_authority, _) = listening(serve, "authority");
    let mut token = command("rcmd-certs token server web1", "ca");
    token.args(["localhost", "--dir", "ca"]);
    let server_token = output(token);
    let client_token =
        output(command("rcmd-certs token client alice --group admin --dir ca", "ca"));

    let enrolled = |mut command: Command, token: &str| {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        String::from_utf8(output.stdout).unwrap()
    };
    let said = enrolled(command("rcmd-server enroll", "host"), &server_token);
    assert!(said.contains("next: rcmd-server policy init"), "{said}");
    output(command("rcmd-server policy init", "host"));
    let mut serve = command("rcmd-server --listen", "host");
    serve.arg("127.0.0.1:0");
    let (_server, address) = listening(serve, "server");

    let said = enrolled(command("rcmd-client enroll", "user"), &client_token);
    assert!(said.starts_with("enrolled as alice, groups admin"), "{said}");
    let port = address.rsplit_once(':').unwrap().1;
    let mut run = command("rcmd-client", "user");
    run.arg(format!("localhost:{port}")).args(["uname", "-s"]);
    assert_eq!(output(run), "Linux\n");
    assert!(began.elapsed() < Duration::from_secs(60));
}
