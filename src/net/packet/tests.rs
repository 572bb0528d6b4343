//! Packet sockets on both ends of a veth.
#![allow(clippy::wildcard_enum_match_arm, reason = "netlink has many attributes, of which we know a few")]

use std::time::{Duration, Instant};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};

use super::*;
use crate::net::isolated::{Tapped, frame, isolated, make_link, readable, remove_link, set_up};
use crate::net::link::{self, Settings};
use crate::net::netlink;

const ARP: u16 = 0x0806;
const TAG_7: [u8; 4] = [0x81, 0x00, 0x60, 0x07];
const SERVICE_TAG_9: [u8; 4] = [0x88, 0xa8, 0x00, 0x09];
const TAGGED: Options = Options { outer_tag: true, promiscuous: false, group: None, bypass_queue: false };
const DIRECT: Options = Options { outer_tag: false, promiscuous: false, group: None, bypass_queue: true };

/// The two ends of a link.
fn ends() -> [u32; 2] {
    [make_link("wa"), link::find("wa-peer").unwrap().index]
}

fn open(link: u32, options: &Options) -> PacketSocket {
    PacketSocket::open(link, EtherType::Macsec, options).unwrap()
}

/// Sends frames that lie one behind the other in an arena.
fn send(socket: &PacketSocket, frames: &[Vec<u8>]) -> Sent {
    let mut arena = Vec::new();
    let mut slots = Vec::new();
    for frame in frames {
        slots.push(Slot { start: arena.len(), len: frame.len(), kept: true, ..Slot::default() });
        arena.extend_from_slice(frame);
    }
    socket.send(&mut Batch::default(), &arena, &slots).unwrap()
}

/// Receives until nothing comes for a while, or `count` frames are there.
fn receive(socket: &PacketSocket, count: usize) -> Vec<Vec<u8>> {
    const ROOM: usize = 2_048;
    let (mut arena, mut batch) = (vec![0; 8 * ROOM], Batch::default());
    let mut frames = Vec::new();
    while frames.len() < count && readable(socket, Duration::from_millis(200)) {
        let slot = |at| Slot { start: at * ROOM, len: ROOM, ..Slot::default() };
        let mut slots: [_; 8] = std::array::from_fn(slot);
        let used = socket.receive(&mut batch, &mut arena, &mut slots).unwrap();
        assert!(slots[..used].iter().all(|slot| slot.kept));
        frames.extend(slots[..used].iter().map(|slot| arena[slot.range()].to_vec()));
    }
    frames
}

fn numbered(count: u16) -> Vec<Vec<u8>> {
    let numbered = |at: u16| [frame(&[], 0x88e5, 1_000), at.to_be_bytes().to_vec()].concat();
    (0..count).map(numbered).collect()
}

#[test]
fn many_frames_arrive_as_they_were_sent_and_in_their_order() {
    isolated(|| {
        let [here, there] = ends();
        for options in [Options::default(), TAGGED, DIRECT] {
            let (sender, receiver) = (open(here, &options), open(there, &options));
            let frames = numbered(200);
            assert_eq!(send(&sender, &frames), Sent { done: 200, lost: 0, oversized: 0 });
            assert!(receive(&receiver, 200) == frames, "{options:?}");
            assert_eq!(receiver.take_lost().unwrap(), 0);
        }
    });
}

#[test]
fn a_socket_receives_its_ether_type_alone_and_nothing_that_leaves() {
    isolated(|| {
        let [here, there] = ends();
        for options in [Options::default(), TAGGED] {
            let open = |link| EtherType::ALL.map(|kind| PacketSocket::open(link, kind, &options).unwrap());
            let [senders, receivers] = [here, there].map(open);
            let raw = Tapped::only(here, 0);
            for kind in [ARP, 0x0800, 0x86dd, 0x88e5, 0x888e, 0x88b5, 0x88e6] {
                assert!(raw.send(&frame(&[], kind, 60)));
            }
            for (kind, receiver) in EtherType::ALL.into_iter().zip(&receivers) {
                assert_eq!(receive(receiver, 9), [frame(&[], kind as u16, 60)], "{options:?}");
            }
            assert!(senders.iter().all(|sender| receive(sender, 9).is_empty()), "{options:?}");
        }
    });
}

#[test]
fn an_outer_tag_is_part_of_the_frame_where_it_is_wanted() {
    isolated(|| {
        let [here, there] = ends();
        let (sender, receiver) = (open(here, &TAGGED), open(there, &TAGGED));
        let frames = [&[][..], &[TAG_7], &[SERVICE_TAG_9]].map(|tags| frame(tags, 0x88e5, 60));
        send(
            &sender,
            &[&frames[..], &[frame(&[SERVICE_TAG_9, TAG_7], 0x88e5, 60), frame(&[TAG_7], ARP, 60)]].concat(),
        );
        assert_eq!(receive(&receiver, 9), frames);
    });
}

