//! Changing an interface while it runs.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod party;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use adit_noise::{PresharedKey, PrivateKey, PublicKey};
use adit_wireguard::{Output, PeerChange, PeerError, Prefix, Refused, Tunnel};
use party::{A, B, Party, World, is_initiation, now, pad, secs};

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ranges(add: &[&str], remove: &[&str]) -> PeerChange {
    let add = add.iter().map(|text| (true, prefix(text)));
    let remove = remove.iter().map(|text| (false, prefix(text)));
    PeerChange { allowed_ips: add.chain(remove).collect(), ..PeerChange::default() }
}

#[test]
fn another_preshared_key_ends_the_session_and_the_next_uses_it() {
    let mut world = World::connected();
    let preshared = PresharedKey::generate();
    for (me, other) in [(A, B), (B, A)] {
        let (key, at) = (world.parties[other].public(), world.at);
        let change = || PeerChange { preshared_key: Some(preshared.clone()), ..PeerChange::default() };
        world.parties[me].change(&key, change(), at);
        assert!(world.parties[me].sessions.is_empty());
        assert!(world.parties[me].current.is_empty());
        world.parties[me].change(&key, change(), at);
    }
    world.send(A, b"with the new key");
    world.run(1.0);
    assert_eq!(world.take(B), [pad(b"with the new key")]);
    let (key, at) = (world.parties[B].public(), world.at);
    let same = PeerChange { preshared_key: Some(preshared), ..PeerChange::default() };
    world.parties[A].change(&key, same, at);
    assert!(world.parties[A].current().is_some(), "the same key changes nothing");
}

#[test]
fn another_private_key_ends_all_sessions() {
    let mut world = World::connected();
    let (old, new) = (world.parties[A].public(), PrivateKey::generate());
    let same = world.parties[A].tunnel.private_key().cloned();
    world.parties[A].tunnel.set_private_key(same, now(world.at));
    world.parties[A].settle();
    assert!(world.parties[A].current().is_some(), "the same key changes nothing");

    world.parties[A].tunnel.set_private_key(Some(new.clone()), now(world.at));
    world.parties[A].settle();
    assert!(world.parties[A].sessions.is_empty());
    world.parties[B].tunnel.remove_peer(&old);
    let at = world.at;
    world.parties[B].settle();
    world.parties[B].change(&new.public(), PeerChange::default(), at);
    world.send(A, b"as somebody else");
    world.run(1.0);
    assert_eq!(world.take(B), [pad(b"as somebody else")]);
}

#[test]
fn persistent_peers_are_greeted_when_the_private_key_comes() {
    let mut world = World::new(None);
    let key = world.parties[A].tunnel.private_key().cloned();
    world.parties[A].tunnel.set_private_key(None, now(world.at));
    let (peer, at) = (world.parties[B].public(), world.at);
    let change = PeerChange { persistent_keepalive: Some(25), ..PeerChange::default() };
    world.parties[A].change(&peer, change, at);
    world.run(3.0);
    assert!(world.log.is_empty());
    world.parties[A].tunnel.set_private_key(key, now(world.at));
    world.parties[A].settle();
    assert_eq!(world.parties[A].wire.len(), 1, "at once");
    world.run(1.0);
    assert_eq!(world.times(A, is_initiation), [3.0]);
    assert!(world.parties[A].current().is_some());
}

#[test]
fn without_a_private_key_nothing_is_sent_or_answered() {
    let mut world = World::new(None);
    for party in [A, B] {
        world.parties[party].tunnel.set_private_key(None, now(world.at));
    }
    world.send(A, b"never");
    assert_eq!(world.parties[A].refused, [Refused::NoPrivateKey]);
    assert!(world.parties[A].tunnel.private_key().is_none());
    let from = adit_wireguard::Endpoint::udp(world.parties[A].address);
    let answer = world.parties[B].tunnel.handle_handshake(
        from,
        &mut [&[1, 0, 0, 0][..], &[0; 144]].concat(),
        false,
        now(world.at),
    );
    assert_eq!(answer, Err(Refused::NoPrivateKey));
}

#[test]
fn nobody_is_their_own_peer() {
    let private = PrivateKey::generate();
    let mut party = Party::new(&private, "192.0.2.1:1", secs(0.0));
    let at = now(secs(0.0));
    let own = party.tunnel.change_peer(&private.public(), PeerChange::default(), at);
    assert_eq!(own, Err(PeerError::OwnKey));
    let other = PrivateKey::generate();
    party.change(&other.public(), PeerChange::default(), secs(0.0));
    party.tunnel.set_private_key(Some(other), at);
    assert_eq!(party.tunnel.peers().count(), 0);
}

