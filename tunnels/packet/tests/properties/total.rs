//! No input makes anything panic or reach out of bounds.

use core::ops::Range;

use adit_packet::{
    Coalescer, Ecn, EthernetHeader, IpHeader, Limits, Segments, Sum, Version, VirtioNetHdr, checksum, ecn,
    ip, segment, segment_frame,
};
use proptest::prelude::*;

use crate::join::Push;
use crate::link::any_link;
use crate::model::{Checksum, any_super};

fn any_header() -> impl Strategy<Value = VirtioNetHdr> {
    let small = prop_oneof![0_u16..100, any::<u16>()];
    let kind = prop_oneof![proptest::sample::select(&[0_u8, 1, 4, 5, 0x81, 0x84, 0x80][..]), any::<u8>(),];
    (any::<u8>(), kind, any::<u16>(), small.clone(), small.clone(), small).prop_map(
        |(flags, gso_type, hdr_len, gso_size, csum_start, csum_offset)| VirtioNetHdr {
            flags,
            gso_type,
            hdr_len,
            gso_size,
            csum_start,
            csum_offset,
        },
    )
}

/// Bytes that are noise, or a packet with some octets changed.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let noise = (
        proptest::sample::select(&[0x45_u8, 0x46, 0x4f, 0x60, 0x6f, 0x00][..]),
        proptest::collection::vec(any::<u8>(), 0..200),
    )
        .prop_map(|(first, mut bytes)| {
            if let Some(byte) = bytes.first_mut() {
                *byte = first;
            }
            bytes
        });
    let damaged = (any_super(), proptest::collection::vec((0_usize..100, any::<u8>()), 0..4)).prop_map(
        |((mut packet, _), changes)| {
            packet.payload.truncate(3000);
            let mut bytes = packet.bytes(Checksum::Whole);
            for (at, value) in changes {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            bytes
        },
    );
    prop_oneof![noise, damaged]
}

/// Bytes that begin like a frame, or do not.
fn hostile_frame() -> impl Strategy<Value = Vec<u8>> {
    let types = proptest::sample::select(&[0x0800_u16, 0x86dd, 0x8100, 0x88a8, 0x0806, 60][..]);
    (any_link(), types, hostile(), 0_usize..8).prop_map(|(link, ether_type, packet, cut)| {
        let mut frame = link.header(ether_type);
        frame.extend(packet);
        frame.truncate(if cut == 0 { 13 } else { frame.len() });
        frame
    })
}

fn look_at(packet: &mut [u8]) {
    let header = IpHeader::parse(packet);
    if let Some(header) = header {
        assert!(header.header_len <= header.total_len && header.total_len <= packet.len());
        assert_eq!(Some(header.total_len), ip::trim(packet));
        assert_eq!(Some(header.version), Version::of(packet));
        assert!(ip::source(packet).is_some() && ip::destination(packet).is_some());
    }
    let _ = (ip::source(packet), ip::destination(packet), ip::addresses(packet));
    let _ = VirtioNetHdr::parse(packet);
    for outer in [Ecn::NotEct, Ecn::Ect1, Ecn::Ect0, Ecn::Ce] {
        let inner = Ecn::of(packet);
        let dropped = ecn::decapsulate(packet, outer).is_err();
        assert_eq!(dropped, inner == Ecn::NotEct && outer == Ecn::Ce);
    }
}

fn within(segments: Segments, room: usize) {
    assert!(segments.count >= 1 && segments.last <= segments.size);
    assert!(segments.size <= segments.stride);
    for (at, len) in segments.iter() {
        assert!(at + len <= room);
    }
}

