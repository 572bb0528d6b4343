//! What becomes of leases where the store has no room.

use std::sync::mpsc;

use adit_noise::PresharedKey;

use super::*;
use crate::admin::Audit;
use crate::store::{Enrol, Pool, Proof, Range, Settings, Token};
use crate::test_folder::Folder;

/// More than changes can wait in the store.
const FLOOD: usize = 8_192;
const HOUR: u64 = 3_600;

/// Leases of nobody yet.
fn leases(folder: &Folder) -> Arc<Leases> {
    let range = Range { first: [10, 9, 0, 2].into(), last: [10, 9, 0, 99].into() };
    let settings = Settings { pool: Pool { v4: Some(range), v6: None }, cache: 1 << 20 };
    let store = Embedded::open(&folder.path().join("store"), &settings, now()).unwrap();
    let refusals = Refusals::start(Audit::open(folder.path()).unwrap()).unwrap();
    Arc::new(Leases::new("wg0", store, refusals))
}

fn now() -> Wall {
    clock::both().wall.as_secs()
}

fn key(number: u8) -> PublicKey {
    PublicKey::from_bytes([number; 32])
}

/// Grants a lease by a certificate.
fn grant(leases: &Leases, name: &str, number: u8) -> Lease {
    let enrol = Enrol {
        proof: Proof::Certificate { identity: name.parse().unwrap(), marks: vec![number; 32] },
        key: key(number),
        reserved: false,
        preshared: PresharedKey::from_bytes([number; 32]),
        until: now() + HOUR,
        renewal: Token::random().unwrap().digest(),
    };
    let done = leases.store.apply(Change::Enrol(enrol), now()).unwrap();
    let Done::Leased { lease, .. } = done else { panic!("{done:?}") };
    lease
}

fn count(leases: &Leases) -> usize {
    let mut count = 0;
    leases.store.leases(&mut |_| count += 1).unwrap();
    count
}

/// Waits until the store has done what was asked of it before.
fn settle(leases: &Leases) {
    leases.store.apply(Change::Expire { most: 1 }, now()).unwrap();
}

#[test]
fn a_revocation_that_the_store_has_no_room_for_is_made_up_for() {
    let folder = Folder::new();
    let leases = leases(&folder);
    leases.granted(&grant(&leases, "alice", 1), None).unwrap();
    leases.granted(&grant(&leases, "bob", 2), None).unwrap();
    // The store writes nothing until this answer has been heard, and what waits meanwhile fills its queue.
    let (go_on, held) = mpsc::channel::<()>();
    let submit = |answer| leases.store.submit(Change::Expire { most: 1 }, now(), answer);
    submit(Box::new(move |_| {
        let _ = held.recv();
    }));
    (0..FLOOD).for_each(|_| submit(Box::new(drop)));
    leases.revoke(|marks| marks == [1; 32]);
    assert_eq!(count(&leases), 2);
    drop(go_on);
    while leases.store.apply(Change::Expire { most: 1 }, now()).is_err() {}
    assert!(leases.is_to_be_looked_through(), "nobody would come back to it");
    leases.revoke(|marks| marks == [1; 32]);
    settle(&leases);
    assert_eq!((count(&leases), leases.count()), (1, 1), "bob stays");
    assert!(!leases.is_to_be_looked_through());
}

#[test]
fn a_key_that_a_reload_has_reserved_meanwhile_makes_no_peer() {
    let folder = Folder::new();
    let leases = leases(&folder);
    leases.place().reserved = HashSet::from([key(1)]);
    // It was asked for under the terms of before.
    let refused = leases.granted(&grant(&leases, "alice", 1), None).unwrap_err();
    assert_eq!(refused, Problem::Refused(Refusal::KeyReserved));
    settle(&leases);
    assert_eq!((count(&leases), leases.count()), (0, 0), "neither lease nor peer");
    leases.granted(&grant(&leases, "alice", 3), None).unwrap();
    settle(&leases);
    assert_eq!((count(&leases), leases.count()), (1, 1));
}
