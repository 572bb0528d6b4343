//! Cutting agrees with the model.

use adit_packet::{Error, MAX_SEGMENTS, Segments, VirtioNetHdr, segment, virtio};
use proptest::prelude::*;

use crate::model::{Checksum, Family, Packet, any_super, payload};
use crate::rules::{tcp, udp};

/// The packet at the start of a buffer of `room` bytes, the rest noise.
pub(crate) fn buffer(packet: &[u8], room: usize) -> Vec<u8> {
    let mut buf = packet.to_vec();
    buf.resize(room.max(packet.len()), 0xa5);
    buf
}

pub(crate) fn pieces(buf: &[u8], segments: Segments) -> Vec<Vec<u8>> {
    segments.iter().map(|(at, len)| buf[at..at + len].to_vec()).collect()
}

pub(crate) fn expected(packet: &Packet, gso_size: u16) -> Vec<Vec<u8>> {
    packet.cut(gso_size).iter().map(|packet| packet.bytes(Checksum::Whole)).collect()
}

/// What was cut is what is expected, and lies `gap` bytes apart; too much of it is refused.
pub(crate) fn agree(result: Result<Segments, Error>, buf: &[u8], expected: &[Vec<u8>], gap: usize) {
    if expected.len() > MAX_SEGMENTS {
        return assert_eq!(result, Err(Error::TooManySegments));
    }
    let segments = result.unwrap();
    assert_eq!(segments.count, expected.len());
    assert_eq!(segments.size, expected[0].len());
    assert_eq!(segments.stride, segments.size + gap);
    assert_eq!(pieces(buf, segments), expected);
}

