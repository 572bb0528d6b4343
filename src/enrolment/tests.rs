//! What clients are granted and refused, against the real store, with a clock that is moved by hand.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc::channel;

use adit_noise::{PrivateKey, Time};
use proptest::prelude::*;

use super::*;
use crate::enrolment::LARGEST;
use crate::store::{Embedded, Pool, Range, Refusal, Settings};
use crate::test_folder::Folder;

const NOW: Wall = 1_795_000_000;
const HOUR: u64 = 3_600;
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

struct Site {
    _folder: Folder,
    store: Arc<Embedded>,
    service: Service,
}

impl Site {
    fn new(size: u32) -> Self {
        let folder = Folder::new();
        let first = Ipv4Addr::new(10, 9, 0, 2);
        let last = Ipv4Addr::from_bits(first.to_bits() + size - 1);
        let pool = Pool { v4: Some(Range { first, last }), v6: None };
        let settings = Settings { pool, cache: 1 << 20 };
        let store = Arc::new(Embedded::open(&folder.path().join("clients"), &settings, NOW).unwrap());
        let terms = Terms {
            lease: Duration::from_secs(8 * HOUR),
            routes: vec!["10.20.0.0/16".into()],
            dns: vec!["10.20.0.53".parse().unwrap()],
            search: vec!["example.org".into()],
            gateway: Gateway {
                public_key: "gateway".into(),
                endpoints: vec!["vpn.example.org:51820".into()],
            },
            reserved: vec![PublicKey::from_bytes([9; 32])],
        };
        let service = Service::new(Arc::clone(&store) as Arc<dyn Store>, terms);
        Self { _folder: folder, store, service }
    }

    fn invite(&self, name: &str) -> Zeroizing<String> {
        let token = Token::random().unwrap();
        let change =
            Change::Invite { token: token.digest(), identity: name.parse().unwrap(), until: NOW + HOUR };
        self.store.apply(change, NOW).unwrap();
        token.to_text()
    }

    fn ask(&self, call: Call, body: &str, caller: &Caller, after: u64) -> Result<Granted, Problem> {
        let (send, receive) = channel();
        let now = Now { mono: Time::from_secs(1_000 + after), wall: Duration::from_secs(NOW + after) };
        self.service.handle(call, body.as_bytes(), caller, now, move |answer| send.send(answer).unwrap());
        receive.recv().unwrap()
    }

