//! Each rule of joining that frames add, broken alone.

use adit_packet::{Coalescer, Limits, VirtioNetHdr};

use crate::frames::coalesce;
use crate::link::{C_TAG, Link, S_TAG};
use crate::model::{Checksum, Family, PSH, Packet};
use crate::rules::{tcp, udp};

/// Headers with no tag, one and two.
fn links() -> [Link; 3] {
    [vec![], vec![[C_TAG, 0x2007]], vec![[S_TAG, 3], [C_TAG, 7]]].map(|tags| Link {
        destination: [2, 0, 0, 0, 0, 1],
        source: [2, 0, 0, 0, 0, 2],
        tags,
    })
}

fn packets() -> [Packet; 4] {
    [tcp(Family::V4), tcp(Family::V6), udp(Family::V4), udp(Family::V6)]
}

/// Five consecutive packets.
fn five(packet: &Packet) -> Vec<Packet> {
    let mut packets = packet.cut(100);
    let mut fifth = packets[3].clone();
    fifth.advance(1);
    packets.push(fifth);
    packets
}

fn frames(link: &Link, packets: &[Packet]) -> Vec<Vec<u8>> {
    packets.iter().map(|packet| link.frame(packet, Checksum::Whole)).collect()
}

fn counts(frames: &[Vec<u8>]) -> Vec<usize> {
    coalesce(frames, Limits::default()).iter().map(|item| item.packets).collect()
}

/// How many frames each item has if the link header of the third of five is changed.
fn with_third(link: &Link, packet: &Packet, change: impl Fn(&mut Link)) -> Vec<usize> {
    let mut other = link.clone();
    change(&mut other);
    let packets = five(packet);
    let mut frames = frames(link, &packets);
    frames[2] = other.frame(&packets[2], Checksum::Whole);
    counts(&frames)
}

#[test]
fn five_like_frames_are_one_item() {
    for link in links() {
        for packet in packets() {
            assert_eq!(counts(&frames(&link, &five(&packet))), [5]);
        }
    }
}

#[test]
fn a_frame_with_another_link_header_is_not_joined() {
    for packet in packets() {
        for link in links() {
            for octet in 0..6 {
                // Not the bit of groups.
                assert_eq!(with_third(&link, &packet, |link| link.destination[octet] ^= 2), [2, 1, 2]);
                assert_eq!(with_third(&link, &packet, |link| link.source[octet] ^= 1), [2, 1, 2]);
            }
            for tag in 0..link.tags.len() {
                assert_eq!(with_third(&link, &packet, |link| link.tags[tag][0] ^= C_TAG ^ S_TAG), [2, 1, 2]);
                assert_eq!(with_third(&link, &packet, |link| link.tags[tag][1] ^= 1), [2, 1, 2], "VLAN");
                assert_eq!(
                    with_third(&link, &packet, |link| link.tags[tag][1] ^= 0x8000),
                    [2, 1, 2],
                    "priority"
                );
            }
        }
    }
}

#[test]
fn frames_with_more_tags_or_fewer_are_another_flow() {
    let [plain, tagged, twice] = links();
    for (link, other) in [(&plain, &tagged), (&tagged, &plain), (&tagged, &twice), (&twice, &plain)] {
        for packet in packets() {
            // A copy that the others overtake.
            let mut all = frames(link, &five(&packet));
            all.insert(2, other.frame(&five(&packet)[2], Checksum::Whole));
            assert_eq!(counts(&all), [5, 1]);
        }
    }
}

#[test]
fn a_link_header_that_ends_like_a_shorter_one_is_not_that_one() {
    let [plain, tagged, _] = links();
    let packets = five(&udp(Family::V6));
    let mut tagged = tagged.frame(&packets[0], Checksum::Whole);
    // The last 14 bytes of 18 are those of the untagged header.
    let header = plain.frame(&packets[1], Checksum::Whole)[..14].to_vec();
    tagged[4..18].copy_from_slice(&header);
    tagged[12..14].copy_from_slice(&C_TAG.to_be_bytes());
    let mut other = plain.frame(&packets[1], Checksum::Whole);
    other[..14].copy_from_slice(&tagged[4..18]);
    assert_eq!(counts(&[tagged, other]), [1, 1]);
}

