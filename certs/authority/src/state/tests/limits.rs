//! Tests that the longest data the authority writes are accepted by their readers.

use std::io::Cursor;

use rcmd_certs::{
    Identity,
    enroll::token::{MAX_TOKEN, Token},
    identity::MAX_GROUPS,
};

use super::*;

/// Returns names of servers of 60 bytes each, all different.
fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{number:a>52}.example")).collect()
}

#[test]
fn the_longest_token_that_is_made_is_taken_with_its_comments() {
    let folder = Folder::new();
    let make = |count| {
        let names = Names::All(names(count));
        let addresses = vec!["[2001:db8::1]:7264".to_owned(); 8];
        let (kind, groups) = (Kind::Server, Vec::new());
        let new = NewToken { kind, names, groups, uses: 1, life: None, addresses };
        folder.state().token(new, folder.now)
    };
    let most = (1..200).take_while(|&count| make(count).is_ok()).last().unwrap();
    let token = make(most).unwrap();
    let text = token.to_string();
    assert!((MAX_TOKEN - 100..=MAX_TOKEN).contains(&text.len()), "{} bytes", text.len());
    // The form of a bundle, with all the names in a comment above.
    let bundle = format!("# server, {}; 1 use(s)\n# At the first boot\n{text}\n", token.names);
    assert_eq!(Token::given(None, None, Cursor::new(bundle)).unwrap(), token);
    let refused = make(most + 1).unwrap_err().to_string();
    assert!(refused.contains("too many names"), "{refused}");
}

#[test]
fn no_certificate_has_more_groups_or_names_than_its_readers_take() {
    let folder = Folder::new();
    let groups = |count: usize| (0..count).map(|number| format!("g{number}")).collect::<Vec<_>>();
    let issue = |kind, names: Vec<String>, groups| {
        let life = Duration::from_secs(3600);
        let issue = Issue { kind, names, groups, life, break_glass: false };
        folder.state().issue(&issue, &new_key(), folder.now)
    };
    let client = |groups| issue(Kind::Client, vec!["alice".into()], groups);
    let granted = client(groups(MAX_GROUPS)).unwrap();
    assert_eq!(Identity::from_der(&granted.chain[0].0).unwrap().groups().len(), MAX_GROUPS);
    // A group that is named twice counts once, as in the certificate.
    client([groups(MAX_GROUPS), groups(1)].concat()).unwrap();
    let refused = client(groups(MAX_GROUPS + 1)).unwrap_err().to_string();
    assert!(refused.contains("at most 64"), "{refused}");
    let token = NewToken {
        kind: Kind::Client,
        names: Names::All(vec!["alice".into()]),
        groups: groups(MAX_GROUPS + 1),
        uses: 1,
        life: None,
        addresses: vec!["localhost:1".into()],
    };
    assert!(folder.state().token(token, folder.now).is_err());

    // A message of a handshake has 64 KiB for the leaf and its intermediates.
    let server = |count| issue(Kind::Server, names(count), Vec::new());
    let most = 8 * 1024 / 60;
    let granted = server(most).unwrap();
    assert!(granted.chain[0].0.len() < 16 * 1024, "{} bytes", granted.chain[0].0.len());
    assert!(server(most + 1).unwrap_err().to_string().contains("fewer"));
}
