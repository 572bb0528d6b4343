//! Who can read which ticket, and for how long.

use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use rustls::pki_types::UnixTime;

use super::*;

/// A clock that is moved by hand.
#[derive(Debug, Default)]
struct Clock(AtomicU64);

impl Clock {
    fn at(seconds: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(seconds)))
    }

    fn forward(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(self.0.load(Ordering::Relaxed))))
    }
}

const NOW: u64 = 1_700_000_000;
const A: &str = "2026-w1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const B: &str = "2026-w2 AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
/// A session of TLS 1.3 for the name "a", as rustls writes it: the rest of it means nothing here.
const SESSION: &[u8] = &[1, 1, b'a', 3, 4, 0x13, 1, 9, 9, 9];

fn keys(lines: &[&str]) -> TicketKeys {
    TicketKeys::parse(lines.join("\n").as_bytes(), NOW).unwrap()
}

fn tickets(keys: TicketKeys, clock: &Arc<Clock>) -> Tickets {
    Tickets::new(keys, Policy::Modern, "web", clock.clone())
}

fn own(clock: &Arc<Clock>) -> Tickets {
    tickets(TicketKeys::generate(NOW), clock)
}

#[test]
fn what_was_put_into_a_ticket_comes_out_of_it() {
    let tickets = own(&Clock::at(NOW));
    let ticket = tickets.encrypt(SESSION).unwrap();
    assert_eq!(ticket.len(), ID + SALT + ISSUED + SESSION.len() + MAX_TAG_LEN);
    assert_eq!(tickets.decrypt(&ticket).as_deref(), Some(SESSION));
    assert_ne!(tickets.encrypt(SESSION), Some(ticket));
}

#[test]
fn hosts_with_the_same_file_read_one_anothers_tickets_across_a_rotation() {
    let clock = Clock::at(NOW);
    let (before, after) = (tickets(keys(&[A, B]), &clock), tickets(keys(&["# next", B, "", A]), &clock));
    let (old, new) = (before.encrypt(SESSION).unwrap(), after.encrypt(SESSION).unwrap());
    assert_ne!(old[..ID], new[..ID], "the first encrypts");
    for host in [&before, &after] {
        assert_eq!(host.decrypt(&old).as_deref(), Some(SESSION));
        assert_eq!(host.decrypt(&new).as_deref(), Some(SESSION));
    }
    before.replace(keys(&[B]));
    assert_eq!(before.decrypt(&old), None, "its key is gone");
}

#[test]
fn a_ticket_is_good_for_its_listener_and_its_policy_alone() {
    let clock = Clock::at(NOW);
    let ticket = tickets(keys(&[A]), &clock).encrypt(SESSION).unwrap();
    for (policy, listener, good) in
        [(Policy::Modern, "web", true), (Policy::Intermediate, "web", false), (Policy::Modern, "mail", false)]
    {
        let other = Tickets::new(keys(&[A]), policy, listener, clock.clone());
        assert_eq!(other.decrypt(&ticket).is_some(), good, "{policy} {listener}");
    }
}

#[test]
fn a_ticket_ends_after_its_lifetime_and_is_not_from_the_future() {
    let clock = Clock::at(NOW);
    let tickets = own(&clock);
    let ticket = tickets.encrypt(SESSION).unwrap();
    clock.forward(LIFETIME - 1);
    assert!(tickets.decrypt(&ticket).is_some());
    clock.forward(1);
    assert_eq!(tickets.decrypt(&ticket), None);
    let early = Tickets::new(keys(&[A]), Policy::Modern, "web", Clock::at(NOW - SKEW - 1));
    let late = Tickets::new(keys(&[A]), Policy::Modern, "web", Clock::at(NOW));
    assert_eq!(early.decrypt(&late.encrypt(SESSION).unwrap()), None);
}

