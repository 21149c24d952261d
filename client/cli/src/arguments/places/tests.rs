use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Result<Place, WireError> {
    Place::read(OsStr::new(text))
}

fn remote(hosts: &str, path: &str) -> Place {
    let (hosts, path) = (hosts.to_owned(), path.as_bytes().to_vec());
    Place::Remote(RemotePlace { hosts, path, instead_of_port: None })
}

/// The place as it was read, without the remark on a port.
fn plain(text: &str) -> Place {
    match read(text).unwrap() {
        Place::Remote(place) => Place::Remote(RemotePlace { instead_of_port: None, ..place }),
        other => other,
    }
}

fn refused(text: &str) -> String {
    let failure = read(text).unwrap_err();
    assert_eq!(failure.kind, ErrorKind::Usage);
    format!("{failure} {}", failure.hint.as_deref().unwrap())
}

fn sides(words: &[&str]) -> Result<Sides, WireError> {
    Sides::read(&words.iter().map(OsString::from).collect::<Vec<_>>())
}

fn refused_sides(words: &[&str]) -> String {
    let failure = sides(words).unwrap_err();
    assert_eq!(failure.kind, ErrorKind::Usage, "{words:?}");
    format!("{failure} {}", failure.hint.as_deref().unwrap())
}

#[test]
fn the_host_ends_at_the_first_colon_outside_brackets() {
    for (text, place) in [
        ("web1:/tmp/x", remote("web1", "/tmp/x")),
        ("web1:x", remote("web1", "x")),
        ("web1:~/x", remote("web1", "~/x")),
        ("web1:", remote("web1", ".")),
        ("web1:~", remote("web1", ".")),
        ("web1:a:b", remote("web1", "a:b")),
        ("[::1]:/tmp/x", remote("[::1]", "/tmp/x")),
        ("[::1]:7000:x", remote("[::1]:7000", "x")),
        ("web1:22:x", remote("web1:22", "x")),
        ("web1:22:", remote("web1:22", ".")),
        ("web1:./22:x", remote("web1", "./22:x")),
        ("web1:22", remote("web1", "22")),
        ("@web:/etc", remote("@web", "/etc")),
        ("@web!web3:/etc", remote("@web!web3", "/etc")),
        ("web[01-20,30]:x", remote("web[01-20,30]", "x")),
        ("n[1-9/2]:/x", remote("n[1-9/2]", "/x")),
        ("web[1-3]:7000:x", remote("web[1-3]:7000", "x")),
    ] {
        assert_eq!(plain(text), place, "{text}");
    }
}

#[test]
fn a_slash_before_the_colon_makes_it_a_path_of_this_machine() {
    for text in ["./a:b", "/a:b", "a/b:c", "a", ".", "a b", "x[1:2", "x[1]/y:z", "-rf", "~/x"] {
        assert_eq!(read(text).unwrap(), Place::Local(text.as_bytes().to_vec()), "{text}");
    }
    assert_eq!(read("-").unwrap(), Place::Standard);
    let odd = OsStr::from_bytes(b"./\xff:x");
    assert_eq!(Place::read(odd).unwrap(), Place::Local(b"./\xff:x".to_vec()));
}

#[test]
fn what_was_read_as_a_port_is_told_when_something_fails() {
    let Place::Remote(place) = read("web1:10:30.log").unwrap() else { panic!("remote") };
    assert_eq!((place.hosts.as_str(), place.path.as_slice()), ("web1:10", &b"30.log"[..]));
    assert!(place.instead_of_port.unwrap().contains("`web1:./10:30.log`"));
}

#[test]
fn what_is_no_host_is_refused_with_what_to_write() {
    for (text, says) in [
        ("", "a path is empty"),
        (":x", "`./:x`"),
        ("::1:/tmp/x", "`[::1]:/tmp/x`"),
        ("fe80::1:/tmp/x", "`[fe80::1]:/tmp/x`"),
        ("1:2:3:4:5:6:7:8:x", "`[1:2:3:4:5:6:7:8]:x`"),
        ("root@a1:/tmp/x", "-l root ... a1:/tmp/x"),
        ("a1,root@a2:x", "-l root"),
        ("web1:0:x", "1 to 65535"),
        ("web1:99999:x", "1 to 65535"),
        ("@web:22:x", "hosts.toml"),
        ("a,b:22:x", "hosts.toml"),
        ("a:7001,b:7002:/x", "was read as `a`"),
        ("ssh://web1/x", "HOST:PATH"),
        ("scp://web1/x", "HOST:PATH"),
    ] {
        let text = refused(text);
        assert!(text.contains(says), "{text}");
    }
    let failure = Place::read(OsStr::from_bytes(b"\xff:x")).unwrap_err();
    assert!(failure.message.contains("is not text"), "{failure}");
}

