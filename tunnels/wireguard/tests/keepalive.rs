//! What is sent only so that the other side hears something.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod party;

use adit_wireguard::PeerChange;
use party::{A, B, World, close, is_initiation, is_keepalive, pad, secs};

#[test]
fn received_data_is_answered_by_one_keepalive_after_10_s() {
    let mut world = World::connected();
    world.run(60.0);
    let keepalives = world.times(B, is_keepalive);
    assert_eq!(keepalives.len(), 1);
    let arrived = 0.03;
    assert!(close(keepalives[0], arrived + 10.0), "{keepalives:?}");
    assert_eq!(world.times(A, is_keepalive).len(), 0, "a keepalive is not answered");
}

#[test]
fn data_that_goes_back_spares_the_keepalive() {
    let mut world = World::connected();
    world.run(8.0);
    world.send(B, b"answer");
    world.run(30.0);
    assert_eq!(world.times(B, is_keepalive).len(), 0);
    assert_eq!(world.times(A, is_keepalive).len(), 1);
}

#[test]
fn a_keepalive_for_data_late_in_a_pause_is_not_late() {
    let mut world = World::connected();
    world.run(30.0);
    world.send(A, b"later");
    let arrived = world.at.since(secs(0.0)).as_secs_f64() + 0.01;
    world.run(30.0);
    let keepalives = world.times(B, is_keepalive);
    assert_eq!(keepalives.len(), 2);
    assert!(close(keepalives[1], arrived + 10.0), "{keepalives:?}");
}

#[test]
fn persistent_keepalives_keep_the_silence_short_and_do_not_answer_one_another() {
    let mut world = World::introduced();
    for (me, other) in [(A, B), (B, A)] {
        let (key, at) = (world.parties[other].public(), world.at);
        let change = PeerChange { persistent_keepalive: Some(25), ..PeerChange::default() };
        world.parties[me].change(&key, change, at);
        world.run(0.5);
    }
    assert_eq!(world.times(A, is_initiation), [0.0], "at once");
    world.run(1000.0);
    let mut all: Vec<_> = world.times(A, |_| true);
    all.extend(world.times(B, |_| true));
    all.sort_by(f64::total_cmp);
    assert!((40..90).contains(&all.len()), "{all:?}");
    let gap = all.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    assert!(gap < 25.1, "{gap}");
    let mut times = world.times(A, is_initiation);
    times.extend(world.times(B, is_initiation));
    times.sort_by(f64::total_cmp);
    let renewals = times.windows(2).skip(1);
    assert!(renewals.clone().count() > 4);
    assert!(renewals.into_iter().all(|pair| pair[1] - pair[0] < 130.0), "keepalives renew too: {times:?}");
}

#[test]
fn a_persistent_peer_never_gives_up() {
    let mut world = World::new(None);
    world.weather.lost = 1000;
    let (key, at) = (world.parties[B].public(), world.at);
    let change = PeerChange { persistent_keepalive: Some(25), ..PeerChange::default() };
    world.parties[A].change(&key, change, at);
    world.run(1000.0);
    let times = world.times(A, is_initiation);
    assert!(times.windows(2).all(|pair| (5.0..26.0).contains(&(pair[1] - pair[0]))), "{times:?}");
    assert!(*times.last().unwrap() > 970.0);
}

/// What is due but cannot be done must not come due again at once.
#[test]
fn a_keepalive_shorter_than_the_pause_between_initiations_does_not_hurry_them() {
    let mut world = World::new(None);
    world.weather.lost = 1000;
    let (key, at) = (world.parties[B].public(), world.at);
    let change = PeerChange { persistent_keepalive: Some(1), ..PeerChange::default() };
    world.parties[A].change(&key, change, at);
    world.run(60.0);
    let times = world.times(A, is_initiation);
    assert!((11..=12).contains(&times.len()), "{times:?}");
}

/// The same for an answer that is owed when the session has ended.
#[test]
fn an_answer_owed_on_an_ended_session_is_tried_once() {
    let mut world = World::connected();
    world.run_to(secs(174.0));
    world.send(B, b"late");
    world.weather.lost = 1000;
    world.run(120.0);
    assert_eq!(world.take(A), [pad(b"late")]);
    let times = world.times(A, is_initiation);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 5.0), "{times:?}");
    assert!(*times.last().unwrap() < 184.1 + 90.0, "{times:?}");
}
