use super::*;
use crate::client::profile::tests::sample;
use crate::test_folder::Folder;

const NOW: Time = Time::from_nanos(1_000_000_000_000);
/// The clock of the day, in seconds.
const DAY: Wall = 2_000_000;

/// That time, the same on each day.
fn at(mono: Time) -> Now {
    Now { mono, wall: Duration::from_secs(DAY) }
}

fn fresh() -> Renewal {
    Renewal::new(&Memory::default(), at(NOW))
}

impl Renewal {
    /// As a tunnel does it, but for what that remembers.
    fn poll(
        &mut self,
        key: &PrivateKey,
        lease: &Lease,
        reason: Option<Reason>,
        now: Time,
    ) -> Option<Granted> {
        let granted = self.answer(lease, now);
        if granted.is_none()
            && let Some(reason) = self.begin(lease, reason, at(now))
        {
            self.ask(key, lease, reason, now);
        }
        granted
    }
}

/// A lease whose key is in a token, by a URI with this behind the question mark.
fn by_token(query: &str) -> Lease {
    let mut lease = sample().lease.unwrap();
    let uri = token::Uri::parse(&format!("pkcs11:token=none?{query}")).unwrap();
    (lease.url, lease.key) = ("https://127.0.0.1:1".into(), Some(Holder::Token(uri)));
    lease
}

/// Makes one under way whose thread is ours.
fn hang(renewal: &mut Renewal, reason: Reason) -> mpsc::Sender<Result<Granted, Failure>> {
    let (send, answer) = mpsc::channel();
    renewal.asking = Some(Asking { reason, since: NOW, overdue: false, answer });
    send
}

#[test]
fn a_token_that_does_not_answer_is_told_and_waited_for() {
    let (mut renewal, lease) = (fresh(), by_token("pin-source=/none"));
    let thread = hang(&mut renewal, Reason::Silence);
    assert!(renewal.answer(&lease, NOW + Duration::from_secs(59)).is_none() && renewal.error().is_none());
    let late = NOW + OVERDUE;
    renewal.answer(&lease, late);
    assert!(renewal.error().is_some_and(|error| error.contains("the token does not answer")));
    for reason in [Reason::Due, Reason::Silence] {
        assert_eq!(renewal.begin(&lease, Some(reason), at(late)), None, "the token would get a second PIN");
    }
    thread.send(Ok((sample(), 0.0))).unwrap();
    assert!(renewal.answer(&lease, late).is_some(), "what comes late counts");
    assert!(renewal.error().is_none() && !renewal.is_under_way() && renewal.granted() == Some(late));
    // One that fails after all is told, also out of turn.
    let thread = hang(&mut renewal, Reason::Silence);
    renewal.answer(&lease, late);
    thread.send(Err(Failure::of(&anyhow!("no such token")))).unwrap();
    renewal.answer(&lease, late);
    assert_eq!(renewal.error(), Some("no such token"));
}

#[test]
fn a_renewal_that_breaks_off_is_told_and_tried_again() {
    let (mut renewal, lease) = (fresh(), by_token("pin-source=/none"));
    drop(hang(&mut renewal, Reason::Silence));
    renewal.answer(&lease, NOW);
    assert!(renewal.error().is_some_and(|error| error.contains("broke off")) && !renewal.is_under_way());
    assert_eq!(renewal.begin(&lease, Some(Reason::Due), at(NOW)), None);
    assert_eq!(renewal.begin(&lease, Some(Reason::Due), at(NOW + FIRST_PAUSE)), Some(Reason::Due));
}

#[test]
fn a_token_is_not_asked_at_once_by_the_life_after_one_that_ended_meanwhile() {
    let (mut renewal, lease) = (fresh(), by_token("pin-source=/none"));
    renewal.begin(&lease, Some(Reason::Due), at(NOW));
    assert_eq!(renewal.begun, Some(DAY), "it is noted before");
    drop(hang(&mut renewal, Reason::Due));
    renewal.answer(&lease, NOW);
    assert_eq!(renewal.begun, None, "it has ended");
    let ago = |seconds| Memory { renewing: Some(DAY - seconds), ..Memory::default() };
    let mut renewal = Renewal::new(&ago(100), at(NOW));
    assert!(renewal.error().is_some_and(|error| error.contains("did not end")));
    for reason in [Reason::Due, Reason::Silence] {
        let soon = NOW + Duration::from_secs(199);
        assert!(
            renewal.answer(&lease, soon).is_none() && renewal.begin(&lease, Some(reason), at(soon)).is_none()
        );
    }
    assert_eq!(renewal.begun, Some(DAY - 100), "a third life waits as long");
    let then = NOW + Duration::from_secs(200);
    renewal.answer(&lease, then);
    assert!(renewal.error().is_none());
    assert_eq!(renewal.begin(&lease, Some(Reason::Due), at(then)), Some(Reason::Due));
    let mut renewal = Renewal::new(&ago(300), at(NOW));
    assert!(renewal.error().is_none() && renewal.begin(&lease, Some(Reason::Due), at(NOW)).is_some());
    // By a clock that was set back it is not put off for longer.
    let mut renewal = Renewal::new(&Memory { renewing: Some(DAY * 2), ..Memory::default() }, at(NOW));
    renewal.answer(&lease, NOW + HELD);
    assert!(renewal.begin(&lease, Some(Reason::Due), at(NOW + HELD)).is_some());
}

