//! Frames of a TAP device are cut and joined as the packets in them are.

use adit_packet::{Coalescer, Error, Limits, MAX_SEGMENTS, VirtioNetHdr, segment_frame, virtio};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::cut::{agree, buffer, expected, pieces};
use crate::join::{Written, any_event, coalesce_by, play, without_id};
use crate::link::{C_TAG, Link, any_link};
use crate::model::{Checksum, Family, Packet, any_super, joinable_super, payload};
use crate::rules::tcp;

pub(crate) fn coalesce(frames: &[Vec<u8>], limits: Limits) -> Vec<Written> {
    coalesce_by(Coalescer::push_frame, frames, limits)
}

fn cut(frame: &[u8], hdr: &VirtioNetHdr) -> Vec<Vec<u8>> {
    let mut buf = buffer(frame, 250_000);
    let segments = segment_frame(&mut buf, frame.len(), hdr, |size| size).unwrap();
    pieces(&buf, segments)
}

fn expected_frames(link: &Link, packet: &Packet, gso_size: u16) -> Vec<Vec<u8>> {
    expected(packet, gso_size).iter().map(|bytes| link.around(packet.family, bytes)).collect()
}

/// Some frame that carries no IP packet: ARP, LLDP, a length, one behind three tags.
fn foreign(link: &Link, kind: usize, number: u8) -> Vec<u8> {
    let mut link = link.clone();
    let ether_type = [0x0806, 0x88cc, 46, 0x88b5, 0x0800][kind];
    if kind == 4 {
        link.tags = vec![[C_TAG, 1]; 3];
    }
    let mut frame = link.header(ether_type);
    frame.extend([0x45, number, 0, 38, 0, 0, 0, 0, 64, 17]);
    frame.resize(60, number);
    frame
}