#[test]
fn frames_for_a_group_go_out_alone_and_are_not_overtaken_by_their_flow() {
    for packet in packets() {
        for link in links() {
            for destination in [[0xff; 6], [1, 0, 0x5e, 1, 1, 1], [0x33, 0x33, 0, 0, 0, 1]] {
                let group = Link { destination, ..link.clone() };
                assert_eq!(counts(&frames(&group, &five(&packet))), [1; 5]);
                assert_eq!(with_third(&link, &packet, |link| link.destination = destination), [2, 1, 2]);
                let mut all = frames(&link, &five(&packet));
                all.insert(2, group.frame(&five(&packet)[2], Checksum::Whole));
                assert_eq!(counts(&all), [2, 1, 3]);
            }
        }
    }
}

#[test]
fn fragments_are_not_overtaken_by_the_flows_between_their_hosts() {
    let packets = five(&udp(Family::V4));
    let fragment = Packet { fragment: 0x0010, ports: [7, 7], ..packets[2].clone() };
    for link in links() {
        for other in links() {
            let mut all = frames(&link, &packets);
            all.insert(2, other.frame(&fragment, Checksum::Whole));
            let expected: &[usize] = if link.len() == other.len() { &[2, 1, 3] } else { &[5, 1] };
            assert_eq!(counts(&all), expected);
        }
    }
}

#[test]
fn frames_of_no_ip_packet_do_not_part_a_flow() {
    for link in links() {
        for packet in packets() {
            let mut all = frames(&link, &five(&packet));
            // ARP; LLDP; a length; IPv4's EtherType ahead of nothing.
            for (at, ether_type) in [(1, 0x0806), (3, 0x88cc), (5, 60), (7, 0x0800)] {
                let mut frame = link.header(ether_type);
                frame.resize(60, at as u8);
                all.insert(at, frame);
            }
            let written = coalesce(&all, Limits::default());
            assert_eq!(written.iter().map(|item| item.packets).collect::<Vec<_>>(), [5, 1, 1, 1, 1]);
            for (item, at) in written[1..].iter().zip([1, 3, 5, 7]) {
                assert_eq!(
                    (item.hdr, &item.bytes),
                    (VirtioNetHdr::default(), &all[at]),
                    "in order and as it was"
                );
            }
        }
    }
}

#[test]
fn the_ether_type_has_to_agree_with_the_packet() {
    for packet in packets() {
        let other = if packet.family == Family::V4 { Family::V6 } else { Family::V4 };
        for link in links() {
            let all: Vec<_> = five(&packet)
                .iter()
                .map(|packet| link.around(other, &packet.bytes(Checksum::Whole)))
                .collect();
            assert_eq!(counts(&all), [1; 5]);
        }
    }
}

/// Packets of so few bytes that frames of them are padded: TCP without options or UDP, over IPv4.
fn short() -> [Packet; 2] {
    let mut tcp = tcp(Family::V4);
    tcp.tcp().unwrap().options.clear();
    [tcp, udp(Family::V4)].map(|packet| Packet { payload: vec![3; 4], ..packet })
}

#[test]
fn an_acknowledgement_in_a_frame_of_60_bytes_goes_out_as_it_is_and_is_not_overtaken() {
    for link in links() {
        let mut packets = five(&tcp(Family::V4));
        let mut ack = packets[2].clone();
        ack.tcp().unwrap().options.clear();
        ack.payload.clear();
        packets.insert(2, ack);
        let all: Vec<_> = packets.iter().map(|packet| link.padded(packet)).collect();
        assert_eq!(all[2].len(), 60.max(link.len() + 40));
        let written = coalesce(&all, Limits::default());
        assert_eq!(written.iter().map(|item| item.packets).collect::<Vec<_>>(), [2, 1, 3]);
        assert_eq!(written[1].bytes, all[2]);
        assert_eq!(written[1].hdr, VirtioNetHdr::default());
    }
}

