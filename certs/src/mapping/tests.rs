use super::*;
use crate::{
    paths::Layout,
    x509::{SubjectNames, UsageSet},
};

/// Returns a certificate with these names; names that are no URIs have `email:` or `dns:` before them.
fn leaf(names: &[&str]) -> Certificate {
    let of = |kind: &str| -> Vec<String> {
        names.iter().filter_map(|name| name.strip_prefix(kind)).map(str::to_owned).collect()
    };
    let uris = names.iter().filter(|name| name.contains("://"));
    Certificate {
        subject: String::new(),
        issuer: String::new(),
        self_issued: false,
        serial: "01".to_owned(),
        not_before: 0,
        not_after: 0,
        is_ca: false,
        usage: UsageSet::Any,
        names: SubjectNames {
            dns: of("dns:"),
            emails: of("email:"),
            uris: uris.map(|uri| (*uri).to_owned()).collect(),
            ..SubjectNames::default()
        },
        key: crate::fingerprint::Fingerprint::of_key(b""),
        fingerprint: String::new(),
    }
}

fn load(text: &str) -> Result<Mapping, String> {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    std::fs::write(layout.identity_toml(), text).unwrap();
    let shown = |error: MappingError| error.to_string();
    let mut mapping = Mapping::load(&layout.identity_toml()).map_err(shown)?;
    for rule in mapping.users.iter_mut().chain(&mut mapping.groups).chain(&mut mapping.hosts) {
        rule.ca = rule.ca.as_ref().map(|ca| PathBuf::from(ca.file_name().unwrap()));
    }
    Ok(mapping)
}

fn spiffe() -> Mapping {
    load(
        r#"
        [[user]]
        match = "spiffe://example.org/user/*"
        groups = ["staff"]
        ca = "spiffe.pem"

        [[user]]
        match = "spiffe://example.org/ns/ci/sa/deploy"
        name = "ci"
        ca = "spiffe.pem"

        [[group]]
        match = "spiffe://example.org/group/*"
        ca = "spiffe.pem"

        [[host]]
        match = "spiffe://example.org/host/*"
        ca = "spiffe.pem"

        [[user]]
        match = "email:*@example.org"
        "#,
    )
    .unwrap()
}

const SPIFFE: Option<&str> = Some("spiffe.pem");

/// Returns the user and groups that `ca` vouches for.
fn who(names: &[&str], ca: Option<&str>) -> Result<(String, Vec<String>), IdentityError> {
    let identity = spiffe().identify(&leaf(names), ca.map(Path::new))?;
    Ok((identity.user().to_owned(), identity.groups().to_vec()))
}

fn groups(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn without_a_file_there_are_no_rules() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(
        Mapping::load(&Layout::new(dir.path()).identity_toml()).unwrap(),
        Mapping::default()
    );
}

#[test]
fn a_star_stands_for_the_name() {
    let names = ["spiffe://example.org/user/alice", "spiffe://example.org/group/oncall"];
    assert_eq!(who(&names, SPIFFE), Ok(("alice".to_owned(), groups(&["oncall", "staff"]))));
}

#[test]
fn a_name_without_a_star_is_whom_the_rule_says() {
    let deploy = "spiffe://example.org/ns/ci/sa/deploy";
    assert_eq!(who(&[deploy], SPIFFE), Ok(("ci".to_owned(), groups(&[]))));
    let longer = format!("{deploy}er");
    assert_eq!(who(&[&longer], SPIFFE), Err(IdentityError::NoUser));
}

#[test]
fn a_star_never_crosses_a_slash_and_is_never_empty() {
    for path in ["user/", "user/alice/admin", "user/../user/root", "USER/alice", "user/alice?x"] {
        let uri = format!("spiffe://example.org/{path}");
        assert!(who(&[&uri], SPIFFE).is_err(), "{uri}");
    }
    assert_eq!(who(&["spiffe://example.com/user/alice"], SPIFFE), Err(IdentityError::NoUser));
}