#[test]
fn an_outer_tag_is_lost_where_it_is_not_wanted() {
    isolated(|| {
        let [here, there] = ends();
        let (sender, receiver) = (open(here, &TAGGED), open(there, &Options::default()));
        send(&sender, &[frame(&[TAG_7], 0x88e5, 60)]);
        // Why the guard has to refuse it: this socket cannot tell.
        assert_eq!(receive(&receiver, 9), [frame(&[], 0x88e5, 60)]);
    });
}

#[test]
fn a_frame_longer_than_its_slot_is_not_kept() {
    isolated(|| {
        let [here, there] = ends();
        for (options, tags, room) in [(Options::default(), &[][..], 74), (TAGGED, &[TAG_7], 78)] {
            let (sender, receiver) = (open(here, &options), open(there, &options));
            for (len, kept) in [(60, true), (61, false)] {
                send(&sender, &[frame(tags, 0x88e5, len)]);
                assert!(readable(&receiver, Duration::from_secs(5)));
                let mut slots = [Slot { start: 3, len: room, ..Slot::default() }];
                assert_eq!(receiver.receive(&mut Batch::default(), &mut [0; 100], &mut slots).unwrap(), 1);
                assert_eq!(slots[0].kept, kept, "{options:?} {len}");
            }
            let mut beyond = [Slot { start: 90, len: 11, ..Slot::default() }];
            let error = receiver.receive(&mut Batch::default(), &mut [0; 100], &mut beyond).unwrap_err();
            assert!(matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::InvalidInput));
        }
    });
}

#[test]
fn what_a_full_socket_loses_is_counted() {
    isolated(|| {
        let [here, there] = ends();
        let (sender, receiver) = (open(here, &Options::default()), open(there, &Options::default()));
        let mut sent = 0;
        let begun = Instant::now();
        // Some thousand frames fill the buffer, and all of one call's must have come to their end before they are counted.
        while sent < 8_000 && begun.elapsed() < Duration::from_secs(30) {
            let Sent { done, lost, .. } = send(&sender, &numbered(64));
            sent += done - lost;
        }
        std::thread::sleep(Duration::from_millis(200));
        let lost = receiver.take_lost().unwrap() as usize;
        assert!(lost > 0);
        assert_eq!(receive(&receiver, usize::MAX).len() + lost, sent);
        assert_eq!(receiver.take_lost().unwrap(), 0, "it is told once");
    });
}

#[test]
fn a_frame_too_long_for_the_link_is_counted_and_a_refused_one_passed_over_and_the_others_leave() {
    isolated(|| {
        let [here, there] = ends();
        let (sender, receiver) = (open(here, &TAGGED), open(there, &TAGGED));
        let mtu = link::find_index(here).unwrap().mtu;
        assert_eq!(mtu, 1_500);
        let whole = [frame(&[], 0x88e5, mtu), frame(&[TAG_7], 0x88e5, mtu)];
        let long = frame(&[], 0x88e5, mtu + 1);
        let sent = send(&sender, &[whole[0].clone(), long.clone(), whole[1].clone(), long]);
        assert_eq!(sent, Sent { done: 4, lost: 0, oversized: 2 });
        assert_eq!(receive(&receiver, 9), whole);

        let arena = frame(&[], 0x88e5, 60);
        let slots = [false, true, false].map(|kept| Slot { len: arena.len(), kept, ..Slot::default() });
        assert_eq!(sender.send(&mut Batch::default(), &arena, &slots).unwrap().done, 3);
        assert_eq!(receive(&receiver, 9), [arena]);
    });
}

#[test]
fn a_link_that_is_down_says_so_and_works_again_when_it_is_up() {
    isolated(|| {
        let [here, there] = ends();
        for options in [Options::default(), TAGGED] {
            let (sender, receiver) = (open(here, &options), open(there, &options));
            set_up(there, false);
            assert!(matches!(receive_one(&receiver), Err(Error::Down)));
            assert!(matches!(receive_one(&receiver), Ok(0)), "it is told once");
            assert!(!receiver.is_gone().unwrap());
            let arena = frame(&[], 0x88e5, 60);
            let slots = [Slot { len: arena.len(), kept: true, ..Slot::default() }];
            assert!(matches!(receiver.send(&mut Batch::default(), &arena, &slots), Err(Error::Down)));
            set_up(there, true);
            // The kernel takes a while to notice that the line is whole again, and loses what is sent until then.
            let arrives = |from, to| {
                send(from, &numbered(1));
                receive(to, 1) == numbered(1)
            };
            assert!((0..25).any(|_| arrives(&receiver, &sender)));
            assert!((0..25).any(|_| arrives(&sender, &receiver)));
        }
    });
}

#[test]
fn a_link_that_is_gone_says_so() {
    isolated(|| {
        let [here, there] = ends();
        let [idle, sender] = [here, here].map(|link| open(link, &TAGGED));
        assert!(!idle.is_gone().unwrap());
        remove_link(there);
        assert!(matches!(receive_one(&idle), Err(Error::Gone)));
        assert!(idle.is_gone().unwrap());
        let arena = frame(&[], 0x88e5, 60);
        let slots = [Slot { len: arena.len(), kept: true, ..Slot::default() }];
        for _ in 0..2 {
            assert!(matches!(sender.send(&mut Batch::default(), &arena, &slots), Err(Error::Gone)));
        }
        let none = PacketSocket::open(here, EtherType::Macsec, &Options::default());
        assert!(matches!(none, Err(Error::Gone)));
    });
}

