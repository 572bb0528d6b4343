//! How a link comes up, stays up, and comes back.

mod link;
mod station;

use std::time::Duration;

use adit_macsec::agreement::Config;
use adit_macsec::agreement::message::Message;
use adit_macsec::{Sci, Ssci};
use link::suites;
use station::{A, B, World, config, frame, now};

#[test]
fn keys_come_and_frames_pass_both_ways_under_every_suite_and_protection() {
    for (suite, protection) in suites() {
        let mut world = World::with_suite(suite, protection);
        world.run(1.0);
        assert!(world.passes(), "{suite}, {protection:?}");
        for station in &world.stations {
            let sa = station.secy.port().transmit().unwrap();
            assert_eq!((sa.sak().suite(), sa.sak().protection()), (suite, protection));
            let greater = station.config.sci == Sci::new([2, 0, 0, 0, 0, 2], 1);
            let ssci = if greater { Ssci(1) } else { Ssci(2) };
            assert_eq!(sa.ssci(), suite.is_xpn().then_some(ssci));
        }
    }
}

/// Both begin in the same moment, as after a power cut: each with keys of either order, and the messages meet anywhere.
#[test]
fn both_may_begin_at_once_and_come_to_one_pair_of_keys() {
    for seed in 1..60 {
        let mut configs = [config(A), config(B)];
        if seed % 2 == 0 {
            let [a, b] = &mut configs;
            std::mem::swap(a, b);
        }
        let mut world = World::of(configs, seed);
        world.weather.late = if seed % 3 == 0 { 700 } else { 0 };
        world.run(2.0);
        world.weather.late = 0;
        assert!(world.passes(), "seed {seed}");
        world.run(15.0);
        let [a, b] = &world.stations;
        for (one, other) in [(a, b), (b, a)] {
            let keys = one.receives_with();
            assert!(keys.contains(&other.sends_with().unwrap()), "seed {seed}");
            // A response that came when it was of no use any more leaves a key that is never used.
            assert!(keys.len() == 1 || seed % 3 == 0 && keys.len() == 2, "seed {seed}");
        }
        world.run(110.0);
        let renewals = [A, B]
            .map(|from| world.times(from, Message::Initiation).iter().filter(|time| **time > 60.0).count());
        assert_eq!(renewals.iter().sum::<usize>(), 1, "one of them renews, seed {seed}: {renewals:?}");
        if seed % 3 != 0 {
            let [a, b] = world.stations.each_ref().map(|station| station.config.private.public());
            assert_eq!(
                renewals,
                if a > b { [1, 0] } else { [0, 1] },
                "the greater public key's pair is in use"
            );
        }
    }
}

#[test]
fn no_frame_is_lost_while_keys_change_under_traffic() {
    let mut world = World::connected();
    let before = [A, B].map(|station| world.stations[station].agreement.status().handshakes);
    for number in 0..10_000_u32 {
        world.send(A, &frame(number));
        world.send(B, &frame(number));
        world.run(0.05);
        for station in &mut world.stations {
            let expected = frame(number);
            assert_eq!(station.inbox.pop(), Some(expected), "after {number} frames");
        }
    }
    for (station, before) in world.stations.iter().zip(before) {
        assert!(station.frames_refused.is_empty() && station.unsent == 0);
        assert_eq!(station.agreement.status().handshakes - before, 4, "one in 120 s");
    }
    assert_eq!(world.orphaned, Duration::ZERO);
}

#[test]
fn an_old_key_receives_for_three_seconds_more_and_is_then_given_up() {
    let mut world = World::connected();
    world.run(60.0);
    let key = world.stations[A].sends_with().unwrap();
    // Under way when the keys change.
    world.send(A, &frame(1));
    let late = world.last(A, Message::Frame);
    world.run(0.02);
    let later = {
        world.send(A, &frame(2));
        world.last(A, Message::Frame)
    };
    let at = now(world.at);
    world.stations[A].agreement.handle_rekey(key, at);
    world.stations[A].settle();
    world.run(0.1);
    assert_ne!(world.stations[A].sends_with(), Some(key));
    assert_eq!(world.stations[B].receives_with().len(), 2);
    world.run(2.8);
    world.stations[B].frames_refused.clear();
    world.inject(B, station::address(A), &late);
    assert_eq!(world.stations[B].frames_refused, [adit_macsec::Refused::Late], "still known");
    world.run(0.3);
    world.stations[B].frames_refused.clear();
    world.inject(B, station::address(A), &later);
    assert_eq!(world.stations[B].frames_refused, [adit_macsec::Refused::NotUsingSa]);
    assert_eq!(world.stations.each_ref().map(|station| station.receives_with().len()), [1, 1]);
}