#[test]
fn an_authority_names_only_what_is_its_own() {
    let alice = ["spiffe://example.org/user/alice"];
    assert_eq!(who(&alice, None), Err(IdentityError::NoUser), "ca.pem has no rule for it");
    let own = ["rcmd://user/alice"];
    assert_eq!(who(&own, SPIFFE), Err(IdentityError::NoUser), "another's word for an rcmd name");
    assert_eq!(who(&own, None).unwrap().0, "alice");
    assert_eq!(who(&["email:bob@example.org"], None).unwrap().0, "bob");
    assert_eq!(who(&["email:bob@example.org"], SPIFFE), Err(IdentityError::NoUser));
}

#[test]
fn an_address_has_one_at_sign() {
    assert!(who(&["email:eve@evil.example@example.org"], None).is_err());
    assert!(who(&["email:@example.org"], None).is_err());
}

#[test]
fn two_users_are_refused() {
    let names = ["spiffe://example.org/user/alice", "spiffe://example.org/user/bob"];
    assert_eq!(who(&names, SPIFFE), Err(IdentityError::ManyUsers(2)));
}

#[test]
fn an_rcmd_name_goes_before_the_rules_and_is_read_as_strictly_as_ever() {
    let both = ["rcmd://user/alice", "email:bob@example.org"];
    assert_eq!(who(&both, None).unwrap().0, "alice");
    let broken = ["rcmd://user/al ice", "email:bob@example.org"];
    assert!(who(&broken, None).is_err());
}

#[test]
fn a_host_is_vouched_for_by_those_of_its_rule() {
    let web1 = leaf(&["spiffe://example.org/host/web1"]);
    let mapping = spiffe();
    let vouchers: Vec<_> = mapping.vouchers_of_host(&web1, "Web1").into_iter().collect();
    assert_eq!(vouchers, [Some(Path::new("spiffe.pem"))]);
    assert!(mapping.vouchers_of_host(&web1, "web2").is_empty());
}

#[test]
fn a_rule_that_can_not_hold_says_which_and_why() {
    for (rule, reason) in [
        ("[[user]]\nmatch = \"spiffe://a/user\"", "user rule 1: without a star"),
        ("[[user]]\nmatch = \"spiffe://a/*\"\nname = \"x\"", "user rule 1: the star"),
        ("[[user]]\nmatch = \"spiffe:*\"\n[[user]]\nmatch = \"a*b*\"", "user rule 2:"),
        ("[[user]]\nmatch = \"spiffe:**\"", "more than one star"),
        ("[[user]]\nmatch = \"rcmd:*\"", "read without a rule"),
        ("[[user]]\nmatch = \"alice\"\nname = \"alice\"", "is not a URI"),
        ("[[user]]\nmatch = \"*:alice\"", "is not a URI"),
        ("[[user]]\nmatch = \"dns:a\"\nname = \"a b\"", "cannot be the name of a user"),
        ("[[group]]\nmatch = \"dns:*\"\ngroups = [\"x\"]", "belongs to rules of users"),
        ("[[host]]\nmatch = \"dns:*\"\nca = \"../ca.pem\"", "the name of a file"),
        ("[[user]]\nmatches = \"dns:*\"", "unknown setting"),
        ("[[user]", "line 1"),
    ] {
        let error = load(rule).unwrap_err();
        assert!(error.contains(reason) && error.contains("identity.toml"), "{rule}: {error}");
    }
}

proptest::proptest! {
    #[test]
    fn whatever_a_certificate_says_a_rule_yields_only_names(rest in "\\PC{0,30}") {
        let uri = format!("spiffe://example.org/user/{rest}");
        if let Ok((user, _)) = who(&[&uri], SPIFFE) {
            proptest::prop_assert!(names::check_user(&user).is_ok());
        }
    }
}
