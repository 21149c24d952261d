use std::io::{BufReader, Read};

use proptest::prelude::*;

use super::*;

fn token() -> Token {
    Token {
        addresses: vec!["ca.example:7264".into(), "[::1]:7264".into()],
        authority: Fingerprint::of_key(b"root"),
        kind: Kind::Server,
        names: Names::All(vec!["web1.example".into(), "192.0.2.7".into()]),
        secret: Secret::random().unwrap(),
    }
}

#[test]
fn a_token_is_one_line_and_is_read_as_it_is_written() {
    let token = token();
    let text = token.to_string();
    assert!(text.starts_with("rcmd1_") && text.len() < 500, "{text}");
    assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)));
    assert_eq!(format!(" {text}\n").parse(), Ok(token));
}

#[test]
fn a_cut_paste_is_told_from_what_is_no_token() {
    let text = token().to_string();
    for length in PREFIX.len()..text.len() {
        assert_eq!(text[..length].parse::<Token>(), Err(TokenError::Checksum), "{length}");
    }
    assert_eq!("rcmd-client".parse::<Token>(), Err(TokenError::NoToken));
    assert_eq!("".parse::<Token>(), Err(TokenError::NoToken));
    let long = PREFIX.to_owned() + &"A".repeat(MAX_TOKEN);
    assert_eq!(long.parse::<Token>(), Err(TokenError::TooLong));
}

#[test]
fn a_secret_is_never_printed_by_itself() {
    let token = token();
    let secret = String::from(token.secret.clone());
    assert!(!format!("{token:?}").contains(&secret));
}

#[test]
fn a_token_with_names_or_addresses_that_are_none_is_refused() {
    let with = |change: &dyn Fn(&mut Token)| {
        let mut token = token();
        change(&mut token);
        token.to_string().parse::<Token>()
    };
    let bad = Err(TokenError::Content);
    assert_eq!(with(&|token| token.addresses.clear()), bad);
    assert_eq!(with(&|token| token.addresses[0] = "ca.example".into()), bad);
    assert_eq!(with(&|token| token.addresses[0] = "ca\u{1b}[2J:1".into()), bad);
    assert_eq!(with(&|token| token.names = Names::All(vec!["a b".into()])), bad);
    assert!(with(&|token| token.names = Names::OneOf("web[01-50]".parse().unwrap())).is_ok());
}

#[test]
fn a_file_may_hold_comments_and_must_be_private() {
    use std::os::unix::fs::PermissionsExt as _;

    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("token");
    std::fs::write(&path, format!("# for web1\n\n{}\n", token())).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(Token::load(&path), Err(LoadError::File(FileError::TooOpen { .. }))));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(Token::load(&path).unwrap().kind, Kind::Server);
    std::fs::write(&path, "# nothing\n").unwrap();
    let message = Token::load(&path).unwrap_err().to_string();
    assert!(message.contains("not an enrollment token"), "{message}");
}

#[test]
fn a_token_comes_by_input_by_file_or_as_a_word() {
    let token = token();
    let text = token.to_string();
    let word = |text: &str| Some(Confidential::new(text.to_owned()));
    let given = |word: Option<Confidential<String>>, input: &str| {
        Token::given(word.as_ref(), None, input.as_bytes())
    };
    assert_eq!(given(None, &format!("\n# a comment\n{text}\n")).unwrap(), token);
    assert_eq!(given(word("-"), &text).unwrap(), token);
    assert_eq!(given(word(&text), "something else").unwrap(), token);
    for (word, input) in [(None, ""), (word("-"), "x"), (word("x"), &*text)] {
        let message = given(word, input).unwrap_err().to_string();
        assert!(message.contains("not an enrollment token"), "{message}");
    }
    // Endless input is read no further than a token could stand.
    assert!(Token::given(None, None, BufReader::new(io::repeat(b'#'))).is_err());
    // Nothing after its line is waited for: a terminal stays open.
    let line = format!("# a comment\n{text}\n");
    let terminal = BufReader::new(line.as_bytes().chain(Silent));
    assert_eq!(Token::given(None, None, terminal).unwrap(), token);
}

/// Input that never comes.
struct Silent;

impl Read for Silent {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        panic!("it is read")
    }
}

proptest! {
    #[test]
    fn a_changed_character_never_passes(at in 6_usize..200, with in "[A-Za-z0-9_-]") {
        let text = token().to_string();
        let mut changed = text.clone();
        if at < changed.len() {
            changed.replace_range(at..=at, &with);
        }
        prop_assert!(changed == text || changed.parse::<Token>().is_err());
    }

    #[test]
    fn any_text_is_answered_without_a_panic(text in "\\PC{0,80}|rcmd1_[A-Za-z0-9_-]{0,200}") {
        let _ = text.parse::<Token>();
    }
}
