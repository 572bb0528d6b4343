//! The rules of leases, what survives a crash, and that one identity gets nothing of another.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use adit_noise::{PresharedKey, PublicKey};

use super::super::{
    Change, Digest, Done, Enrol, Error, Event, Identity, Lease, Pool, Proof, Range, Refusal, Store,
};
use super::*;
use crate::store::Token;
use crate::test_folder::Folder;

const NOW: Wall = 1_795_000_000;
const HOUR: u64 = 3_600;

fn pool(size: u32) -> Pool {
    let first = Ipv4Addr::new(10, 9, 0, 2);
    let last = Ipv4Addr::from_bits(first.to_bits() + size - 1);
    let v6 = Range { first: "fd09::2".parse().unwrap(), last: "fd09::ffff:ffff".parse().unwrap() };
    Pool { v4: Some(Range { first, last }), v6: Some(v6) }
}

fn settings(size: u32) -> Settings {
    Settings { pool: pool(size), cache: 8 << 20 }
}

/// A store in a folder of its own, which can be closed and opened again.
struct Site {
    folder: Folder,
    store: Option<Embedded>,
}

impl Site {
    fn new(size: u32) -> Self {
        let mut site = Self { folder: Folder::new(), store: None };
        site.reopen(size);
        site
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("clients.redb")
    }

    fn reopen(&mut self, size: u32) {
        self.store = None;
        self.store = Some(Embedded::open(&self.path(), &settings(size), NOW).unwrap());
    }

    fn store(&self) -> &Embedded {
        self.store.as_ref().unwrap()
    }

    fn apply(&self, change: Change, now: Wall) -> Result<Done, Refusal> {
        self.store().apply(change, now).map_err(|error| {
            let Error::Refused(refusal) = error else { panic!("{error}") };
            refusal
        })
    }

    fn invite(&self, name: &str, until: Wall) -> Digest {
        let token = Token::random().unwrap().digest();
        let done = self.apply(Change::Invite { token, identity: identity(name), until }, NOW);
        assert_eq!(done, Ok(Done::Invited));
        token
    }

    fn leases(&self) -> Vec<Lease> {
        let mut all = Vec::new();
        self.store().leases(&mut |lease| all.push(lease)).unwrap();
        all
    }
}

fn identity(name: &str) -> Identity {
    name.parse().unwrap()
}

fn key(number: u8) -> PublicKey {
    PublicKey::from_bytes([number; 32])
}

fn secret(number: u8) -> Digest {
    Digest::from_bytes([number; 32])
}

fn enrol(proof: Proof, number: u8, until: Wall) -> Change {
    let preshared = PresharedKey::from_bytes([number; 32]);
    Change::Enrol(Enrol {
        proof,
        key: key(number),
        reserved: false,
        preshared,
        until,
        renewal: secret(number),
    })
}

fn certificate(name: &str) -> Proof {
    Proof::Certificate { identity: identity(name), marks: vec![1, 2, 3] }
}

fn lease(done: Result<Done, Refusal>) -> (Lease, Option<PublicKey>) {
    match done {
        Ok(Done::Leased { lease, before }) => (lease, before),
        other => panic!("{other:?}"),
    }
}