#[test]
fn a_refused_pin_stays_so_while_its_file_cannot_be_looked_at() {
    let folder = Folder::new();
    let file = folder.path().join("pin");
    std::fs::write(&file, "4711").unwrap();
    let query = format!("pin-source={}", file.display());
    let stamp = by_token(&query).key.as_ref().and_then(Holder::uri).and_then(Stamp::of);
    assert!(stamp.is_some());
    let refused = || Renewal::new(&Memory { refused_pin: stamp.clone(), ..Memory::default() }, at(NOW));
    std::fs::remove_file(&file).unwrap();
    let mut renewal = refused();
    assert_eq!(renewal.begin(&by_token(&query), Some(Reason::Due), at(NOW)), None);
    assert_eq!(renewal.refused_pin, stamp);
    let mut renewal = refused();
    assert!(renewal.begin(&by_token(""), Some(Reason::Due), at(NOW)).is_some(), "it names no file");
    assert_eq!(renewal.refused_pin, None);
}

#[test]
fn a_failure_is_tried_again_ever_more_seldom() {
    let profile = sample();
    let mut lease = profile.lease.clone().unwrap();
    // Nobody listens there: the answer comes at once.
    lease.url = "https://127.0.0.1:1".into();
    lease.ca = Some("/dev/null".into());
    let mut renewal = fresh();
    let mut now = Time::from_nanos(1_000_000_000_000);
    let key = &profile.private_key;
    assert!(renewal.poll(key, &lease, None, now).is_none() && renewal.asking.is_none(), "too early");
    let mut pauses = Vec::new();
    for _ in 0..4 {
        renewal.poll(key, &lease, Some(Reason::Due), now);
        assert!(renewal.asking.is_some());
        while renewal.asking.is_some() {
            renewal.poll(key, &lease, None, now);
        }
        pauses.push(renewal.again.unwrap().since(now).as_secs());
        now = renewal.again.unwrap();
    }
    assert_eq!(pauses, [5, 10, 20, 40]);
    assert!(renewal.error().is_some_and(|error| error.contains("/dev/null")), "{:?}", renewal.error());
}

#[test]
fn a_gateway_that_falls_silent_is_asked_out_of_turn_and_no_network_is_not_told_twice() {
    let profile = sample();
    let mut lease = profile.lease.clone().unwrap();
    (lease.url, lease.ca) = ("https://127.0.0.1:1".into(), Some("/dev/null".into()));
    let mut renewal = fresh();
    let mut now = Time::from_nanos(1_000_000_000_000);
    let mut pauses = Vec::new();
    for _ in 0..3 {
        renewal.poll(&profile.private_key, &lease, Some(Reason::Silence), now);
        assert!(renewal.asking.is_some());
        while renewal.asking.is_some() {
            renewal.poll(&profile.private_key, &lease, Some(Reason::Silence), now);
        }
        pauses.push(renewal.doubted.unwrap().since(now).as_secs());
        now = renewal.doubted.unwrap();
    }
    assert_eq!(pauses, [60, 120, 240]);
    assert!(renewal.error().is_none() && renewal.again.is_none() && !renewal.is_removed());
    renewal.poll(&profile.private_key, &lease, None, now);
    assert!(renewal.doubted.is_none(), "it answers again");
}

#[test]
fn a_pin_that_the_token_refused_is_not_tried_again_before_its_file_is_written_anew() {
    let folder = Folder::new();
    let file = folder.path().join("pin");
    std::fs::write(&file, "4711").unwrap();
    let profile = sample();
    let mut lease = profile.lease.clone().unwrap();
    let uri = token::Uri::parse(&format!("pkcs11:?pin-source={}", file.display())).unwrap();
    let stamp = Stamp::of(&uri);
    (lease.url, lease.key) = ("https://127.0.0.1:1".into(), Some(Holder::Token(uri)));
    let refused = token::Error::WrongPin { token: "t".into(), from: "f".into(), stamp: stamp.clone() };
    let mut renewal = fresh();
    // Also if it was asked out of turn, of which nobody is told otherwise.
    renewal.failed(Failure::of(&refused.into()), Reason::Silence, Time::from_nanos(1));
    let later_life = Memory { refused_pin: stamp, ..Memory::default() };
    for mut renewal in [renewal, Renewal::new(&later_life, at(Time::from_nanos(1)))] {
        let later = Time::from_nanos(u64::MAX / 2);
        renewal.poll(&profile.private_key, &lease, Some(Reason::Due), later);
        assert!(renewal.asking.is_none(), "the token would be asked");
        assert!(renewal.error().is_some_and(|error| error.contains("once that file is written anew")));
        let written = std::fs::metadata(&file).unwrap().modified().unwrap() + Duration::from_secs(1);
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(written).unwrap();
        renewal.poll(&profile.private_key, &lease, Some(Reason::Due), later);
        assert!(renewal.asking.is_some() && renewal.refused_pin.is_none());
        let before = written - Duration::from_secs(1);
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(before).unwrap();
    }
}

#[test]
fn a_gateway_that_has_forgotten_us_is_known_by_its_word() {
    let refusal = |word: &str| {
        let body = serde_json::json!({ "error": word, "message": "a sentence" }).to_string();
        Failure::of(&Refusal::parse(body.as_bytes()).unwrap().into())
    };
    let mut renewal = fresh();
    renewal.failed(refusal("wrong_secret"), Reason::Silence, Time::from_nanos(1));
    assert!(renewal.error().is_some_and(|error| error.contains("a sentence")) && !renewal.is_removed());
    renewal.failed(refusal("no_lease"), Reason::Silence, Time::from_nanos(1));
    assert!(renewal.is_removed());
}

#[test]
fn silence_is_longer_where_there_was_an_answer() {
    let silent =
        |age, trying| is_silent(Some(&Peer { handshake_age: age, trying_for: trying, ..Peer::default() }));
    assert!(!silent(None, None) && !silent(None, Some(1.0)) && silent(None, Some(1.5)));
    assert!(!silent(Some(100.0), Some(5.9)) && silent(Some(100.0), Some(6.0)));
}