#[test]
fn one_side_is_here_and_the_other_one_is_not() {
    let paths = |paths: &[&str]| paths.iter().map(|path| path.as_bytes().to_vec()).collect();
    let Place::Remote(to) = remote("web1", "/srv") else { unreachable!() };
    let push = |sources| Sides::Push { sources, to: to.clone() };
    assert_eq!(
        sides(&["a", "b/", "web1:/srv"]).unwrap(),
        push(LocalSources::Paths(paths(&["a", "b/"])))
    );
    for stream in ["-", "/dev/stdin", "/dev/fd/0"] {
        assert_eq!(sides(&[stream, "web1:/srv"]).unwrap(), push(LocalSources::Standard));
    }
    let fetched = sides(&["web1:/srv", "web1:x*", "."]).unwrap();
    let to_here = LocalTarget::Path(b".".to_vec());
    assert_eq!(fetched, Sides::Fetch { from: to, paths: paths(&["/srv", "x*"]), to: to_here });
    for stream in ["-", "/dev/stdout", "/proc/self/fd/1"] {
        let sides = sides(&["web1:x", stream]).unwrap();
        assert!(matches!(sides, Sides::Fetch { to: LocalTarget::Standard, .. }), "{stream}");
    }
}

#[test]
fn sides_that_make_no_sense_are_refused_with_what_to_type() {
    for (words, says) in [
        (&[][..], "are missing"),
        (&["a"], "the destination is missing"),
        (&["a:/x/b", "c:d"], "`rcmd-client cp a:/x/b ./b`, then `rcmd-client cp ./b c:d`"),
        (&["a:/x/b c", "c:d"], "`rcmd-client cp 'a:/x/b c' './b c'`"),
        (&["a:/x/", "c:d"], "`rcmd-client cp a:/x/ ./copy`"),
        (&["a", "a:x", "c:d"], "both sides are on other machines"),
        (&["a", "b"], "here cp(1) copies"),
        (&["a:x", "b", "c"], "both on this machine"),
        (&["-", "-"], "both on this machine"),
        (&["a:x", "b:y", "dir"], "`rcmd-client cp a:x dir`, `rcmd-client cp b:y dir`"),
        (&["-", "x", "a:y"], "the only source"),
        (&["-", "-", "a:y"], "the only source"),
    ] {
        let text = refused_sides(words);
        assert!(text.contains(says), "{words:?}: {text}");
    }
}

#[test]
fn a_path_has_a_last_name_unless_it_means_contents() {
    for (path, name) in [
        ("a", Some("a")),
        ("/x/a", Some("a")),
        ("a/", None),
        (".", None),
        ("a/..", None),
        ("a/.", None),
        ("/", None),
        ("...", Some("...")),
    ] {
        assert_eq!(last_name(path.as_bytes()), name.map(str::as_bytes), "{path}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_and_nothing_is_lost(bytes: Vec<u8>) {
        let typed: Vec<u8> = bytes.into_iter().filter(|byte| *byte != 0).collect();
        match Place::read(OsStr::from_bytes(&typed)) {
            Ok(Place::Local(path)) => prop_assert_eq!(path, typed),
            Ok(Place::Standard) => prop_assert_eq!(&typed[..], b"-"),
            Ok(Place::Remote(place)) => {
                prop_assert!(!place.hosts.is_empty() && !place.path.is_empty());
                let written = place.written();
                let whole = typed.strip_suffix(b"~").unwrap_or(&typed);
                let same = written == typed || [whole, b"."].concat() == written;
                prop_assert!(same, "{written:?}");
            }
            Err(failure) => prop_assert!(failure.hint.is_some()),
        }
    }

    #[test]
    fn a_host_and_a_path_are_read_back(host in "[a-z][a-z0-9.-]{0,20}", path in "[^\\x00]{1,30}") {
        let Ok(place) = read(&format!("{host}:./{path}")) else { panic!("refused") };
        prop_assert_eq!(place, remote(&host, &format!("./{path}")));
    }

    #[test]
    fn what_has_a_slash_first_is_here(name in "[^\\x00/\\[]{0,10}", rest in "[^\\x00]{0,30}") {
        prop_assume!(!name.contains(':'));
        let text = format!("{name}/{rest}");
        prop_assert_eq!(read(&text).unwrap(), Place::Local(text.as_bytes().to_vec()));
    }
}