#[test]
fn own_keys_are_replaced_after_their_life_and_erased_with_their_last_ticket() {
    let clock = Clock::at(NOW);
    let tickets = own(&clock);
    clock.forward(KEY_LIFE - 1);
    let last = tickets.encrypt(SESSION).unwrap();
    clock.forward(1);
    let next = tickets.encrypt(SESSION).unwrap();
    assert_ne!(last[..ID], next[..ID]);
    assert_eq!(tickets.keys.load().names().count(), 2);
    clock.forward(LIFETIME - 2);
    assert!(tickets.decrypt(&last).is_some() && tickets.decrypt(&next).is_some());
    clock.forward(2);
    tickets.rotate();
    let names: Vec<_> = tickets.keys.load().names().map(str::to_owned).collect();
    assert_eq!(names, [format!("own-{}", NOW + KEY_LIFE + LIFETIME), format!("own-{}", NOW + KEY_LIFE)]);
    // After a long sleep nothing of before is left.
    clock.forward(10 * LIFETIME);
    tickets.rotate();
    assert_eq!(tickets.keys.load().names().count(), 1);
}

#[test]
fn shared_keys_encrypt_no_more_when_nobody_replaced_the_file_for_12_hours() {
    let clock = Clock::at(NOW + FILE_LIFE - 1);
    let tickets = tickets(keys(&[A]), &clock);
    let ticket = tickets.encrypt(SESSION).unwrap();
    assert!(!tickets.is_stale());
    clock.forward(1);
    assert!(tickets.is_stale());
    assert_eq!(tickets.encrypt(SESSION), None);
    assert_eq!(tickets.decrypt(&ticket).as_deref(), Some(SESSION), "it was promised");
    tickets.replace(TicketKeys::parse(A.as_bytes(), NOW + FILE_LIFE).unwrap());
    assert!(tickets.encrypt(SESSION).is_some());
}

#[test]
fn nothing_but_a_session_of_tls_1_3_gets_into_a_ticket() {
    let tickets = own(&Clock::at(NOW));
    assert!(tickets.encrypt(&[0, 3, 4, 0x13, 1]).is_some());
    for other in [&[0, 3, 3, 0xc0, 0x2b][..], &[1, 1, b'a', 3, 3], &[1, 9, 3, 4], &[2, 3, 4], &[0, 3], &[]] {
        assert_eq!(tickets.encrypt(other), None, "{other:?}");
    }
    assert_eq!(tickets.encrypt(&[&[0, 3, 4][..], &[0; LONGEST]].concat()), None);
}

#[test]
fn a_file_of_keys_is_refused_with_the_line_that_is_wrong_and_without_its_key() {
    let parse = |text: &str| TicketKeys::parse(text.as_bytes(), NOW).map(|keys| keys.names().count());
    assert_eq!(parse(&format!("# one\n\n {A} \r\n{B}\n")), Ok(2));
    assert_eq!(parse(""), Err(KeyFileError::Count(0)));
    assert_eq!(parse(&format!("{A}\n{A}")), Err(KeyFileError::Twice(2)));
    assert_eq!(parse(&format!("{A}\n{}", A.replace("w1", "w9"))), Err(KeyFileError::Twice(2)));
    let short = A.replace("AAA=", "A=");
    let extra = format!("{A} x");
    for wrong in ["name", "name AAAA", "na/me AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", &short, &extra] {
        assert_eq!(parse(&format!("{B}\n{wrong}")), Err(KeyFileError::Line(2)), "{wrong}");
    }
    let many: String = (0..=16)
        .map(|n| {
            format!(
                "k{n} {}=\n",
                char::from(b'A' + n).to_string().repeat(43).replace(|c| !"AEIMQUYcgkosw048".contains(c), "A")
            )
        })
        .collect();
    assert!(parse(&many).is_err());
    assert!(!format!("{:?}", keys(&[A])).contains("AAAA"));
}

proptest! {
    #[test]
    fn a_changed_ticket_is_refused(at in 0_usize..200, bit in 0_u8..8, cut in 0_usize..200) {
        let tickets = own(&Clock::at(NOW));
        let ticket = tickets.encrypt(SESSION).unwrap();
        let mut changed = ticket.clone();
        changed[at % ticket.len()] ^= 1 << bit;
        prop_assert_eq!(tickets.decrypt(&changed), None);
        prop_assert_eq!(tickets.decrypt(&ticket[..cut % ticket.len()]), None);
    }
}
