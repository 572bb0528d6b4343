//! What is counted: the same work as in the micro benchmarks, and a whole handshake.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use adit_aead::{Algorithm, Key, Secret, Span, TAG};
use adit_noise::{Initiator, MESSAGE_1, MESSAGE_2, PresharedKey, PrivateKey, Responder, WIREGUARD};
use adit_packet::{Coalescer, Limits, Sum, segment, segment_frame};
use adit_replay::Window;
use adit_wireguard::{AllowedIps, Prefix};

use crate::count;
use crate::super_frame::{LINK, super_frame};
use crate::super_packet::{COUNT, GAP, HEADERS, LEN, super_packet};

/// Packets of a batch: about what a super-packet gives.
const BATCH: usize = 45;
/// Bytes of text. The last is a full packet of an MTU of 1420 with its padding.
const LENGTHS: [usize; 3] = [64, 256, 1424];
/// Counters and addresses looked at in one go.
const MANY: usize = 64;

/// Where the packets of a batch lie, one behind the other.
fn spans(len: usize) -> impl Iterator<Item = Span> + Clone {
    (0..BATCH).map(move |at| {
        let mut nonce = [0; 12];
        nonce[4] = at as u8;
        Span { start: at * (len + TAG), len: len + TAG, nonce, aad: 0 }
    })
}

/// Sealing and opening a batch, by cipher and length.
pub(crate) fn aead() {
    for (cipher, algorithm) in
        [("chacha20-poly1305", Algorithm::ChaCha20Poly1305), ("aes-256-gcm", Algorithm::Aes256Gcm)]
    {
        let key = Key::new(algorithm, &Secret::from([7; 32]));
        for len in LENGTHS {
            let mut arena = vec![0x5a; BATCH * (len + TAG)];
            count(&format!("{cipher}, seal {len} bytes"), BATCH, || {
                key.seal_batch(black_box(&mut arena), spans(len));
            });
            // Opening takes the seal away, so each time has a copy of its own.
            let mut copies = [arena.clone(), arena];
            let (mut copies, mut verified) = (copies.iter_mut(), 0);
            count(&format!("{cipher}, open {len} bytes"), BATCH, || {
                let arena = copies.next().expect("a copy each time");
                key.open_batch(black_box(arena), spans(len), |_, ok| verified += usize::from(ok));
            });
            assert_eq!(verified, 2 * BATCH, "what was sealed opens");
        }
    }
}

/// Cutting a super-packet of 64 KiB, joining its segments, and summing a packet.
pub(crate) fn packet() {
    let (packet, header) = super_packet();
    let (mut copies, mut segments) = ([packet.clone(), packet], None);
    let mut each = copies.iter_mut();
    count("super-packet, cut into segments", COUNT, || {
        let packet = each.next().expect("a copy each time");
        segments = segment(black_box(packet), LEN, &header, |size| size + GAP).ok();
    });
    let segments = segments.expect("a sound super-packet");
    assert_eq!(segments.count, COUNT);

    let [arena, _] = &mut copies;
    let first = arena[..HEADERS].to_vec();
    let mut coalescer = Coalescer::new(Limits::default());
    count("super-packet, joined from segments", COUNT, || {
        // Joining rewrites nothing but the first headers.
        arena[..HEADERS].copy_from_slice(&first);
        for (at, len) in segments.iter() {
            coalescer.push(black_box(arena), at..at + len).expect("room");
        }
        coalescer.finish(arena);
        assert_eq!(coalescer.items().len(), 1);
        coalescer.clear();
    });

    let data = &arena[..1424];
    count("checksum, 1424 bytes", MANY, || {
        for _ in 0..MANY {
            black_box(Sum::of(black_box(data)).checksum());
        }
    });
}

/// Cutting the frame of a super-packet, and joining its frames.
pub(crate) fn frame() {
    let (frame, header) = super_frame();
    let (mut copies, mut segments) = ([frame.clone(), frame], None);
    let mut each = copies.iter_mut();
    count("super-packet's frame, cut into frames", COUNT, || {
        let frame = each.next().expect("a copy each time");
        segments = segment_frame(black_box(frame), LINK + LEN, &header, |size| size + GAP).ok();
    });
    let segments = segments.expect("a sound frame");
    assert_eq!(segments.count, COUNT);

    let [arena, _] = &mut copies;
    let first = arena[..LINK + HEADERS].to_vec();
    let mut coalescer = Coalescer::new(Limits::default());
    count("super-packet's frame, joined from frames", COUNT, || {
        arena[..LINK + HEADERS].copy_from_slice(&first);
        for (at, len) in segments.iter() {
            coalescer.push_frame(black_box(arena), at..at + len).expect("room");
        }
        coalescer.finish(arena);
        assert_eq!(coalescer.items().len(), 1);
        coalescer.clear();
    });
}

/// The replay window: counters in order, and each batch backwards.
pub(crate) fn replay() {
    let (mut window, mut next) = (Window::new(), 0);
    count("replay window, in order", MANY, || {
        for counter in next..next + MANY as u64 {
            window.accept(black_box(counter)).expect("new");
        }
        next += MANY as u64;
    });
    count("replay window, backwards", MANY, || {
        for counter in (next..next + MANY as u64).rev() {
            window.accept(black_box(counter)).expect("new");
        }
        next += MANY as u64;
    });
}

/// The prefix of one of many peers: a /24 of 10.0.0.0/8 or a /64 of fd00::/48, scattered.
fn network(at: usize, v6: bool) -> IpAddr {
    let scattered = (at as u32).wrapping_mul(40_503) & 0xffff;
    if v6 {
        Ipv6Addr::from_bits((0xfd00 << 112) | u128::from(scattered) << 64).into()
    } else {
        Ipv4Addr::from_bits((10 << 24) | scattered << 8).into()
    }
}

/// Whose an address is.
pub(crate) fn allowed_ips() {
    for (family, v6, length) in [("IPv4", false, 24), ("IPv6", true, 64)] {
        for peers in [10, 10_000] {
            let mut table = AllowedIps::new();
            for at in 0..peers {
                table.insert(Prefix::new(network(at, v6), length).expect("a length in bounds"), at);
            }
            let addresses: Vec<IpAddr> = (0..MANY).map(|at| network(at * 157 % peers, v6)).collect();
            count(&format!("allowed IPs, {family}, {peers} peers"), MANY, || {
                let found = addresses.iter().filter_map(|address| table.lookup(black_box(*address))).count();
                assert_eq!(found, MANY);
            });
        }
    }
}

/// Both sides of a handshake.
pub(crate) fn noise() {
    let [ours, theirs] = [1, 2].map(|byte| PrivateKey::from_bytes([byte; 32]));
    let (remote, preshared) = (theirs.public(), PresharedKey::from_bytes([9; 32]));
    count("handshake, both sides", 1, || {
        let (mut message_1, mut message_2) = ([0; MESSAGE_1], [0; MESSAGE_2]);
        let stamp = b"twelve bytes";
        let initiator = Initiator::start(&WIREGUARD, &ours, &remote, &preshared, stamp, &mut message_1);
        let (responder, ..) = Responder::receive(&WIREGUARD, &theirs, &message_1).expect("sound");
        let responder = responder.respond(&preshared, &mut message_2).expect("room");
        let initiator = initiator.expect("sound").finish(&message_2).map_err(|(_, error)| error);
        assert_eq!(initiator.expect("sound").send, responder.receive);
    });
}