proptest! {
    #[test]
    fn segments_have_the_whole_link_header_ahead_of_those_of_the_model(
        (packet, gso_size) in any_super(),
        link in any_link(),
        gap in 0_usize..100,
        distrusted: (u16, u16, u16),
        ecn: bool,
    ) {
        let mut hdr = link.virtio(&packet, gso_size);
        (hdr.hdr_len, hdr.csum_start, hdr.csum_offset) = distrusted;
        if ecn && !packet.is_udp() {
            hdr.gso_type |= virtio::GSO_ECN;
        }
        let bytes = link.frame(&packet, Checksum::Partial);
        let mut buf = buffer(&bytes, 250_000);
        let result = segment_frame(&mut buf, bytes.len(), &hdr, |size| size + gap);
        let expected = expected_frames(&link, &packet, gso_size);
        agree(result, &buf, &expected, gap);
    }

    #[test]
    fn a_buffer_without_room_for_every_frame_is_left_untouched(
        (packet, gso_size) in any_super(),
        link in any_link(),
        gap in 0_usize..100,
    ) {
        let hdr = link.virtio(&packet, gso_size);
        let bytes = link.frame(&packet, Checksum::Partial);
        let expected = expected_frames(&link, &packet, gso_size);
        let needed = expected.len() * (expected[0].len() + gap);
        if expected.len() <= MAX_SEGMENTS && needed > bytes.len() {
            let mut buf = buffer(&bytes, needed - 1);
            let before = buf.clone();
            let result = segment_frame(&mut buf, bytes.len(), &hdr, |size| size + gap);
            prop_assert_eq!(result, Err(Error::NoRoom { needed }));
            prop_assert_eq!(&buf, &before);
            let mut buf = buffer(&bytes, needed);
            let segments = segment_frame(&mut buf, bytes.len(), &hdr, |size| size + gap).unwrap();
            prop_assert_eq!(pieces(&buf, segments), expected);
        }
    }

    #[test]
    fn a_partial_checksum_of_a_lone_frame_is_completed_without_its_padding(
        (packet, _) in any_super(),
        link in any_link(),
        data in payload(0..1500),
        padding in payload(0..40),
    ) {
        let packet = Packet { payload: data, ..packet };
        let hdr = VirtioNetHdr { gso_type: virtio::GSO_NONE, ..link.virtio(&packet, 0) };
        let padded = |checksum| [link.frame(&packet, checksum), padding.clone()].concat();
        prop_assert_eq!(cut(&padded(Checksum::Partial), &hdr), [padded(Checksum::Whole)]);
    }

    #[test]
    fn a_frame_that_is_not_what_the_virtio_header_says_is_refused(
        (packet, gso_size) in any_super(),
        link in any_link(),
    ) {
        let bytes = link.frame(&packet, Checksum::Partial);
        let right = link.virtio(&packet, gso_size);
        let refused = |bytes: &[u8], hdr: &VirtioNetHdr, error| {
            let mut buf = buffer(bytes, 250_000);
            assert_eq!(segment_frame(&mut buf, bytes.len(), hdr, |size| size), Err(error));
            assert!(buf == buffer(bytes, 250_000));
        };
        for gso_type in [1, 4, 5].into_iter().filter(|kind| *kind != right.gso_type) {
            refused(&bytes, &VirtioNetHdr { gso_type, ..right }, Error::BadGso);
        }
        refused(&bytes, &VirtioNetHdr { gso_type: 3, ..right }, Error::Unsupported);
        refused(&bytes, &VirtioNetHdr { gso_size: 0, ..right }, Error::BadGso);
        refused(&bytes[..bytes.len() - 1], &right, Error::Truncated);
        refused(&[&bytes[..], &[0]].concat(), &right, Error::BadGso);
        refused(&bytes[..link.len() - 1], &right, Error::Truncated);
        refused(&bytes[..link.len()], &right, Error::BadGso);
        let other = if packet.family == Family::V4 { Family::V6 } else { Family::V4 };
        refused(&link.around(other, &packet.bytes(Checksum::Partial)), &right, Error::BadGso);
        for kind in 0..5 {
            refused(&foreign(&link, kind, 0), &right, Error::BadGso);
        }
        let mut buf = buffer(&bytes, 250_000);
        let stride = segment_frame(&mut buf, bytes.len(), &right, |size| size - 1);
        prop_assert_eq!(stride, Err(Error::Stride));
        prop_assert_eq!(&buf[..bytes.len()], &bytes[..]);
    }

    #[test]
    fn joining_frames_undoes_cutting_them((packet, gso_size) in joinable_super(), link in any_link()) {
        let frames: Vec<_> = packet.cut(gso_size).iter().map(|packet| link.padded(packet)).collect();
        let written = coalesce(&frames, Limits::default());
        prop_assert_eq!(written.len(), 1);
        prop_assert_eq!(written[0].packets, frames.len());
        if frames.len() == 1 {
            prop_assert_eq!(written[0].hdr, VirtioNetHdr::default());
            prop_assert_eq!(&written[0].bytes, &frames[0]);
        } else {
            prop_assert_eq!(written[0].hdr, link.virtio(&packet, gso_size));
            prop_assert_eq!(&written[0].bytes, &link.frame(&packet, Checksum::Partial));
            prop_assert_eq!(cut(&written[0].bytes, &written[0].hdr), expected_frames(&link, &packet, gso_size));
        }
    }

    #[test]
    fn mixed_frames_keep_their_bytes_and_the_order_of_their_flow(
        flows in proptest::collection::vec(
            (joinable_super(), any_link(), proptest::collection::vec(any_event(), 1..8)), 1..5),
        same_hosts: bool,
        foreigners in 0_u8..20,
        mut picks in proptest::collection::vec(any::<Index>(), 0..200),
    ) {
        // The source port tells the flow; the flow behind the last is of what carries no IP packet.
        let (first, shared, _) = flows[0].clone();
        let mut sent: Vec<Vec<Vec<u8>>> = Vec::new();
        for ((mut packet, _), mut link, events) in flows {
            packet.ports[0] = sent.len() as u16;
            if same_hosts {
                (packet.source, packet.destination) = (first.0.source, first.0.destination);
                link = shared.clone();
            }
            let family = packet.family;
            let frames = play(packet, &events).into_iter().map(|bytes| {
                let mut frame = link.around(family, &bytes);
                frame.resize(frame.len().max(60), 0xbb);
                frame
            });
            sent.push(frames.collect());
        }
        sent.push((0..foreigners).map(|n| foreign(&shared, usize::from(n) % 5, n)).collect());

        let mut queues: Vec<_> = sent.iter().map(|frames| frames.iter()).collect();
        let mut mixed: Vec<Vec<u8>> = Vec::new();
        while queues.iter().any(|queue| queue.len() > 0) {
            let at = picks.pop().map_or(0, |pick| pick.index(queues.len()));
            match queues[at].next() {
                Some(frame) => mixed.push(frame.clone()),
                None => drop(queues.remove(at)),
            }
        }

        let mut received: Vec<Vec<(Vec<u8>, bool)>> = vec![Vec::new(); sent.len()];
        for item in coalesce(&mixed, Limits::default()) {
            let frames = cut(&item.bytes, &item.hdr);
            prop_assert_eq!(frames.len(), item.packets);
            for frame in frames {
                let flow = sent.iter().position(|sent| sent.iter().any(|sent| same(sent, &frame, item.packets > 1)));
                prop_assert!(flow.is_some(), "a frame that nobody sent");
                received[flow.unwrap()].push((frame, item.packets > 1));
            }
        }
        for (sent, received) in sent.iter().zip(received) {
            prop_assert_eq!(sent.len(), received.len());
            for (sent, (received, joined)) in sent.iter().zip(&received) {
                prop_assert!(same(sent, received, *joined));
            }
        }
    }
}

