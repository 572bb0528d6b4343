//! Answers of the gateway's own code, and such as it never gives.

use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;
use crate::client::profile::tests::sample;
use crate::enrolment;

fn from_the_gateway() -> enrolment::Answer {
    enrolment::Answer {
        identity: "alice".into(),
        addresses: vec!["10.9.0.2".parse().unwrap(), "fd09::2".parse().unwrap()],
        routes: vec!["10.0.0.0/8".into()],
        dns: vec!["10.9.0.1".parse().unwrap()],
        search: vec!["corp.example".into()],
        gateway: enrolment::Gateway {
            public_key: PrivateKey::from_bytes([9; 32]).public().to_base64(),
            endpoints: vec!["gate.example:51820".into()],
        },
        preshared_key: Zeroizing::new(PresharedKey::from_bytes([5; 32]).to_base64().to_string()),
        renewal: Some(Token::random().unwrap().to_text()),
        until: 5_000,
        now: 4_000,
    }
}

fn grant(body: &[u8], now: Wall) -> Result<Granted> {
    granted(&Answer::parse(body)?, PrivateKey::from_bytes([7; 32]), sample().lease.unwrap(), now)
}

#[test]
fn what_the_gateway_answers_is_a_profile_by_our_own_clock() {
    let told = from_the_gateway();
    let (profile, skew) = grant(&serde_json::to_vec(&told).unwrap(), 10_000).unwrap();
    assert_eq!(skew, 6_000.0);
    let lease = profile.lease.as_ref().unwrap();
    assert_eq!((lease.begin, lease.until, lease.identity.as_str()), (10_000, 11_000, "alice"));
    assert_eq!(lease.renewal.as_deref(), told.renewal.as_deref().map(String::as_str));
    let text = profile.to_toml().unwrap();
    assert!(text.contains("addresses = [\"10.9.0.2/32\", \"fd09::2/128\"]"), "{}", &text[60..]);
    Profile::parse(&text).unwrap();
}

#[test]
fn a_refusal_is_understood_and_final_only_if_the_key_is_forgotten() {
    for (problem, is_final) in [
        (enrolment::Problem::CertificateOver, false),
        (enrolment::Problem::TooMany(6), false),
        (enrolment::Problem::Refused(crate::store::Refusal::WrongSecret), false),
        (enrolment::Problem::CertificateRevoked, true),
        (enrolment::Problem::Refused(crate::store::Refusal::NoLease), true),
    ] {
        let refusal = Refusal::parse(problem.body().as_bytes()).unwrap();
        assert_eq!(refusal.to_string(), format!("the gateway refuses: {problem}"));
        assert_eq!(refusal.is_final(), is_final, "{problem}");
    }
    assert_eq!(printable("a\x1b[31mb\n"), "a[31mb");
}

#[test]
fn an_answer_that_cannot_be_used_is_refused() {
    type Change = fn(&mut enrolment::Answer);
    let changes: [(Change, &str); 13] = [
        (|answer| answer.addresses.clear(), "addresses"),
        (|answer| answer.addresses = vec!["0.0.0.0".parse().unwrap()], "addresses"),
        (|answer| answer.addresses = vec!["127.0.0.1".parse().unwrap()], "addresses"),
        (|answer| answer.search = vec!["a b".into()], "search domains"),
        (|answer| answer.search = vec!["a".into(); 33], "search domains"),
        (|answer| answer.dns = vec!["::".parse().unwrap()], "name servers"),
        (|answer| answer.gateway.public_key = "x".into(), "no proper key"),
        (|answer| answer.gateway.endpoints.clear(), "no proper endpoint"),
        (|answer| answer.routes = vec!["x".into()], "no proper routes"),
        (|answer| answer.routes = vec!["10.0.0.0/8".into(); 1_025], "no proper routes"),
        (|answer| answer.identity = "../x".into(), "no proper name"),
        (|answer| answer.renewal = Some(Zeroizing::new("secret".into())), "no proper secret"),
        (|answer| answer.until = answer.now, "end of the lease"),
    ];
    for (change, says) in changes {
        let mut told = from_the_gateway();
        change(&mut told);
        let error = grant(&serde_json::to_vec(&told).unwrap(), 1).map(drop).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

/// What a field of an answer could be by mistake, or by malice.
fn anything() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "\\PC{0,80}".prop_map(Into::into),
        "[0-9a-f:.]{1,20}(/[0-9]{1,3})?".prop_map(Into::into),
    ];
    leaf.prop_recursive(2, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
            prop::collection::hash_map("[a-z_]{1,12}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

const FIELDS: [&str; 10] = [
    "identity",
    "addresses",
    "routes",
    "dns",
    "search",
    "gateway",
    "preshared_key",
    "renewal",
    "until",
    "now",
];

proptest! {
    /// Whatever is answered, it is an error or a profile that comes back from its file.
    #[test]
    fn whatever_is_answered_is_an_error_or_a_profile(
        changes in prop::collection::vec((prop::sample::select(&FIELDS), anything()), 0..4),
        now in any::<u32>(),
    ) {
        let mut told = serde_json::to_value(from_the_gateway()).unwrap();
        for (field, value) in changes {
            told[field] = value;
        }
        if let Ok((profile, _)) = grant(&serde_json::to_vec(&told).unwrap(), now.into()) {
            let text = profile.to_toml().unwrap();
            prop_assert_eq!(&*Profile::parse(&text).unwrap().to_toml().unwrap(), &*text);
        }
    }

    /// A body that was cut, or in which a byte is another, panics nobody, and what a refusal says is fit for a terminal.
    #[test]
    fn a_damaged_body_is_told(at in 0_usize..600, byte in any::<u8>(), cut in any::<bool>()) {
        let mut body = serde_json::to_vec(&from_the_gateway()).unwrap();
        let at = at % body.len();
        if cut { body.truncate(at) } else { body[at] = byte }
        let _ = grant(&body, 1);
        if let Some(refusal) = Refusal::parse(&body) {
            prop_assert!(!refusal.to_string().chars().any(char::is_control));
        }
    }
}