fn ended(done: Result<Done, Refusal>) -> Vec<Lease> {
    match done {
        Ok(Done::Ended { leases, .. }) => leases,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_token_counts_once_and_in_its_time_alone() {
    let site = Site::new(10);
    let token = site.invite("alice", NOW + HOUR);
    let late = site.invite("bob", NOW + HOUR);
    let unknown = enrol(Proof::Token(secret(9)), 1, NOW + HOUR);
    assert_eq!(site.apply(unknown, NOW), Err(Refusal::UnknownToken));
    let (got, before) = lease(site.apply(enrol(Proof::Token(token), 1, NOW + HOUR), NOW));
    assert_eq!((got.identity.as_str(), got.key, before), ("alice", key(1), None));
    assert_eq!(got.v4, Some(Ipv4Addr::new(10, 9, 0, 2)));
    assert_eq!(site.apply(enrol(Proof::Token(token), 1, NOW + HOUR), NOW), Err(Refusal::UsedToken));
    let (over, until) = (NOW + HOUR, NOW + 2 * HOUR);
    assert_eq!(site.apply(enrol(Proof::Token(late), 2, until), over), Err(Refusal::ExpiredToken));
    lease(site.apply(enrol(Proof::Token(late), 2, until), over - 1));
    let events: Vec<_> =
        site.store().audit(2).unwrap().into_iter().map(|it| (it.event, it.identity)).collect();
    assert_eq!(events, [(Event::Refused, "alice".to_owned()), (Event::Enrolled, "bob".to_owned())]);
}

#[test]
fn one_identity_gets_neither_the_key_nor_the_address_of_another() {
    let site = Site::new(2);
    let (alice, _) = lease(site.apply(enrol(certificate("alice"), 1, NOW + HOUR), NOW));
    let (bob, _) = lease(site.apply(enrol(certificate("bob"), 2, NOW + HOUR), NOW));
    assert_ne!((alice.v4, alice.v6), (bob.v4, bob.v6));
    assert_eq!(site.apply(enrol(certificate("bob"), 1, NOW + HOUR), NOW), Err(Refusal::KeyTaken));
    assert_eq!(site.apply(enrol(certificate("carol"), 3, NOW + HOUR), NOW), Err(Refusal::Full));
    assert_eq!(site.leases(), [alice.clone(), bob]);
    let end = |number| Change::End { identity: identity("alice"), key: key(number), why: "test".to_owned() };
    assert_eq!(ended(site.apply(end(9), NOW)), [], "the lease of another key is not meant");
    assert_eq!(ended(site.apply(end(1), NOW)), [alice]);
    assert_eq!(
        site.apply(enrol(certificate("bob"), 1, NOW + HOUR), NOW),
        Err(Refusal::KeyTaken),
        "a key stays hers"
    );
    ended(site.apply(Change::Remove { identity: identity("alice") }, NOW));
    let (bob, before) = lease(site.apply(enrol(certificate("bob"), 1, NOW + HOUR), NOW));
    assert_eq!((bob.key, before), (key(1), Some(key(2))), "the peer of the key before is to go");
}

#[test]
fn a_pool_that_is_full_takes_somebody_again_when_a_lease_is_over() {
    let site = Site::new(1);
    let token = site.invite("bob", NOW + 3 * HOUR);
    let (alice, _) = lease(site.apply(enrol(certificate("alice"), 1, NOW + HOUR), NOW));
    let bob = || enrol(Proof::Token(token), 2, NOW + 3 * HOUR);
    assert_eq!(site.apply(bob(), NOW), Err(Refusal::Full));
    let none = Change::Expire { most: 10 };
    assert_eq!(ended(site.apply(none.clone(), NOW + HOUR - 1)), []);
    assert_eq!(ended(site.apply(none, NOW + HOUR)), std::slice::from_ref(&alice));
    let (bob, _) = lease(site.apply(bob(), NOW + HOUR));
    assert_eq!(bob.v4, alice.v4, "the token was not used up by the refusal");
}

#[test]
fn who_comes_back_gets_the_address_of_before_if_nobody_has_it() {
    let site = Site::new(3);
    let (alice, _) = lease(site.apply(enrol(certificate("alice"), 1, NOW + HOUR), NOW));
    site.apply(Change::Expire { most: 10 }, NOW + HOUR).unwrap();
    let (bob, _) = lease(site.apply(enrol(certificate("bob"), 2, NOW + 3 * HOUR), NOW + HOUR));
    assert_ne!(bob.v4, alice.v4);
    let (again, before) = lease(site.apply(enrol(certificate("alice"), 1, NOW + 3 * HOUR), NOW + HOUR));
    assert_eq!((again.v4, again.since, before), (alice.v4, NOW + HOUR, None));
}

#[test]
fn a_lease_is_renewed_with_its_secret_and_also_when_the_answer_was_lost() {
    let site = Site::new(3);
    let token = site.invite("alice", NOW + HOUR);
    let (first, _) = lease(site.apply(enrol(Proof::Token(token), 1, NOW + HOUR), NOW));
    let renew = |name: &str, with: u8, next: u8| {
        let proof = Proof::Renewal { identity: identity(name), secret: secret(with) };
        let preshared = PresharedKey::from_bytes([next; 32]);
        Change::Enrol(Enrol {
            proof,
            key: key(1),
            reserved: false,
            preshared,
            until: NOW + 2 * HOUR,
            renewal: secret(next),
        })
    };
    assert_eq!(site.apply(renew("alice", 9, 2), NOW), Err(Refusal::WrongSecret));
    assert_eq!(site.apply(renew("bob", 1, 2), NOW), Err(Refusal::NoLease));
    let (second, before) = lease(site.apply(renew("alice", 1, 2), NOW + 60));
    assert_eq!((second.v4, second.since, second.until, before), (first.v4, NOW, NOW + 2 * HOUR, None));
    assert_ne!(second.preshared, first.preshared);
    lease(site.apply(renew("alice", 1, 3), NOW + 61));
    lease(site.apply(renew("alice", 3, 4), NOW + 62));
    assert_eq!(site.apply(renew("alice", 1, 5), NOW + 63), Err(Refusal::WrongSecret), "an answer did arrive");
    assert_eq!(site.apply(renew("alice", 4, 5), NOW + 2 * HOUR), Err(Refusal::NoLease), "it is too late");
}

#[test]
fn a_lease_of_a_certificate_cannot_outlive_it_by_a_secret() {
    let site = Site::new(3);
    lease(site.apply(enrol(certificate("alice"), 1, NOW + HOUR), NOW));
    let proof = Proof::Renewal { identity: identity("alice"), secret: secret(1) };
    assert_eq!(site.apply(enrol(proof, 1, NOW + 9 * HOUR), NOW), Err(Refusal::NeedsCertificate));
    let (again, _) = lease(site.apply(enrol(certificate("alice"), 1, NOW + 2 * HOUR), NOW + 60));
    assert_eq!((again.since, again.until), (NOW, NOW + 2 * HOUR));
}

#[test]
fn leases_end_in_the_order_of_their_ends_and_so_many_at_a_time() {
    let site = Site::new(10);
    for (number, hours) in [(1, 3), (2, 1), (3, 2)] {
        let name = format!("c{number}");
        lease(site.apply(enrol(certificate(&name), number, NOW + hours * HOUR), NOW));
    }
    let expire = |most| site.apply(Change::Expire { most }, NOW + 3 * HOUR).unwrap();
    let Done::Ended { leases, more } = expire(2) else { panic!() };
    assert_eq!(
        (leases.iter().map(|it| it.identity.as_str()).collect::<Vec<_>>(), more),
        (vec!["c2", "c3"], true)
    );
    let Done::Ended { leases, more } = expire(2) else { panic!() };
    assert_eq!((leases.iter().map(|it| it.identity.as_str()).collect::<Vec<_>>(), more), (vec!["c1"], false));
}

#[test]
fn looking_for_what_is_over_writes_nothing_where_nothing_is() {
    let site = Site::new(10);
    let token = site.invite("alice", NOW + HOUR);
    lease(site.apply(enrol(certificate("bob"), 1, NOW + 9 * HOUR), NOW));
    let written = || std::fs::read(site.path()).unwrap();
    let before = written();
    assert_eq!(ended(site.apply(Change::Expire { most: 10 }, NOW + HOUR)), []);
    assert!(written() == before);
    let late = NOW + 26 * HOUR;
    ended(site.apply(Change::Expire { most: 10 }, late));
    let forgotten = site.apply(enrol(Proof::Token(token), 2, late + HOUR), late);
    assert_eq!(forgotten, Err(Refusal::UnknownToken));
}

#[test]
fn who_is_removed_is_forgotten_with_every_invitation() {
    let site = Site::new(10);
    let token = site.invite("alice", NOW + HOUR);
    lease(site.apply(enrol(certificate("alice"), 1, NOW + HOUR), NOW));
    assert_eq!(ended(site.apply(Change::Remove { identity: identity("alice") }, NOW)).len(), 1);
    assert_eq!(site.apply(enrol(Proof::Token(token), 1, NOW + HOUR), NOW), Err(Refusal::UnknownToken));
    assert_eq!(site.apply(Change::Remove { identity: identity("alice") }, NOW), Err(Refusal::NoIdentity));
    assert_eq!(site.store().lease(&identity("alice")).unwrap(), None);
}

#[test]
fn a_clock_that_is_wrong_gives_no_lease_that_is_over() {
    let site = Site::new(10);
    assert_eq!(site.apply(enrol(certificate("alice"), 1, NOW), NOW), Err(Refusal::Over));
    let token = Token::random().unwrap().digest();
    let over = Change::Invite { token, identity: identity("alice"), until: NOW };
    assert_eq!(site.apply(over, NOW), Err(Refusal::Over));
    assert_eq!(site.leases(), []);
}

#[test]
fn all_of_it_is_there_again_after_a_restart() {
    let mut site = Site::new(10);
    let token = site.invite("bob", NOW + HOUR);
    let (alice, _) = lease(site.apply(enrol(certificate("alice"), 1, NOW + HOUR), NOW));
    site.reopen(10);
    assert_eq!(site.store().lease(&identity("alice")).unwrap(), Some(alice.clone()));
    let (bob, _) = lease(site.apply(enrol(Proof::Token(token), 2, NOW + HOUR), NOW));
    assert_ne!(bob.v4, alice.v4);
    let numbers: Vec<_> = site.store().audit(9).unwrap().into_iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [0, 1, 2]);
}

#[test]
fn leases_that_do_not_fit_another_pool_are_ended_and_told() {
    let mut site = Site::new(10);
    for number in 1..=3 {
        lease(site.apply(enrol(certificate(&format!("c{number}")), number, NOW + HOUR), NOW));
    }
    site.reopen(2);
    assert_eq!(site.leases().len(), 2);
    let last = site.store().audit(1).unwrap();
    assert_eq!((last[0].event, last[0].identity.as_str()), (Event::Ended, "c3"));
    assert_eq!(site.apply(enrol(certificate("c4"), 4, NOW + HOUR), NOW), Err(Refusal::Full));
}

#[test]
fn a_file_that_others_can_read_or_that_is_in_use_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let mut site = Site::new(1);
    let again = Embedded::open(&site.path(), &settings(1), NOW).unwrap_err();
    assert!(matches!(again, Error::InUse(_)), "{again}");
    site.store = None;
    std::fs::set_permissions(site.path(), std::fs::Permissions::from_mode(0o640)).unwrap();
    let open = Embedded::open(&site.path(), &settings(1), NOW).unwrap_err();
    assert!(matches!(open, Error::Open { mode: 0o640, .. }), "{open}");
    std::fs::set_permissions(site.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(site.path(), "no store at all, but longer than nothing").unwrap();
    assert!(matches!(Embedded::open(&site.path(), &settings(1), NOW), Err(Error::File { .. })));
}

#[test]
fn a_file_of_another_schema_is_refused() {
    let mut site = Site::new(1);
    site.store = None;
    for (found, advice) in [(SCHEMA - 1, "have clients enrol again"), (SCHEMA + 1, "a newer adit")] {
        let database = Database::open(site.path()).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(META).unwrap().insert("schema", found).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let error = Embedded::open(&site.path(), &settings(1), NOW).map(drop).unwrap_err();
        assert!(error.to_string().contains(advice), "{error}");
    }
}

#[test]
fn changes_that_wait_at_the_same_time_are_all_answered() {
    let site = Site::new(500);
    let (send, receive) = std::sync::mpsc::channel();
    for number in 0..500_u32 {
        let send = send.clone();
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        let change = Change::Enrol(Enrol {
            proof: certificate(&format!("c{number}")),
            key: PublicKey::from_bytes(bytes),
            reserved: false,
            preshared: PresharedKey::from_bytes(bytes),
            until: NOW + HOUR,
            renewal: secret(1),
        });
        site.store().submit(change, NOW, Box::new(move |done| send.send(done.map(|_| number).ok()).unwrap()));
    }
    drop(send);
    let answered: BTreeSet<_> = receive.into_iter().flatten().collect();
    assert_eq!(answered.len(), 500);
    let addresses: BTreeSet<_> = site.leases().into_iter().map(|lease| lease.v4).collect();
    assert_eq!(addresses.len(), 500);
}

/// The folder for [`writes_until_it_is_killed`], and where in the order of names it begins.
const CHILD: &str = "ADIT_TEST_STORE";

/// No test: it is what the next one kills.
#[test]
fn writes_until_it_is_killed() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let (path, from) = told.split_once(' ').unwrap();
    let store = Embedded::open(path.as_ref(), &settings(60_000), NOW).unwrap();
    let mut number: u32 = from.parse().unwrap();
    println!("ready");
    loop {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        let change = Change::Enrol(Enrol {
            proof: certificate(&format!("c{number:08}")),
            key: PublicKey::from_bytes(bytes),
            reserved: false,
            preshared: PresharedKey::from_bytes(bytes),
            until: NOW + u64::from(number),
            renewal: secret(1),
        });
        // Several at once, so that there is something to group.
        store.submit(change, NOW, Box::new(move |done| println!("done {number} {}", done.is_ok())));
        if number % 8 == 7 {
            let identity = identity(&format!("c{number:08}"));
            let change = Change::Remove { identity };
            store.apply(change, NOW).unwrap();
            println!("gone {number} true");
        }
        number += 1;
    }
}