#[test]
fn a_link_takes_frames_to_anybody_for_as_long_as_a_socket_wants_them() {
    isolated(|| {
        let [here, _] = ends();
        let promiscuity = || {
            let mut message = LinkMessage::default();
            message.header.index = here;
            let RouteNetlinkMessage::NewLink(link) =
                netlink::get(RouteNetlinkMessage::GetLink(message)).unwrap()
            else {
                panic!("that is no link")
            };
            link.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::Promiscuity(count) => Some(*count),
                _ => None,
            })
        };
        let socket = open(here, &Options { promiscuous: true, ..Options::default() });
        assert_eq!(promiscuity(), Some(1));
        drop(socket);
        assert_eq!(promiscuity(), Some(0));

        let groups = || std::fs::read_to_string("/proc/net/dev_mcast").unwrap();
        let ours = |groups: String| {
            groups.lines().any(|line| line.contains(" wa ") && line.ends_with("0180c2000003"))
        };
        let socket = open(here, &Options { group: Some(PAE_GROUP), ..Options::default() });
        assert!(ours(groups()));
        drop(socket);
        assert!(!ours(groups()));
    });
}

#[test]
fn a_wide_link_carries_wide_frames() {
    isolated(|| {
        let [here, there] = ends();
        for link in [here, there] {
            link::set(link, &Settings { mtu: Some(9_000), ..Settings::default() }).unwrap();
        }
        let (sender, receiver) = (open(here, &Options::default()), open(there, &Options::default()));
        let arena = frame(&[], 0x88e5, 9_000);
        assert_eq!(send(&sender, std::slice::from_ref(&arena)).done, 1);
        assert!(readable(&receiver, Duration::from_secs(5)));
        let (mut room, mut slots) = (vec![0; 10_000], [Slot { len: 10_000, ..Slot::default() }]);
        assert_eq!(receiver.receive(&mut Batch::default(), &mut room, &mut slots).unwrap(), 1);
        assert!(room[slots[0].range()] == arena);
    });
}

#[test]
fn past_the_queue_many_more_frames_than_the_ring_has_places_keep_their_order() {
    isolated(|| {
        let [here, there] = ends();
        let (sender, receiver) = (open(here, &DIRECT), open(there, &Options::default()));
        assert!(sender.bypasses_queue() && !receiver.bypasses_queue());
        let frames = numbered(700);
        for turn in 0..10 {
            assert_eq!(send(&sender, &frames), Sent { done: 700, lost: 0, oversized: 0 });
            assert!(receive(&receiver, 700) == frames, "turn {turn}");
        }
        // Refused ones are passed over, also as the first and the last.
        let arena = frame(&[], 0x88e5, 60);
        let slots =
            [false, true, false, true, false].map(|kept| Slot { len: arena.len(), kept, ..Slot::default() });
        assert_eq!(sender.send(&mut Batch::default(), &arena, &slots).unwrap().done, 5);
        assert_eq!(receive(&receiver, 9), [arena.clone(), arena]);
    });
}

#[test]
fn past_the_queue_a_link_that_is_down_or_gone_is_told_by_the_next_call() {
    isolated(|| {
        let [here, there] = ends();
        let (sender, receiver) = (open(here, &DIRECT), open(there, &Options::default()));
        set_up(here, false);
        let arena = frame(&[], 0x88e5, 60);
        let slots = [Slot { len: arena.len(), kept: true, ..Slot::default() }];
        let send = || sender.send(&mut Batch::default(), &arena, &slots);
        assert_eq!(send().unwrap().done, 1);
        assert!(matches!(send(), Err(Error::Down)) && matches!(send(), Err(Error::Down)));
        set_up(here, true);
        assert!((0..25).any(|_| send().is_ok() && !receive(&receiver, 1).is_empty()));
        remove_link(there);
        let _ = send();
        assert!(matches!(send(), Err(Error::Gone)));
    });
}

#[test]
fn frames_of_a_wide_link_do_not_pass_the_queue() {
    isolated(|| {
        let [here, there] = ends();
        for (mtu, direct) in [(2_026, true), (2_027, false)] {
            for link in [here, there] {
                link::set(link, &Settings { mtu: Some(mtu), ..Settings::default() }).unwrap();
            }
            let (sender, receiver) = (open(here, &DIRECT), open(there, &Options::default()));
            assert_eq!(sender.bypasses_queue(), direct);
            // The kernel leaves room for a tag beyond the MTU.
            let arena = frame(&[TAG_7], 0x88e5, mtu);
            send(&sender, std::slice::from_ref(&arena));
            assert!(readable(&receiver, Duration::from_secs(5)), "{mtu}");
        }
    });
}

fn receive_one(socket: &PacketSocket) -> Result<usize, Error> {
    socket.receive(&mut Batch::default(), &mut [0; 100], &mut [Slot { len: 100, ..Slot::default() }])
}