#[test]
fn a_change_alone_creates_no_peer() {
    let mut tunnel = Tunnel::new();
    let key = PrivateKey::generate().public();
    let change = PeerChange { update_only: true, ..PeerChange::default() };
    assert_eq!(tunnel.change_peer(&key, change, now(secs(0.0))), Ok(None));
    assert_eq!(tunnel.peers().count(), 0);
    assert!(tunnel.poll_output().is_none());
}

#[test]
fn a_range_belongs_to_the_last_that_claims_it() {
    let mut party = Party::new(&PrivateKey::generate(), "192.0.2.1:1", secs(0.0));
    let (one, two) = (PrivateKey::generate().public(), PrivateKey::generate().public());
    let at = secs(0.0);
    let first = party.change(&one, ranges(&["10.0.0.0/8", "fd00::/8"], &[]), at);
    let second = party.change(&two, ranges(&["10.1.0.0/16"], &[]), at);
    assert_eq!(party.routes.lookup(address("10.1.2.3")), Some(second));
    assert_eq!(party.routes.lookup(address("10.2.0.1")), Some(first));
    assert_eq!(party.tunnel.owner_of(prefix("10.0.0.0/8")), Some(one));
    assert_eq!(party.tunnel.owner_of(prefix("10.2.0.0/16")), None, "within another is not the same");
    party.change(&two, ranges(&["10.0.0.0/8"], &[]), at);
    assert_eq!(party.routes.lookup(address("10.2.0.1")), Some(second));
    assert_eq!(party.tunnel.owner_of(prefix("10.0.0.0/8")), Some(two));
    party.change(&one, ranges(&[], &["10.0.0.0/8"]), at);
    assert_eq!(party.routes.lookup(address("10.2.0.1")), Some(second), "not the first's to remove");
    let shown: Vec<_> = party.tunnel.peers().map(|peer| peer.allowed_ips).collect();
    assert_eq!(shown, [vec![prefix("fd00::/8")], vec![prefix("10.0.0.0/8"), prefix("10.1.0.0/16")]]);
    let replaced = PeerChange { replace_allowed_ips: true, ..ranges(&["10.9.0.0/16"], &[]) };
    party.change(&two, replaced, at);
    assert_eq!(party.routes.lookup(address("10.1.2.3")), None);
    assert_eq!(party.routes.lookup(address("10.9.2.3")), Some(second));
    party.tunnel.remove_peer(&two);
    party.settle();
    assert_eq!(party.routes.lookup(address("10.9.2.3")), None);
    assert_eq!(party.routes.lookup(address("fd00::1")), Some(first));
}

#[test]
fn routes_are_published_once_for_many_changes_and_not_without_one() {
    let mut party = Party::new(&PrivateKey::generate(), "192.0.2.1:1", secs(0.0));
    let key = PrivateKey::generate().public();
    let at = now(secs(0.0));
    for range in ["10.0.0.0/8", "10.1.0.0/16"] {
        party.tunnel.change_peer(&key, ranges(&[range], &[]), at).unwrap();
    }
    let count = |party: &mut Party| {
        let outputs = std::iter::from_fn(|| party.tunnel.poll_output());
        outputs.filter(|output| matches!(output, Output::Routes(_))).count()
    };
    assert_eq!(count(&mut party), 1);
    party.tunnel.change_peer(&key, ranges(&["10.0.0.0/8"], &[]), at).unwrap();
    assert_eq!(count(&mut party), 0, "it was that peer's already");
}

#[test]
fn an_interface_that_is_down_forgets_its_sessions_and_answers_nobody() {
    let mut world = World::connected();
    world.parties[B].tunnel.set_up(false, now(world.at));
    world.parties[B].settle();
    assert!(world.parties[B].sessions.is_empty());
    assert_eq!(world.parties[B].tunnel.poll_timeout(), None);
    world.send(B, b"never");
    world.send(A, b"unheard");
    world.run(16.0);
    let down = world.parties[B].refused.iter().filter(|reason| **reason == Refused::Down);
    assert_eq!(down.count(), 2, "a packet, and an initiation");
    assert!(world.parties[B].sessions.is_empty());
    assert!(world.take(A).is_empty() && world.take(B).is_empty());
    world.parties[B].tunnel.set_up(true, now(world.at));
    world.run(6.0);
    world.send(A, b"heard");
    world.run(1.0);
    assert_eq!(world.take(B), [pad(b"heard")]);
}