proptest! {
    #[test]
    fn parsers_take_any_bytes(mut bytes in hostile()) {
        look_at(&mut bytes);
        let _ = Sum::pseudo(&bytes, 255, u32::MAX).with(1).without(2).udp_checksum();
        let _ = checksum::update(bytes.len() as u16, 0xffff, 0);
    }

    #[test]
    fn cutting_takes_any_bytes_and_changes_nothing_on_error(
        bytes in hostile(),
        hdr in any_header(),
        room in 0_usize..10_000,
        len in prop_oneof![4 => Just(None), 1 => any::<usize>().prop_map(Some)],
        stride in prop_oneof![4 => (0_usize..2000).prop_map(Some), 1 => Just(None)],
    ) {
        let len = len.unwrap_or(bytes.len());
        let mut buf = bytes;
        buf.resize(buf.len() + room, 0);
        let before = buf.clone();
        match segment(&mut buf, len, &hdr, |size| stride.map_or(usize::MAX, |gap| size + gap)) {
            Ok(segments) => within(segments, buf.len()),
            Err(_) => prop_assert_eq!(buf, before),
        }
    }

    #[test]
    fn cutting_takes_any_frame_and_changes_nothing_on_error(
        bytes in hostile_frame(),
        hdr in any_header(),
        room in 0_usize..10_000,
        beyond: bool,
        gap in 0_usize..2000,
    ) {
        let len = if beyond { bytes.len() + room + 1 } else { bytes.len() };
        let mut buf = bytes;
        buf.resize(buf.len() + room, 0);
        if let Some(at) = EthernetHeader::parse(&buf).and_then(|header| header.packet(&buf)) {
            prop_assert!(at.start <= at.end && at.end <= buf.len());
        }
        let before = buf.clone();
        match segment_frame(&mut buf, len, &hdr, |size| size + gap) {
            Ok(segments) => within(segments, buf.len()),
            Err(_) => prop_assert_eq!(buf, before),
        }
    }

    #[test]
    fn joining_takes_any_frames_and_stays_in_bounds(
        frames in proptest::collection::vec(hostile_frame(), 1..6),
        ranges in proptest::collection::vec(any::<(u16, u16)>(), 0..6),
        repeat in 1_usize..3,
        swap: bool,
    ) {
        let (pushed, pieces) = joined(Coalescer::push_frame, &frames, &ranges, repeat, swap);
        prop_assert_eq!(pieces.len(), pushed.len());
        for piece in pieces {
            prop_assert!(pushed.iter().any(|at| at.start <= piece.start && piece.end <= at.end));
            prop_assert!(piece.start <= piece.end);
        }
    }

    #[test]
    fn joining_takes_any_bytes_and_stays_in_bounds(
        packets in proptest::collection::vec(hostile(), 1..6),
        ranges in proptest::collection::vec(any::<(u16, u16)>(), 0..6),
        repeat in 1_usize..3,
        swap: bool,
    ) {
        let (pushed, pieces) = joined(Coalescer::push, &packets, &ranges, repeat, swap);
        prop_assert_eq!(pieces.len(), pushed.len());
        for piece in pieces {
            prop_assert!(pushed.iter().any(|at| at.start <= piece.start && piece.end == at.end));
            prop_assert!(piece.start <= piece.end);
        }
    }
}

/// Pushes `parts` of an arena `repeat` times, and then `ranges` of it; what was taken, and what is to be written.
fn joined(
    push: Push,
    parts: &[Vec<u8>],
    ranges: &[(u16, u16)],
    repeat: usize,
    swap: bool,
) -> (Vec<Range<usize>>, Vec<Range<usize>>) {
    let mut arena = parts.concat();
    let mut coalescer = Coalescer::new(Limits { capacity: 64, ..Limits::default() });
    let mut pushed = Vec::new();
    for _ in 0..repeat {
        let mut start = 0;
        for part in parts {
            let at = start..start + part.len();
            start = at.end;
            assert_eq!(push(&mut coalescer, &arena, at.clone()), Ok(()));
            pushed.push(at);
        }
    }
    for (start, end) in ranges {
        let at = usize::from(*start)..usize::from(*end);
        if push(&mut coalescer, &arena, at.clone()).is_ok() {
            pushed.push(at);
        }
    }
    if swap {
        // A caller's mistake: not the arena that was looked at.
        arena.reverse();
        arena.truncate(arena.len() / 2);
    }
    coalescer.finish(&mut arena);
    let pieces = coalescer.items().flat_map(|(_, pieces)| pieces).collect();
    (pushed, pieces)
}

/// The length field of the header that `packet` begins with says `len`, as far as it can.
fn with_length(packet: &mut [u8], len: usize) {
    let (at, len) = match packet.first() {
        Some(first) if first >> 4 == 6 => (4, len.saturating_sub(40)),
        _ => (2, len),
    };
    if let Some(field) = packet.get_mut(at..at + 2) {
        field.copy_from_slice(&(len as u16).to_be_bytes());
    }
}

#[test]
fn every_length_of_a_packet_is_taken() {
    let prefixes: [&[u8]; 5] = [
        &[0x45, 2, 0, 0, 0, 0, 0x40, 0, 64, 6],
        &[0x4f, 3, 0, 0, 0, 0, 0, 0, 64, 17],
        &[0x60, 0x20, 0, 0, 0, 0, 6, 64],
        &[0x60, 0x30, 0, 0, 0, 0, 0, 64],
        &[0x75],
    ];
    let hdr = VirtioNetHdr { flags: 1, gso_type: 1, gso_size: 1400, ..VirtioNetHdr::default() };
    let mut coalescer = Coalescer::new(Limits { capacity: 1, ..Limits::default() });
    for prefix in prefixes {
        let mut buf = vec![0; 70_000];
        buf[..prefix.len()].copy_from_slice(prefix);
        // A TCP data offset of 20 bytes behind either header without options.
        (buf[32], buf[52]) = (0x50, 0x50);
        for len in 0..=65_535 {
            with_length(&mut buf, len);
            let packet = &mut buf[..len];
            look_at(packet);
            assert_eq!(coalescer.push(packet, 0..len), Ok(()));
            coalescer.finish(packet);
            coalescer.clear();
            let gso_type = if packet.first().is_some_and(|b| b >> 4 == 6) { 4 } else { 1 };
            // Without room for more than one segment, so that only the headers are read.
            let result = segment(packet, len, &VirtioNetHdr { gso_type, ..hdr }, |size| size);
            if let Ok(segments) = result {
                within(segments, len);
            }
            look_at(&mut buf[..len.saturating_sub(1)]);
        }
    }
}