#[test]
fn padding_is_left_off_where_frames_are_joined_and_kept_where_one_goes_out_alone() {
    for link in links() {
        for packet in short() {
            // The first is padded, the middle ones, and the last, which is shorter.
            let packet = Packet { payload: vec![3; 11], ..packet };
            let all: Vec<_> = packet.cut(3).iter().map(|packet| link.padded(packet)).collect();
            assert!(link.len() > 14 || all.iter().all(|frame| frame.len() == 60));
            let written = coalesce(&all, Limits::default());
            assert_eq!(written.len(), 1);
            assert_eq!(written[0].bytes, link.frame(&packet, Checksum::Partial));
            assert_eq!(written[0].hdr, link.virtio(&packet, 3));
            for frame in &all {
                assert_eq!(coalesce(std::slice::from_ref(frame), Limits::default())[0].bytes, *frame);
            }
            // A padded first one that nothing joins, and one that would have joined but for its data.
            let mut corrupt = all.clone();
            corrupt[1][link.len() + packet.header_len()] ^= 1;
            let written = coalesce(&corrupt[..2], Limits::default());
            assert_eq!(written.len(), 2);
            assert!(written[0].bytes == corrupt[0] && written[1].bytes == corrupt[1]);
        }
    }
}

#[test]
fn a_padded_frame_ends_a_super_packet_of_full_ones() {
    for link in links() {
        let mut packet = short()[0].clone();
        packet.payload = vec![9; 2 * 1399 + 5];
        packet.tcp().unwrap().flags |= PSH;
        let all: Vec<_> = packet.cut(1399).iter().map(|packet| link.padded(packet)).collect();
        assert_eq!(all[2].len(), 60.max(link.len() + 45));
        let written = coalesce(&all, Limits::default());
        assert_eq!(written[0].packets, 3);
        assert_eq!(written[0].bytes, link.frame(&packet, Checksum::Partial));
    }
}

#[test]
fn what_cannot_be_padding_keeps_a_frame_alone() {
    for link in links() {
        let longest = 60 + link.len() - 14;
        for packet in short() {
            let packet = Packet { payload: vec![3; 12], ..packet };
            let padded_to = |len: usize| -> Vec<_> {
                let mut all = frames(&link, &packet.cut(3));
                all[2].resize(len, 0);
                all
            };
            assert_eq!(counts(&padded_to(longest)), [4]);
            let all = padded_to(longest + 1);
            let written = coalesce(&all, Limits::default());
            let alone = written.iter().find(|item| item.bytes == all[2]).unwrap();
            assert_eq!(alone.packets, 1);
            assert_eq!(written.iter().map(|item| item.packets).collect::<Vec<_>>(), [2, 1, 1]);
        }
    }
}

#[test]
fn frames_and_packets_of_one_flow_are_not_joined() {
    let packets = five(&udp(Family::V6));
    for link in links() {
        let pieces = [link.frame(&packets[0], Checksum::Whole), packets[1].bytes(Checksum::Whole)];
        let arena = pieces.concat();
        let (frame, packet) = (0..pieces[0].len(), pieces[0].len()..arena.len());
        let mut coalescer = Coalescer::new(Limits::default());
        coalescer.push_frame(&arena, frame.clone()).unwrap();
        coalescer.push(&arena, packet.clone()).unwrap();
        coalescer.push_frame(&arena, frame).unwrap();
        coalescer.push(&arena, packet).unwrap();
        assert_eq!(coalescer.items().map(|(_, pieces)| pieces.len()).collect::<Vec<_>>(), [2, 2]);
    }
}
