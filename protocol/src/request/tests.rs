use super::*;

#[test]
fn a_setting_never_passes_for_an_argument_under_the_same_digest() {
    let as_argument = Request::exec(["env", "A=1"]).build().unwrap();
    let as_setting = Request::exec(["env"]).env("A=1").build().unwrap();
    assert_eq!(as_argument.encode(), as_setting.encode());
    assert_ne!(as_argument.digest(), as_setting.digest());
}

#[test]
fn a_lock_is_part_of_the_request_and_the_wait_for_it_is_not() {
    let with = |name: &str, wait_ms| {
        let lock = Lock { name: name.to_owned(), wait_ms };
        Request::exec(["x"]).lock(lock).build().unwrap().digest()
    };
    assert_ne!(Request::exec(["x"]).build().unwrap().digest(), with("a", 0));
    assert_ne!(with("a", 0), with("b", 0));
    assert_eq!(with("a", 0), with("a", 5000));
}

#[test]
fn a_lock_s_name_is_short_and_printable() {
    let check = |name: &str| {
        let lock = Lock { name: name.to_owned(), wait_ms: 0 };
        Request::exec(["x"]).lock(lock).build().map(drop).map_err(|failure| failure.kind)
    };
    for name in ["a", "deploy/web:1", "../..", &"x".repeat(limits::LOCK)] {
        assert_eq!(check(name), Ok(()), "{name}");
    }
    for name in ["", "a b", "a\n", "\u{1b}[", "\u{e9}", &"x".repeat(limits::LOCK + 1)] {
        assert_eq!(check(name), Err(ErrorKind::Usage), "{name:?}");
    }
}

#[test]
fn what_cannot_be_run_is_not_built() {
    let kind = |builder: &RequestBuilder| builder.build().map_err(|failure| failure.kind);
    for usage in [
        Request::exec::<&str>([]),
        Request::exec([""]),
        Request::exec(["a\0b"]),
        Request::shell(""),
        Request::builder(Mode::Shell, ["a", "b"]),
        Request::exec(["x"]).env("X").clone(),
        Request::exec(["x"]).env("=x").clone(),
        Request::exec(["x"]).user("").clone(),
    ] {
        assert_eq!(kind(&usage), Err(ErrorKind::Usage), "{usage:?}");
    }
    assert_eq!(kind(&Request::exec(vec!["x"; limits::ARGUMENTS + 1])), Err(ErrorKind::TooBig));
    assert_eq!(kind(&Request::shell(vec![b'x'; limits::STRING])), Err(ErrorKind::TooBig));
    assert!(kind(&Request::exec(vec!["x"; limits::ARGUMENTS])).is_ok());
}

fn of_transfer(args: &[&[u8]]) -> Result<(), (ErrorKind, String)> {
    let request = Request::builder(Mode::Transfer, args.iter().copied()).build();
    request.map(drop).map_err(|failure| (failure.kind, failure.message))
}

#[test]
fn what_is_built_is_read_back() {
    let both = [false, true];
    let receive = both.into_iter().flat_map(|is_itself| {
        both.into_iter().flat_map(move |has_several| {
            both.map(|is_delta| TransferVerb::Receive { is_itself, has_several, is_delta })
        })
    });
    let send = both.map(|is_literal| TransferVerb::Send { is_literal });
    let list = both.map(|is_long| TransferVerb::List { is_long });
    for verb in receive.chain(send).chain(list) {
        // A path may look like an option.
        let request = Request::transfer(verb, [&b"--\xff"[..]]).build().unwrap();
        let transfer = request.as_transfer().unwrap();
        assert_eq!((transfer.verb, transfer.paths), (verb, &[b"--\xff".to_vec()][..]));
    }
    assert!(Request::exec(["send", "--", "x"]).build().unwrap().as_transfer().is_none());
}

#[test]
fn what_no_transfer_can_mean_is_refused_by_its_name() {
    let cases: [(&[&[u8]], &str); 7] = [
        (&[b"fetch", b"--", b"x"], "\"fetch\""),
        (&[b"send", b"--itself", b"--", b"x"], "send has no option \"--itself\""),
        (&[b"receive", b"--delta\n", b"--", b"x"], "receive has no option \"--delta\\n\""),
        (&[b"send"], "no paths"),
        (&[b"send", b"x"], "\"x\""),
        (&[b"send", b"--"], "empty path"),
        (&[b"send", b"--", b"x", b""], "empty path"),
    ];
    for (args, named) in cases {
        let (kind, message) = of_transfer(args).unwrap_err();
        assert!(kind == ErrorKind::Usage && message.contains(named), "{message}");
    }
}

#[test]
fn paths_are_few_enough_and_short_enough() {
    let long = vec![b'x'; limits::PATH];
    let receive: [&[u8]; 4] = [b"receive", b"--", b"x", b"y"];
    assert_eq!(of_transfer(&receive).unwrap_err().0, ErrorKind::TooBig);
    assert_eq!(of_transfer(&[b"list", b"--", b"x", b"y"]).unwrap_err().0, ErrorKind::TooBig);
    assert_eq!(of_transfer(&[b"send", b"--", &long]).unwrap_err().0, ErrorKind::TooBig);
    assert_eq!(of_transfer(&[b"send", b"--", &long[1..]]), Ok(()));
    let send = |count| [&[&b"send"[..], b"--"][..], &vec![&b"x"[..]; count][..]].concat();
    assert_eq!(of_transfer(&send(limits::PATHS)), Ok(()));
    assert_eq!(of_transfer(&send(limits::PATHS + 1)).unwrap_err().0, ErrorKind::TooBig);
}

#[test]
fn a_transfer_has_no_environment_and_no_folder() {
    let verb = TransferVerb::List { is_long: false };
    for builder in [
        Request::transfer(verb, ["x"]).env("A=1").clone(),
        Request::transfer(verb, ["x"]).cwd("/tmp").clone(),
    ] {
        assert_eq!(builder.build().unwrap_err().kind, ErrorKind::Usage, "{builder:?}");
    }
}