proptest! {
    #[test]
    fn segments_are_those_of_the_model(
        (packet, gso_size) in any_super(),
        gap in 0_usize..100,
        hdr_len: u16,
        ecn: bool,
    ) {
        let mut hdr = packet.virtio(gso_size);
        hdr.hdr_len = hdr_len; // the kernel's cannot be trusted
        if ecn && !packet.is_udp() {
            hdr.gso_type |= virtio::GSO_ECN;
        }
        let bytes = packet.bytes(Checksum::Partial);
        let mut buf = buffer(&bytes, 200_000);
        let result = segment(&mut buf, bytes.len(), &hdr, |size| size + gap);
        let expected = expected(&packet, gso_size);
        agree(result, &buf, &expected, gap);
    }

    #[test]
    fn a_buffer_without_room_is_left_untouched(
        (packet, gso_size) in any_super(),
        gap in 0_usize..100,
    ) {
        let hdr = packet.virtio(gso_size);
        let bytes = packet.bytes(Checksum::Partial);
        let mut buf = buffer(&bytes, 0);
        let before = buf.clone();
        match segment(&mut buf, bytes.len(), &hdr, |size| size + gap) {
            Ok(segments) => prop_assert_eq!(pieces(&buf, segments), expected(&packet, gso_size)),
            Err(Error::NoRoom { needed }) => {
                prop_assert_eq!(&buf, &before);
                // One byte less is too little, that many are enough.
                let mut buf = buffer(&bytes, needed - 1);
                let result = segment(&mut buf, bytes.len(), &hdr, |size| size + gap);
                prop_assert_eq!(result, Err(Error::NoRoom { needed }));
                let mut buf = buffer(&bytes, needed);
                let segments = segment(&mut buf, bytes.len(), &hdr, |size| size + gap).unwrap();
                prop_assert_eq!(pieces(&buf, segments), expected(&packet, gso_size));
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    #[test]
    fn a_partial_checksum_of_a_lone_packet_is_completed(
        (packet, _) in any_super(),
        data in payload(0..1500),
    ) {
        let packet = Packet { payload: data, ..packet };
        let hdr = VirtioNetHdr { gso_type: virtio::GSO_NONE, ..packet.virtio(0) };
        let mut bytes = packet.bytes(Checksum::Partial);
        let len = bytes.len();
        let segments = segment(&mut bytes, len, &hdr, |size| size).unwrap();
        prop_assert_eq!((segments.count, segments.last), (1, len));
        prop_assert_eq!(bytes, packet.bytes(Checksum::Whole));
    }

    #[test]
    fn a_header_of_another_packet_is_refused((packet, gso_size) in any_super()) {
        let bytes = packet.bytes(Checksum::Partial);
        let right = packet.virtio(gso_size);
        let wrong = [1, 4, 5].into_iter().filter(|kind| *kind != right.gso_type);
        let mut headers: Vec<_> = wrong
            .map(|gso_type| (VirtioNetHdr { gso_type, ..right }, Error::BadGso))
            .collect();
        headers.push((VirtioNetHdr { gso_type: 3, ..right }, Error::Unsupported));
        headers.push((VirtioNetHdr { gso_size: 0, ..right }, Error::BadGso));
        for (hdr, error) in headers {
            let mut buf = buffer(&bytes, 200_000);
            let before = buf.clone();
            prop_assert_eq!(segment(&mut buf, bytes.len(), &hdr, |size| size), Err(error));
            prop_assert!(buf == before);
        }
        let mut buf = buffer(&bytes, 200_000);
        let short = segment(&mut buf, bytes.len() - 1, &right, |size| size);
        prop_assert_eq!(short, Err(Error::Truncated));
        let long = segment(&mut buf, bytes.len() + 1, &right, |size| size);
        prop_assert_eq!(long, Err(Error::BadGso));
        let stride = segment(&mut buf, bytes.len(), &right, |size| size - 1);
        prop_assert_eq!(stride, Err(Error::Stride));
        prop_assert_eq!(&buf[..bytes.len()], &bytes[..]);
    }
}

#[test]
fn a_whole_packet_stays_as_it_is() {
    let mut bytes = vec![0x45; 100];
    let before = bytes.clone();
    let segments = segment(&mut bytes, 90, &VirtioNetHdr::default(), |len| len + 10).unwrap();
    assert_eq!(segments.iter().collect::<Vec<_>>(), [(0, 90)]);
    assert_eq!(bytes, before);
}

#[test]
fn a_completed_udp_checksum_is_never_zero() {
    let hdr =
        VirtioNetHdr { flags: virtio::NEEDS_CSUM, csum_start: 20, csum_offset: 6, ..VirtioNetHdr::default() };
    let mut bytes = vec![0; 30];
    bytes[28..30].copy_from_slice(&[0xff, 0xff]);
    segment(&mut bytes, 30, &hdr, |len| len).unwrap();
    assert_eq!(bytes[26..28], [0xff, 0xff]);
}

#[test]
fn a_checksum_field_beyond_the_packet_is_refused() {
    for (csum_start, csum_offset) in [(20, 79), (99, 0), (200, 0), (u16::MAX, u16::MAX)] {
        let hdr =
            VirtioNetHdr { flags: virtio::NEEDS_CSUM, csum_start, csum_offset, ..VirtioNetHdr::default() };
        let mut bytes = vec![0x45; 200];
        let result = segment(&mut bytes, 100, &hdr, |len| len);
        assert_eq!(result, Err(Error::Truncated));
        assert_eq!(bytes, vec![0x45; 200]);
    }
}

#[test]
fn more_segments_than_the_limit_are_refused() {
    let packet = Packet { payload: vec![1; MAX_SEGMENTS], ..udp(Family::V4) };
    let mut buf = buffer(&packet.bytes(Checksum::Partial), 200_000);
    let hdr = packet.virtio(1);
    let len = packet.header_len() + MAX_SEGMENTS;
    assert_eq!(segment(&mut buf, len, &hdr, |size| size).unwrap().count, MAX_SEGMENTS);
    let packet = Packet { payload: vec![1; MAX_SEGMENTS + 1], ..packet };
    let mut buf = buffer(&packet.bytes(Checksum::Partial), 200_000);
    assert_eq!(segment(&mut buf, len + 1, &hdr, |size| size), Err(Error::TooManySegments));
}

#[test]
fn a_cut_udp_checksum_is_never_zero() {
    let mut packet = Packet { payload: vec![0; 4], ..udp(Family::V4) };
    let without = packet.cut(2)[1].bytes(Checksum::Whole);
    packet.payload[2..].copy_from_slice(&without[without.len() - 4..without.len() - 2]);
    let bytes = packet.bytes(Checksum::Partial);
    let mut buf = buffer(&bytes, 200);
    let segments = segment(&mut buf, bytes.len(), &packet.virtio(2), |size| size).unwrap();
    let second = pieces(&buf, segments).pop().unwrap();
    assert_eq!(second[26..28], [0xff, 0xff]);
    assert_eq!(second, expected(&packet, 2)[1]);
}

#[test]
fn a_fragment_is_not_cut() {
    for fragment in [0x2000, 0x0001] {
        let packet = Packet { fragment, payload: vec![0; 100], ..udp(Family::V4) };
        let bytes = packet.bytes(Checksum::Partial);
        let mut buf = buffer(&bytes, 1000);
        let result = segment(&mut buf, bytes.len(), &packet.virtio(10), |size| size);
        assert_eq!(result, Err(Error::BadGso));
        assert_eq!(buf, buffer(&bytes, 1000));
    }
}

#[test]
fn a_tcp_header_below_20_bytes_is_not_cut() {
    let packet = tcp(Family::V4);
    let mut bytes = packet.bytes(Checksum::Partial);
    for words in 0..5 {
        bytes[32] = words << 4;
        let mut buf = buffer(&bytes, 1000);
        let result = segment(&mut buf, bytes.len(), &packet.virtio(100), |size| size);
        assert_eq!(result, Err(Error::Truncated));
        assert_eq!(buf, buffer(&bytes, 1000));
    }
}