/// Whether a frame came as it was sent. A joined one is without padding, and without what [`without_id`] leaves out.
fn same(sent: &[u8], received: &[u8], joined: bool) -> bool {
    if !joined {
        return sent == received;
    }
    let at = (12..).step_by(4).find(|at| sent[*at] == 0x08 || sent[*at] == 0x86).unwrap() + 2;
    let packet = &sent[at..];
    let word = |at: usize| usize::from(packet[at]) * 256 + usize::from(packet[at + 1]);
    let len = if packet[0] >> 4 == 4 { word(2) } else { word(4) + 40 };
    received.len() == at + len
        && received[..at] == sent[..at]
        && without_id(&received[at..]) == without_id(&packet[..len])
}

#[test]
fn frames_without_an_ip_packet_stay_as_they_are() {
    for tags in 0..3 {
        let link = Link { destination: [0xff; 6], source: [2; 6], tags: vec![[C_TAG, 5]; tags] };
        for kind in 0..5 {
            let frame = foreign(&link, kind, 9);
            assert_eq!(cut(&frame, &VirtioNetHdr::default()), std::slice::from_ref(&frame));
        }
    }
    for len in 0..14 {
        assert_eq!(cut(&[7; 14][..len], &VirtioNetHdr::default()), [vec![7; len]]);
    }
}

#[test]
fn a_partial_checksum_of_a_frame_without_an_ip_packet_is_completed_to_its_end() {
    let link = Link { destination: [2; 6], source: [2; 6], tags: vec![] };
    let mut frame = link.header(0x88b5);
    frame.extend([0, 0, 1, 2, 3, 4, 5]);
    let hdr = VirtioNetHdr { flags: virtio::NEEDS_CSUM, csum_start: 14, ..VirtioNetHdr::default() };
    let mut completed = frame.clone();
    // 0x0102 + 0x0304 + 0x0500, complemented.
    completed[14..16].copy_from_slice(&[0xf6, 0xf9]);
    assert_eq!(cut(&frame, &hdr), [completed]);
    let hdr = VirtioNetHdr { csum_start: 20, ..hdr };
    let before = frame.clone();
    assert_eq!(segment_frame(&mut frame, 21, &hdr, |len| len), Err(Error::Truncated));
    assert_eq!(frame, before);
}

#[test]
fn a_super_packet_of_the_greatest_length_has_its_link_header_on_top() {
    let link = Link { destination: [2; 6], source: [2; 6], tags: vec![[C_TAG, 5]; 2] };
    let mut packet = tcp(Family::V4);
    packet.tcp().unwrap().options.clear();
    // 40 + 5 * 13,099 bytes are 65,535.
    for (size, counts) in [(13_099, &[5][..]), (13_100, &[4, 1])] {
        packet.payload = vec![3; 5 * size];
        let frames: Vec<_> = packet.cut(size as u16).iter().map(|packet| link.padded(packet)).collect();
        let written = coalesce(&frames, Limits::default());
        assert_eq!(written.iter().map(|item| item.packets).collect::<Vec<_>>(), counts);
        let back: Vec<_> = written.iter().flat_map(|item| cut(&item.bytes, &item.hdr)).collect();
        assert_eq!(back, frames);
    }
}