#[test]
fn an_interface_that_comes_up_greets_its_persistent_peers() {
    let mut world = World::new(None);
    world.parties[A].tunnel.set_up(false, now(world.at));
    let (key, at) = (world.parties[B].public(), world.at);
    let change = PeerChange { persistent_keepalive: Some(25), ..PeerChange::default() };
    world.parties[A].change(&key, change, at);
    world.run(100.0);
    assert!(world.log.is_empty());
    world.parties[A].tunnel.set_up(true, now(world.at));
    world.parties[A].settle();
    world.run(0.0);
    assert_eq!(world.times(A, is_initiation), [100.0]);
}

#[test]
fn a_persistent_peer_is_greeted_when_it_is_known_where_it_is() {
    let mut world = World::new(None);
    let (key, at) = (world.parties[A].public(), world.at);
    let change = PeerChange { persistent_keepalive: Some(25), ..PeerChange::default() };
    world.parties[B].change(&key, change, at);
    world.run(3.0);
    assert!(world.log.is_empty());
    let change = PeerChange { endpoint: Some(world.parties[A].address), ..PeerChange::default() };
    world.parties[B].change(&key, change, world.at);
    world.run(1.0);
    assert_eq!(world.times(B, is_initiation), [3.0]);
}

#[test]
fn a_peer_without_an_endpoint_cannot_be_sent_to() {
    let mut world = World::new(None);
    world.send(B, b"where to?");
    assert_eq!(world.parties[B].refused, [Refused::NoEndpoint]);
    let gone = adit_wireguard::PeerId::new(99);
    let refused = world.parties[B].tunnel.handle_unsent(gone, b"data", now(secs(0.0)));
    assert_eq!(refused, Err(Refused::UnknownPeer));
}

#[test]
fn our_address_on_the_path_is_forgotten_when_the_endpoint_is_set_even_to_the_same() {
    let mut world = World::connected();
    let path = world.sticky();
    let (key, id, at) = (world.parties[B].public(), world.parties[A].peer(), world.at);
    world.parties[A].traffic[&id].endpoint.set(Some(path));
    world.parties[A].change(&key, PeerChange::default(), at);
    assert_eq!(world.parties[A].traffic[&id].endpoint.get(), Some(path), "nothing was said of it");
    let same = PeerChange { endpoint: Some(path.remote()), ..PeerChange::default() };
    world.parties[A].change(&key, same, at);
    assert_eq!(world.parties[A].traffic[&id].endpoint.get(), Some(path.without_local()));
}

#[test]
fn packets_that_wait_are_dropped_with_the_interface() {
    let mut world = World::new(None);
    world.send(A, b"one");
    world.send(A, b"two");
    world.parties[A].tunnel.set_up(false, now(world.at));
    world.parties[A].settle();
    assert_eq!(world.parties[A].dropped, [(Refused::PeerGone, 2)]);
    assert_eq!(world.parties[A].tunnel.poll_timeout(), None);
}

#[test]
fn numbers_of_peers_are_never_given_again() {
    let mut party = Party::new(&PrivateKey::generate(), "192.0.2.1:1", secs(0.0));
    let key = PrivateKey::generate().public();
    let first = party.change(&key, PeerChange::default(), secs(0.0));
    party.tunnel.remove_peer(&key);
    party.settle();
    assert_ne!(party.change(&key, PeerChange::default(), secs(0.0)), first);
}

/// Not a measurement: a scan of all peers in each call would take minutes.
#[test]
#[expect(clippy::disallowed_methods, reason = "a bound on real time")]
fn ten_thousand_peers_cost_no_scans() {
    let began = Instant::now();
    let mut party = Party::new(&PrivateKey::generate(), "192.0.2.1:1", secs(0.0));
    let change = |number: u32| PeerChange {
        endpoint: Some("192.0.2.2:2".parse().unwrap()),
        replace_allowed_ips: true,
        allowed_ips: vec![(true, Prefix::new(IpAddr::V4((0x0a00_0000 + number).into()), 32).unwrap())],
        ..PeerChange::default()
    };
    let key = |number: u32| {
        let mut bytes = [9; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        PublicKey::from_bytes(bytes)
    };
    for number in 0..10_000 {
        party.tunnel.change_peer(&key(number), change(number), now(secs(0.0))).unwrap();
    }
    party.settle();
    assert_eq!(party.tunnel.peers().count(), 10_000);
    for number in 0..10_000 {
        party.tunnel.change_peer(&key(number), change(number), now(secs(1.0))).unwrap();
    }
    for number in (0..10_000).rev() {
        party.tunnel.remove_peer(&key(number));
    }
    party.settle();
    assert_eq!(party.tunnel.poll_timeout(), None);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