#[test]
fn the_packet_numbers_end_is_told_once_and_leads_to_a_new_key() {
    let mut world = World::connected();
    world.run(10.0);
    let key = world.stations[B].sends_with().unwrap();
    let at = now(world.at);
    for _ in 0..3 {
        world.stations[B].agreement.handle_rekey(key, at);
    }
    world.stations[B].settle();
    world.run(0.5);
    let renewed = world.stations[B].sends_with().unwrap();
    assert_ne!(renewed, key);
    world.stations[B].agreement.handle_rekey(key, now(world.at));
    world.stations[B].settle();
    world.run(6.0);
    assert_eq!(world.stations[B].sends_with(), Some(renewed), "an old key's end is of no concern");
    assert!(world.passes());
}

#[test]
fn without_an_answer_sending_ends_after_180_s_and_trying_never() {
    let mut world = World::connected();
    let born = world.stations[A].agreement.status().transmit_since.unwrap();
    world.weather.lost = 1000;
    let left = 180.0 - world.at.since(born).as_secs_f64();
    world.run(left - 0.1);
    assert!(world.stations[A].sends_with().is_some());
    world.run(0.2);
    for station in &mut world.stations {
        assert_eq!((station.sends_with(), station.receives_with().len()), (None, 0));
    }
    world.stations[A].unsent = 0;
    world.send(A, &frame(1));
    assert_eq!(world.stations[A].unsent, 1, "nothing leaves in clear");
    world.run(1_000.0);
    for from in [A, B] {
        let times: Vec<_> =
            world.times(from, Message::Initiation).into_iter().filter(|at| *at > 200.0).collect();
        assert!(times.len() > 170, "{}", times.len());
        assert!(times.windows(2).all(|pair| (5.0..5.334).contains(&(pair[1] - pair[0]))), "{times:?}");
        assert!(times.windows(2).any(|pair| pair[1] - pair[0] > 5.05), "by chance");
    }
    world.weather.lost = 0;
    world.run(5.4);
    assert!(world.passes(), "it comes back by itself");
}

#[test]
fn either_side_may_begin_anew_and_frames_pass_within_a_second() {
    for restarted in [A, B] {
        for age in [1.0, 60.0, 119.99] {
            let mut world = World::connected();
            world.run(age);
            world.stations[restarted].restart(world.at);
            world.run(0.1);
            assert!(world.passes(), "station {restarted} at {age} s");
            world.run(5.0);
            assert!(world.stations.iter().all(|station| station.receives_with().len() == 1));
        }
    }
}

#[test]
fn a_peer_that_begins_anew_under_another_sci_is_taken() {
    let mut world = World::connected();
    let sci = Sci::new([2, 0, 0, 0, 0, 9], 7);
    world.stations[B].config.sci = sci;
    world.stations[B].restart(world.at);
    world.run(0.5);
    assert!(world.passes());
    assert_eq!(station::sci_of(&world.last(B, Message::Frame)), Some(sci));
    let channels: Vec<_> = world.stations[A].secy.port().receive().iter().map(|sc| sc.sci()).collect();
    assert_eq!(channels, [sci], "the channel of before is gone");
}

#[test]
fn a_silent_peer_is_asked_whether_it_is_there() {
    let mut world = World::connected();
    world.run(30.0);
    world.log.clear();
    let from = world.at.since(station::secs(0.0)).as_secs_f64();
    world.weather.lost = 1000;
    world.run(40.0);
    for station in [A, B] {
        let first = world.times(station, Message::Initiation)[0] - from;
        assert!((14.9..25.1).contains(&first), "{first}");
    }
    world.weather.lost = 0;
    world.run(6.0);
    assert!(world.passes());
}

#[test]
fn an_idle_link_is_kept_alive_and_no_host_hears_of_it() {
    let mut world = World::connected();
    world.run(30.0);
    world.stations.iter_mut().for_each(|station| (station.keepalives, _) = (0, station.inbox.clear()));
    world.log.clear();
    world.run(60.0);
    for station in &world.stations {
        assert_eq!((station.keepalives, station.inbox.len()), (6, 0));
    }
    assert!(world.times(A, Message::Initiation).is_empty() && world.times(B, Message::Initiation).is_empty());
}

#[test]
fn after_an_hour_of_sleep_old_keys_are_gone_and_new_ones_come() {
    let mut world = World::connected();
    let keys = world.stations.each_ref().map(|station| station.sends_with());
    world.at = world.at + Duration::from_secs(3_600);
    world.run(1.0);
    assert!(world.passes());
    for (station, key) in world.stations.iter().zip(keys) {
        assert_ne!(station.sends_with(), key);
    }
}

#[test]
fn a_station_whose_clock_was_set_back_is_found_by_the_other() {
    let mut world = World::connected();
    world.run(20.0);
    // Its stamps are those of an hour ago.
    let fresh = Config { ..world.stations[B].config.clone() };
    let mut past = now(world.at);
    past.wall -= Duration::from_secs(3_600);
    world.stations[B].restart(world.at);
    world.stations[B].agreement = adit_macsec::agreement::Agreement::new(fresh, past).unwrap();
    world.stations[B].agreement.handle_timeout(past);
    world.stations[B].settle();
    world.run(0.1);
    assert_eq!(world.stations[A].refused.last(), Some(&adit_macsec::agreement::Refused::TimestampReplayed));
    world.run(40.0);
    assert!(world.passes());
}
