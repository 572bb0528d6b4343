//! Prints what each step costs: `cargo run --release -p adit-packet --example speed`.
#![allow(clippy::disallowed_methods)] // A measurement needs a clock.

use std::hint::black_box;
use std::time::Instant;

use adit_packet::{Coalescer, Limits, Sum, VirtioNetHdr, segment, virtio};

const HEADERS: usize = 40;
const PAYLOAD: usize = 1368;
const SEGMENTS: usize = 45;
const STRIDE: usize = 1456;

fn main() {
    let data: Vec<u8> = (0..65_536_u32).map(|i| (i * 7) as u8).collect();
    for len in [20, 40, 64, 576, 1400, 1500, 9000] {
        let data = data.get(..len).unwrap_or_default();
        let time = measure(200_000, || {
            black_box(Sum::of(black_box(data)).checksum());
        });
        println!("checksum of {len:>5} bytes      {time:>7.1} ns");
    }

    let packet = super_packet(&data);
    let mut arena = vec![0; SEGMENTS * STRIDE];
    let hdr = VirtioNetHdr {
        flags: virtio::NEEDS_CSUM,
        gso_type: virtio::GSO_TCPV4,
        gso_size: PAYLOAD as u16,
        csum_start: 20,
        csum_offset: 16,
        ..VirtioNetHdr::default()
    };
    let refill = |arena: &mut Vec<u8>| arena.iter_mut().zip(&packet).for_each(|(to, from)| *to = *from);
    let each = |time: f64| time / SEGMENTS as f64;
    let copy = measure(20_000, || refill(black_box(&mut arena)));
    let both = measure(20_000, || {
        refill(&mut arena);
        let _ = black_box(segment(&mut arena, packet.len(), &hdr, |_| STRIDE));
    });
    println!("cutting, each segment         {:>7.1} ns", each(both - copy));

    let mut coalescer = Coalescer::new(Limits::default());
    let push = |coalescer: &mut Coalescer, arena: &[u8]| {
        for i in 0..SEGMENTS {
            let _ = black_box(coalescer.push(arena, i * STRIDE..i * STRIDE + HEADERS + PAYLOAD));
        }
    };
    let time = measure(20_000, || {
        push(&mut coalescer, &arena);
        coalescer.clear();
    });
    println!("joining, each segment         {:>7.1} ns", each(time));
    push(&mut coalescer, &arena);
    coalescer.finish(&mut arena);
    println!("super-packets of {SEGMENTS} segments:  {:>5}", coalescer.items().count());
}

/// Nanoseconds of one call.
fn measure(rounds: u32, mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..rounds).for_each(|_| work());
    start.elapsed().as_secs_f64() * 1e9 / f64::from(rounds)
}

/// TCP over IPv4, as a TUN device hands it out.
fn super_packet(data: &[u8]) -> Vec<u8> {
    let len = HEADERS + SEGMENTS * PAYLOAD;
    let mut packet = vec![0x45, 0];
    packet.extend((len as u16).to_be_bytes());
    packet.extend([0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet.extend([0x01, 0xbb, 0xc0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    packet.extend(data.iter().take(SEGMENTS * PAYLOAD));
    packet
}
