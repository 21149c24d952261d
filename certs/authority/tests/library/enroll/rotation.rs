//! Tests of a new authority in place of the old one, with members that stay.

use rcmd_authority::state::{Rotation, RotationAction, Step};
use rcmd_certs::fingerprint::Fingerprint;

use super::*;

impl World {
    async fn rotate(&self, action: RotationAction) -> Rotation {
        match self.request(AdminRequest::Rotate(action)).await {
            AdminResponse::Rotation(rotation) => rotation,
            other => panic!("{other:?}"),
        }
    }

    async fn expect_step(
        &self,
        action: RotationAction,
        step: Option<Step>,
        waiting: &[&str],
    ) -> Rotation {
        let rotation = self.rotate(action).await;
        assert!(rotation.moved, "{rotation:?}");
        assert_eq!((rotation.step, &rotation.waiting[..]), (step, &strings(waiting)[..]));
        rotation
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Renews like a member that has learned of a rotation.
async fn follow(member: &Member) -> Fetched {
    let lists = member.fetch_lists(0).await.unwrap().unwrap();
    assert!(member.is_to_move(&lists));
    let fetched = member.renew().await.unwrap();
    let renewed = Member::load(member.layout(), member.kind()).unwrap().unwrap();
    assert!(!renewed.is_to_move(&lists), "once is enough");
    fetched
}

fn reload(member: &mut Member) {
    *member = Member::load(member.layout(), member.kind()).unwrap().unwrap();
}

fn roots(layout: &Layout) -> Vec<Fingerprint> {
    let all = tls::load_certificates(&layout.ca()).unwrap();
    all.into_iter().map(|root| root.key).collect()
}

fn issuer(member: &Member) -> String {
    tls::load_leaf(&member.layout().member_cert(member.kind())).unwrap().issuer
}

#[tokio::test(flavor = "multi_thread")]
async fn every_member_moves_over_and_then_the_old_authority_is_gone() {
    let world = World::new().await;
    let mut web1 = world.enrolled(Kind::Server, "web1").await;
    let mut alice = world.enrolled(Kind::Client, "alice").await;
    let old = roots(&world.authority());
    let old_issuer = issuer(&web1);
    let waiting = ["client alice", "server web1"];

    let mut announced = world.rotate(RotationAction::Next).await;
    announced.waiting.sort();
    assert_eq!((announced.step, announced.waiting), (Some(Step::Announced), strings(&waiting)));
    assert_eq!((announced.signing, announced.other.is_some()), (old[0], true));
    assert!(!world.rotate(RotationAction::Next).await.moved, "nobody has renewed yet");

    assert!(follow(&web1).await.new_roots);
    assert_eq!(world.rotate(RotationAction::Next).await.waiting, ["client alice"]);
    follow(&alice).await;
    assert_eq!(issuer(&alice), old_issuer, "the old one signs until the switch");
    reload(&mut web1);
    reload(&mut alice);
    let both = roots(web1.layout());
    assert_eq!((both.len(), roots(alice.layout()).len()), (2, 2));

    let mut switched = world.rotate(RotationAction::Next).await;
    switched.waiting.sort();
    assert_eq!((switched.step, switched.waiting), (Some(Step::Switched), strings(&waiting)));
    assert_ne!(switched.signing, old[0]);
    // Certificates of the old one are still good on both sides, and the listener's new one is known.
    let problems = check_server(&ServerFiles::from(web1.layout())).unwrap();
    assert_eq!(problems, []);
    follow(&web1).await;
    follow(&alice).await;
    reload(&mut web1);
    reload(&mut alice);
    assert_ne!(issuer(&web1), old_issuer);
    assert_eq!(check_server(&alice_trusts(&alice, &web1)).unwrap(), []);

    world.expect_step(RotationAction::Next, None, &[]).await;
    follow(&web1).await;
    assert_eq!(roots(web1.layout()), [switched.signing]);
    assert_eq!(roots(&world.authority()), [switched.signing]);
    assert!(!world.authority().next_authority().dir().exists());
    world.enrolled(Kind::Client, "bob").await;
}

/// Returns the files of the server's certificate with the authorities that the client trusts.
fn alice_trusts(alice: &Member, web1: &Member) -> ServerFiles {
    ServerFiles { ca: alice.layout().ca(), ..ServerFiles::from(web1.layout()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_not_seen_is_waited_for_unless_forced() {
    let world = World::new().await;
    let token = world.token(Kind::Server, Names::All(vec!["web1".into()])).await;
    let announced = world.rotate(RotationAction::Next).await;
    assert!(announced.waiting[0].starts_with("token "), "{announced:?}");
    // The token's text names the old root: good until the switch.
    enroll(&token, &world.member("web1"), &EnrollmentOptions::default()).await.unwrap();
    let web1 = Member::load(&world.member("web1"), Kind::Server).unwrap().unwrap();
    world.expect_step(RotationAction::Next, Some(Step::Switched), &["server web1"]).await;
    assert!(!world.rotate(RotationAction::Next).await.moved);
    assert_eq!(world.rotate(RotationAction::Tell).await.waiting, ["server web1"]);
    world.expect_step(RotationAction::Force, None, &[]).await;
    // The member has trusted the new root since the announcement, and so it is not lost.
    web1.renew().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_only_announced_can_be_given_up() {
    let world = World::new().await;
    let old = roots(&world.authority());
    let web1 = world.enrolled(Kind::Server, "web1").await;
    world.rotate(RotationAction::Next).await;
    follow(&web1).await;
    world.expect_step(RotationAction::Abort, None, &[]).await;
    assert_eq!(roots(&world.authority()), old);
    let web1 = Member::load(web1.layout(), Kind::Server).unwrap().unwrap();
    follow(&web1).await;
    assert_eq!(roots(web1.layout()), old);
    let mut admin_client = AdminClient::open(&world.authority()).await.unwrap();
    assert!(admin_client.request(AdminRequest::Rotate(RotationAction::Abort)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_outlives_the_process() {
    let mut world = World::new().await;
    let web1 = world.enrolled(Kind::Server, "web1").await;
    let announced = world.rotate(RotationAction::Next).await;
    follow(&web1).await;
    world = world.restarted().await;
    assert_eq!(world.rotate(RotationAction::Tell).await.other, announced.other);
    let switched =
        world.expect_step(RotationAction::Next, Some(Step::Switched), &["server web1"]).await;
    world = world.restarted().await;
    assert_eq!(world.rotate(RotationAction::Tell).await.signing, switched.signing);
    world.expect_step(RotationAction::Force, None, &[]).await;
    world = world.restarted().await;
    let settled = world.rotate(RotationAction::Tell).await;
    assert_eq!((settled.step, settled.signing, settled.other), (None, switched.signing, None));
}
