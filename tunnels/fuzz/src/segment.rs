//! Cutting a super-packet.

use adit_packet::{Error, MAX_SEGMENTS, Segments, VirtioNetHdr, segment, segment_frame, virtio};

use crate::{Input, frame, join, packet};

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
    within(&segments, &buffer);
    let packet = &before[..len];
    if header.gso_type == virtio::GSO_NONE {
        whole(packet, &buffer, &segments, &header);
    } else {
        pieces(packet, &buffer, &segments);
    }
}

/// One read of the TAP device: what is cut is what the packet in the frame is cut into, each with the frame's header.
pub fn packet_segment_frame(data: &[u8]) {
    let mut input = Input::new(data);
    let (gap, room) = (usize::from(input.byte()), usize::from(input.word()) * 4);
    let link = frame::link(&mut input);
    let bytes = packet::any(&mut input);
    let inner = packet::header(&bytes, &mut input);
    let mut frame = frame::around(&link, &bytes, &mut input);
    if inner.gso_type == virtio::GSO_NONE || input.byte() == 1 {
        frame::pad(&mut frame, &mut input);
    }
    let header = VirtioNetHdr { csum_start: inner.csum_start + link.len() as u16 + 2, ..inner };

    let mut buffer = frame.clone();
    buffer.resize(frame.len() + room, 0xee);
    let before = buffer.clone();
    let result = segment_frame(&mut buffer, frame.len(), &header, |size| size + gap);
    let Ok(segments) = result else {
        assert!(buffer == before, "nothing is changed on error");
        let whole = frame::place(&frame).filter(|at| *at == (link.len() + 2..frame.len()));
        if let (Some(at), Err(error)) = (whole, result) {
            let mut packet = frame[at.clone()].to_vec();
            packet.resize(1 << 20, 0);
            let alone = segment(&mut packet, at.len(), &inner, |size| size);
            assert!(matches!(error, Error::NoRoom { .. }) || alone == Err(error), "{error}, {alone:?}");
        }
        return;
    };
    within(&segments, &buffer);
    if header.gso_type == virtio::GSO_NONE {
        return whole(&frame, &buffer, &segments, &header);
    }
    let at = frame::place(&frame).expect("only IP packets are cut");
    assert_eq!(at.end, frame.len());
    let mut packet = frame[at.clone()].to_vec();
    packet.resize(1 << 20, 0);
    let alone = segment(&mut packet, at.len(), &inner, |size| size).expect("as in the frame");
    assert_eq!(alone.count, segments.count);
    let mut arena = Vec::new();
    let mut ranges = Vec::new();
    for ((from, len), (of, part)) in segments.iter().zip(alone.iter()) {
        let (ahead, piece) = buffer[from..from + len].split_at(at.start);
        assert!(ahead == &frame[..at.start] && piece == &packet[of..of + part]);
        ranges.push(arena.len()..arena.len() + len.max(60));
        arena.extend_from_slice(&buffer[from..from + len]);
        arena.resize(ranges[ranges.len() - 1].end, 0xbb);
    }
    join::rejoin(arena, &ranges, join::LIMITS, &join::FRAMES);
}

fn within(segments: &Segments, buffer: &[u8]) {
    assert!((1..=MAX_SEGMENTS).contains(&segments.count));
    assert!(segments.last <= segments.size && segments.size <= segments.stride);
    let end = segments.iter().map(|(at, len)| at + len).max();
    assert!(end.is_some_and(|end| end <= buffer.len()));
    assert!(segments.count * segments.stride <= buffer.len(), "the last one has its room too");
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
    join::rejoin(buffer.to_vec(), &ranges, join::LIMITS, &join::PACKETS);
}