/// What the killed one had told is there, and each lease with its key, its end and an address of its own.
#[test]
fn nothing_acknowledged_is_lost_and_nothing_half_done_remains_when_it_is_killed_200_times() {
    let folder = Folder::new();
    let path = folder.path().join("clients.redb");
    let mut random = u64::from(std::process::id()) | 1;
    let (mut done, mut gone, mut next) = (BTreeSet::new(), BTreeSet::new(), 0);
    let start = Instant::now();
    for round in 0..200 {
        let told = format!("{} {next}", path.display());
        let mut command = Command::new(std::env::current_exe().unwrap());
        let arguments = ["--exact", "store::embedded::tests::writes_until_it_is_killed", "--nocapture"];
        let mut child = command.args(arguments).env(CHILD, told).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.by_ref().any(|line| line.unwrap() == "ready"), "round {round}");
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        std::thread::sleep(Duration::from_micros(random % 12_000));
        child.kill().unwrap();
        child.wait().unwrap();
        // The last line may be half a line: then its last word is not there, and its number may be half a number.
        for line in lines.map_while(Result::ok) {
            let mut words = line.split(' ');
            let (what, number) = (words.next(), words.next().and_then(|number| number.parse::<u32>().ok()));
            match (what, number, words.next()) {
                (Some("done"), Some(number), Some("true")) => drop(done.insert(number)),
                (Some("gone"), Some(number), Some("true")) => drop(gone.insert(number)),
                _ => {}
            }
        }
        // Checked while it is fresh, and all of it at the end.
        if round % 20 == 19 || round == 0 {
            next = check(&path, &done, &gone);
        } else {
            next = next.max(done.last().map_or(0, |last| last + 1)) + 2_000;
        }
    }
    // On a machine with much else to do it gets fewer done.
    assert!(done.len() > 200 && gone.len() > 20, "{} {}", done.len(), gone.len());
    eprintln!("{} acknowledged, {} removed, {:?}", done.len(), gone.len(), start.elapsed());
}