    fn enrol(&self, key: &PublicKey, token: &str, after: u64) -> Result<Granted, Problem> {
        self.ask(Call::Enrol, &format!(r#"{{"public_key":"{key}","token":"{token}"}}"#), &anybody(), after)
    }
}

fn anybody() -> Caller {
    Caller { source: SOURCE, certificate: None }
}

fn holder(name: &str, not_after: Wall) -> Caller {
    let identity = name.parse().unwrap();
    let certificate =
        Certificate { identity, marks: vec![7], not_before: NOW - HOUR, not_after, standing: Standing::Good };
    Caller { source: SOURCE, certificate: Some(certificate) }
}

fn key() -> PublicKey {
    PrivateKey::generate().public()
}

fn refused(result: Result<Granted, Problem>) -> Problem {
    result.map(|(answer, _, _)| answer).unwrap_err()
}

#[test]
fn a_token_gets_a_lease_with_all_that_a_client_needs() {
    let site = Site::new(5);
    let key = key();
    let (answer, lease, before) = site.enrol(&key, &site.invite("alice"), 0).unwrap();
    assert_eq!((lease.key, before), (key, None));
    let json: serde_json::Value = serde_json::from_str(&serde_json::to_string(&answer).unwrap()).unwrap();
    assert_eq!(json["identity"], "alice");
    assert_eq!(json["addresses"][0], "10.9.0.2");
    assert_eq!(json["routes"][0], "10.20.0.0/16");
    assert_eq!(json["dns"][0], "10.20.0.53");
    assert_eq!(json["gateway"]["endpoints"][0], "vpn.example.org:51820");
    assert_eq!((json["until"].as_u64(), json["now"].as_u64()), (Some(NOW + 8 * HOUR), Some(NOW)));
    assert_eq!(json["preshared_key"], *lease.preshared.to_base64().as_str());
    assert!(!lease.preshared.is_none());
    let shown = format!("{answer:?}");
    assert!(!shown.contains(answer.preshared_key.as_str()) && !shown.contains("adit-"), "{shown}");
}

#[test]
fn a_token_that_comes_again_is_refused_whoever_sends_it() {
    let site = Site::new(5);
    let (token, first) = (site.invite("alice"), key());
    site.enrol(&first, &token, 0).unwrap();
    let again = refused(site.enrol(&first, &token, 1));
    assert_eq!((again.status(), again.word()), (403, "used_token"));
    assert_eq!(refused(site.enrol(&key(), &token, 1)).word(), "used_token");
    let body: serde_json::Value = serde_json::from_str(&again.body()).unwrap();
    assert!(body["message"].as_str().unwrap().contains("can give you a new one"));
    assert_eq!(refused(site.enrol(&key(), &site.invite("bob"), HOUR)).word(), "expired_token");
}

#[test]
fn who_guesses_is_soon_not_listened_to_and_others_are() {
    let site = Site::new(5);
    let guess = || site.enrol(&key(), &Token::random().unwrap().to_text(), 0);
    for _ in 0..10 {
        assert_eq!(refused(guess()).word(), "unknown_token");
    }
    let over = refused(guess());
    assert_eq!((over.status(), over.word()), (429, "too_many"));
    let token = site.invite("alice");
    assert_eq!(refused(site.enrol(&key(), &token, 0)).word(), "too_many", "a good token does not help it");
    let body = format!(r#"{{"public_key":"{}","token":"{}"}}"#, key(), *token);
    let elsewhere = Caller { source: "192.0.2.8".parse().unwrap(), certificate: None };
    assert!(site.ask(Call::Enrol, &body, &elsewhere, 0).is_ok());
    assert!(site.enrol(&key(), &site.invite("bob"), 60).is_ok(), "it is forgiven after a while");
}

#[test]
fn many_behind_one_address_are_all_served() {
    let site = Site::new(200);
    for number in 0..200 {
        assert!(site.enrol(&key(), &site.invite(&format!("c{number}")), 0).is_ok(), "{number}");
    }
    let full = refused(site.enrol(&key(), &site.invite("late"), 0));
    assert_eq!((full.status(), full.word()), (503, "full"));
    assert!(full.to_string().contains("every address"));
}

#[test]
fn a_lease_of_a_certificate_ends_with_it_and_needs_it_again() {
    let site = Site::new(5);
    let body = format!(r#"{{"public_key":"{}"}}"#, key());
    let (answer, lease, _) = site.ask(Call::Enrol, &body, &holder("alice", NOW + HOUR), 0).unwrap();
    assert_eq!((answer.until, answer.renewal, lease.certificate), (NOW + HOUR, None, vec![7]));
    let (answer, _, _) = site.ask(Call::Renew, &body, &holder("alice", NOW + 99 * HOUR), 60).unwrap();
    assert_eq!(answer.until, NOW + 60 + 8 * HOUR);
    assert_eq!(refused(site.ask(Call::Renew, &body, &anybody(), 61)).word(), "no_proof");
}

#[test]
fn certificates_that_do_not_count_are_told_apart() {
    let site = Site::new(5);
    let body = format!(r#"{{"public_key":"{}"}}"#, key());
    let ask = |change: &dyn Fn(&mut Certificate), after| {
        let mut caller = holder("alice", NOW + HOUR);
        change(caller.certificate.as_mut().unwrap());
        refused(site.ask(Call::Enrol, &body, &caller, after))
    };
    assert_eq!(ask(&|_| {}, HOUR), Problem::CertificateOver, "a stolen one, late");
    assert_eq!(ask(&|it| it.standing = Standing::Revoked, 0), Problem::CertificateRevoked);
    let unknown = ask(&|it| it.standing = Standing::Unknown, 0);
    assert_eq!((unknown.status(), unknown.word()), (503, "revocation_unknown"));
    let early = ask(&|it| it.not_before = NOW + 90, 0);
    assert!(early.to_string().contains("by the gateway's clock it begins in 90 seconds"), "{early}");
    let renew = format!(
        r#"{{"public_key":"{}","identity":"bob","secret":"{}"}}"#,
        key(),
        *Token::random().unwrap().to_text()
    );
    assert_eq!(
        refused(site.ask(Call::Renew, &renew, &holder("alice", NOW + HOUR), 0)),
        Problem::CertificateOther
    );
}

#[test]
fn a_lease_is_renewed_by_its_secret_until_it_is_over() {
    let site = Site::new(5);
    let key = key();
    let (first, _, _) = site.enrol(&key, &site.invite("alice"), 0).unwrap();
    let renew = |secret: &str, after| {
        let body = format!(r#"{{"public_key":"{key}","identity":"alice","secret":"{secret}"}}"#);
        site.ask(Call::Renew, &body, &anybody(), after)
    };
    let (second, _, _) = renew(first.renewal.as_deref().unwrap(), HOUR).unwrap();
    assert_eq!(second.until, NOW + 9 * HOUR);
    assert_eq!(second.addresses, first.addresses);
    assert_ne!(*second.preshared_key, *first.preshared_key);
    assert_eq!(refused(renew(&Token::random().unwrap().to_text(), HOUR)).word(), "wrong_secret");
    assert_eq!(refused(renew(second.renewal.as_deref().unwrap(), 9 * HOUR)).word(), "no_lease");
}

#[test]
fn a_key_of_somebody_else_is_refused_and_the_token_is_not_used_up() {
    let site = Site::new(5);
    let (alice, token) = (key(), site.invite("bob"));
    site.enrol(&alice, &site.invite("alice"), 0).unwrap();
    let taken = refused(site.enrol(&alice, &token, 0));
    assert_eq!((taken.clone(), taken.status()), (Problem::Refused(Refusal::KeyTaken), 409));
    assert_eq!(
        refused(site.enrol(&PublicKey::from_bytes([9; 32]), &token, 0)),
        Problem::Refused(Refusal::KeyReserved)
    );
    assert!(site.enrol(&key(), &token, 0).is_ok());
}

#[test]
fn who_has_a_certificate_can_take_neither_key_nor_address_of_another() {
    let site = Site::new(5);
    let (alice, other) = (key(), key());
    let body = |key: &PublicKey| format!(r#"{{"public_key":"{key}"}}"#);
    let (_, first, _) = site.ask(Call::Enrol, &body(&alice), &holder("alice", NOW + HOUR), 0).unwrap();
    for call in [Call::Enrol, Call::Renew] {
        let taken = refused(site.ask(call, &body(&alice), &holder("mallory", NOW + HOUR), 0));
        assert_eq!(taken, Problem::Refused(Refusal::KeyTaken));
    }
    let (_, second, _) = site.ask(Call::Enrol, &body(&other), &holder("mallory", NOW + HOUR), 0).unwrap();
    assert_ne!(first.v4, second.v4);
    // Neither does a key come free because its lease is over: it stays whose it was.
    site.store.apply(Change::Expire { most: 9 }, NOW + HOUR).unwrap();
    let taken = refused(site.ask(Call::Enrol, &body(&alice), &holder("mallory", NOW + 9 * HOUR), HOUR));
    assert_eq!(taken, Problem::Refused(Refusal::KeyTaken));
}

#[test]
fn whose_a_key_is_is_told_to_nobody_without_a_proof() {
    let site = Site::new(5);
    let (alice, reserved) = (key(), PublicKey::from_bytes([9; 32]));
    site.enrol(&alice, &site.invite("alice"), 0).unwrap();
    for key in [alice, reserved, key()] {
        let guess = site.enrol(&key, &Token::random().unwrap().to_text(), 0);
        assert_eq!(refused(guess), Problem::Refused(Refusal::UnknownToken));
    }
}

#[test]
fn a_clock_of_either_end_that_is_wrong_is_told_in_seconds_or_words() {
    let site = Site::new(5);
    let body = format!(r#"{{"public_key":"{}"}}"#, key());
    let early = |caller: &mut Caller| caller.certificate.as_mut().unwrap().not_before = NOW + 90;
    let mut caller = holder("alice", NOW + HOUR);
    early(&mut caller);
    assert_eq!(refused(site.ask(Call::Enrol, &body, &caller, 0)), Problem::CertificateEarly(90));
    let (answer, _, _) = site.ask(Call::Enrol, &body, &caller, 90).unwrap();
    assert_eq!(answer.now, NOW + 90, "the client can compare");
    assert_eq!(refused(site.ask(Call::Enrol, &body, &caller, HOUR)), Problem::CertificateOver);
}

#[test]
fn what_is_no_request_is_refused_with_what_is_expected() {
    let site = Site::new(5);
    let (key, token) = (key(), Token::random().unwrap().to_text());
    let ask = |call, body: &str| refused(site.ask(call, body, &anybody(), 0));
    assert_eq!(ask(Call::Enrol, &" ".repeat(LARGEST + 1)).status(), 413);
    assert!(ask(Call::Enrol, "{").to_string().contains("line 1 column 1"));
    let unknown = format!(r#"{{"public_key":"{key}","token":"{}","admin":true}}"#, *token);
    let unknown = ask(Call::Enrol, &unknown);
    assert_eq!(unknown.status(), 400);
    assert!(!unknown.to_string().contains("adit-"), "what was sent is not repeated: {unknown}");
    assert!(ask(Call::Enrol, r#"{"public_key":"abc"}"#).to_string().contains("wg pubkey"));
    let zero = format!(r#"{{"public_key":"{}"}}"#, PublicKey::from_bytes([0; 32]));
    assert!(ask(Call::Enrol, &zero).to_string().contains("wg pubkey"));
    assert!(
        ask(Call::Enrol, &format!(r#"{{"public_key":"{key}","token":"x"}}"#)).to_string().contains("64 hex")
    );
    assert_eq!(ask(Call::Enrol, &format!(r#"{{"public_key":"{key}"}}"#)).status(), 401);
    let half = ask(Call::Renew, &format!(r#"{{"public_key":"{key}","identity":"a"}}"#));
    assert!(half.to_string().contains("belong together"), "{half}");
}

#[test]
fn a_store_that_has_ended_is_told_as_unavailable() {
    assert_eq!(Problem::from(Error::Stopped).status(), 503);
    assert_eq!(Problem::from(Error::Busy).word(), "unavailable");
}

proptest! {
    #[test]
    fn no_body_makes_the_parser_panic(body in prop::collection::vec(any::<u8>(), 0..300), renew in any::<bool>()) {
        let call = if renew { Call::Renew } else { Call::Enrol };
        if let Err(problem) = Request::parse(call, &body) {
            prop_assert!([400, 413].contains(&problem.status()));
        }
    }
}
