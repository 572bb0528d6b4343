//! Cutting a super-packet.

use adit_packet::{MAX_SEGMENTS, Segments, VirtioNetHdr, segment, virtio};

use crate::{Input, join, packet};

/// One read of the TUN device: cut it, look at the pieces, and join them again.
pub fn packet_segment(data: &[u8]) {
    let mut input = Input::new(data);
    let (gap, room, wrong) = (input.byte(), input.word(), input.byte());
    let bytes = packet::any(&mut input);
    let header = packet::header(&bytes, &mut input);
    assert_eq!(VirtioNetHdr::parse(&header.to_bytes()), Some(header));

    let len = if wrong == 1 { input.long() as usize } else { bytes.len() };
    let stride = |size: usize| if wrong == 2 { gap.into() } else { size + usize::from(gap) };
    let mut buffer = bytes.clone();
    buffer.resize(bytes.len() + usize::from(room) * 4, 0xee);
    let before = buffer.clone();
    let Ok(segments) = segment(&mut buffer, len, &header, stride) else {
        return assert!(buffer == before, "nothing is changed on error");
    };
    assert!((1..=MAX_SEGMENTS).contains(&segments.count));
    assert!(segments.last <= segments.size && segments.size <= segments.stride);
    let end = segments.iter().map(|(at, len)| at + len).max();
    assert!(end.is_some_and(|end| end <= buffer.len()));
    assert!(segments.count * segments.stride <= buffer.len(), "the last one has its room too");
    let packet = &before[..len];
    if header.gso_type == virtio::GSO_NONE {
        whole(packet, &buffer, &segments, &header);
    } else {
        pieces(packet, &buffer, &segments);
    }
}

/// One packet stays one, and only its checksum changes.
fn whole(bytes: &[u8], buffer: &[u8], segments: &Segments, header: &VirtioNetHdr) {
    assert_eq!((segments.count, segments.size, segments.last), (1, bytes.len(), bytes.len()));
    let field = usize::from(header.csum_start) + usize::from(header.csum_offset);
    let partial = header.flags & virtio::NEEDS_CSUM != 0;
    for (at, (old, new)) in bytes.iter().zip(buffer).enumerate() {
        assert!(old == new || (partial && (field..field + 2).contains(&at)), "octet {at}");
    }
}

/// Every piece is a whole packet with right checksums, together they carry the payload, and joined they are the same.
fn pieces(bytes: &[u8], buffer: &[u8], segments: &Segments) {
    let headers = packet::header_len(bytes).expect("only TCP and UDP are cut");
    let mut payload = Vec::new();
    for (at, len) in segments.iter() {
        let piece = &buffer[at..at + len];
        let ahead = payload.len() as u32;
        assert_eq!(packet::sequence(piece), packet::sequence(bytes).map(|first| first.wrapping_add(ahead)));
        assert_eq!(adit_packet::ip::trim(piece), Some(len));
        assert!(packet::is_sound(piece));
        payload.extend_from_slice(&piece[headers..]);
    }
    assert!(payload == bytes[headers..], "the payload is there, once and in order");
    let ranges: Vec<_> = segments.iter().map(|(at, len)| at..at + len).collect();
    join::rejoin(buffer.to_vec(), &ranges, join::LIMITS);
}