/// Opens what a crash left, and returns the number after the last.
fn check(path: &std::path::Path, done: &BTreeSet<u32>, gone: &BTreeSet<u32>) -> u32 {
    let store = Embedded::open(path, &settings(60_000), NOW).unwrap();
    let mut leases = Vec::new();
    store.leases(&mut |lease| leases.push(lease)).unwrap();
    let number = |lease: &Lease| lease.identity.as_str()[1..].parse::<u32>().unwrap();
    let there: BTreeSet<_> = leases.iter().map(number).collect();
    let lost: Vec<_> = done.iter().filter(|it| !there.contains(it) && *it % 8 != 7).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let back: Vec<_> = gone.iter().filter(|it| there.contains(it)).collect();
    assert!(back.is_empty(), "removed and there again: {back:?}");
    let addresses: BTreeSet<_> = leases.iter().map(|lease| (lease.v4, lease.v6)).collect();
    assert_eq!(addresses.len(), leases.len());
    let transaction = store.database.begin_write().unwrap();
    let tables = Tables::open(&transaction).unwrap();
    assert_eq!(tables.clients.iter().unwrap().count(), leases.len());
    assert_eq!(tables.keys.iter().unwrap().count(), leases.len());
    assert_eq!(tables.ends.iter().unwrap().count(), leases.len());
    for lease in &leases {
        let name = lease.identity.as_str();
        assert_eq!(tables.keys.get(lease.key.as_bytes()).unwrap().unwrap().value(), name);
        assert!(tables.ends.get((lease.until, name)).unwrap().is_some());
    }
    drop(tables);
    transaction.abort().unwrap();
    // One that was removed is not there, but its number is gone for good.
    there.iter().chain(done).chain(gone).max().map_or(0, |last| last + 1)
}
