//! ChaCha20-Poly1305 (RFC 8439) over many packets at once, for processors with AVX-512.
//!
//! A library works on one packet at a time: it cannot fill wide vectors with short packets, and waits for the chain of
//! multiplications of Poly1305. Here every lane of a vector has a packet of its own, or blocks of its own of one:
//!
//! ```text
//!  ChaCha20, 16 lanes of 32 bits    4 packets: |p0 b1|p0 b2|p0 b3|p0 b4|p1 b1| ... |p3 b4|, then b5 to b8, ...
//!  Poly1305,  8 lanes of 64 bits               |p0 b1|p1 b1|p2 b1| ... |p7 b1|, then b2, ...
//! ```
//!
//! No well-kept library does this; those that there are take one packet in a call.
//!
//! No branch and no address depends on a key, a text or a tag; what is published is whether a tag is right.
#![allow(unsafe_code)]

mod chacha;
mod poly;
mod vector;

use core::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_cmplt_epu64_mask, _mm512_set1_epi32, _mm512_set1_epi64,
    _mm512_setzero_si512, _mm512_xor_si512,
};
use core::cmp::Reverse;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{Secret, TAG};
use poly::Sums;
use vector::WIDTH;

/// Packets that are worked on at once.
pub(crate) const PACKETS: usize = chacha::BLOCKS;
/// Fewer packets than these are sooner done one by one.
pub(crate) const FEWEST: usize = 3;
/// Bytes of text that a packet may have: well below the limit of ChaCha20's block counter.
pub(crate) const LONGEST: usize = 1 << 20;

static ON: AtomicBool = AtomicBool::new(true);

/// Whether keys made from now on, by anyone in the process, use the wide cipher where the processor has the instructions.
/// They do unless told otherwise.
pub fn use_wide(on: bool) {
    ON.store(on, Ordering::Relaxed);
}

/// Whether a key of ChaCha20-Poly1305 made now uses the wide cipher.
#[must_use]
pub fn has_wide() -> bool {
    ON.load(Ordering::Relaxed)
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512ifma")
}

/// A packet to be worked on. Its text and its tag lie within the arena, and no packets overlap.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Packet {
    /// Names it to the caller; below [`PACKETS`].
    pub(crate) index: usize,
    /// Where its text begins.
    pub(crate) start: usize,
    /// Bytes of text; the tag follows. At most [`LONGEST`].
    pub(crate) len: usize,
    /// Its nonce.
    pub(crate) nonce: [u8; 12],
}

impl Packet {
    fn text<'a>(&self, arena: &'a [u8]) -> &'a [u8] {
        arena.get(self.start..self.start + self.len).unwrap_or_default()
    }

    fn text_mut<'a>(&self, arena: &'a mut [u8]) -> &'a mut [u8] {
        arena.get_mut(self.start..self.start + self.len).unwrap_or_default()
    }

    fn tag<'a>(&self, arena: &'a mut [u8]) -> Option<&'a mut [u8; TAG]> {
        arena.get_mut(self.start + self.len..)?.first_chunk_mut()
    }

    /// Blocks of key stream that its text needs.
    const fn blocks(&self) -> usize {
        self.len.div_ceil(WIDTH)
    }
}

/// A key. That there is one shows that the processor has what is needed.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Wide {
    key: [u32; 8],
}

/// For each packet the first 32 bytes of its key stream, the key of its tag: four arrays of 64 bits.
#[derive(Zeroize, ZeroizeOnDrop)]
struct TagKeys([[u64; PACKETS]; 4]);

impl Wide {
    /// A key, or `None` if the processor lacks an instruction or the wide cipher is off.
    pub(crate) fn new(secret: &Secret) -> Option<Self> {
        let mut wide = has_wide().then_some(Self { key: [0; 8] })?;
        for (word, bytes) in wide.key.iter_mut().zip(secret.as_bytes().as_chunks().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        Some(wide)
    }

    /// Encrypts the texts of at most [`PACKETS`] packets in place, and writes the tags behind them. Changes their order.
    pub(crate) fn seal(&self, arena: &mut [u8], packets: &mut [Packet]) {
        // SAFETY: `new` found the processor to have the instructions.
        unsafe { self.seal_with(arena, packets) }
    }

    /// Verifies the tags of at most [`PACKETS`] packets, and then decrypts, in place, the texts of those whose tag is right.
    /// Bit `i` of the result says whether that of the packet with index `i` is. Changes their order.
    pub(crate) fn open(&self, arena: &mut [u8], packets: &mut [Packet]) -> u16 {
        // SAFETY: `new` found the processor to have the instructions.
        unsafe { self.open_with(arena, packets) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512ifma")]
    fn seal_with(&self, arena: &mut [u8], packets: &mut [Packet]) {
        longest_first(packets);
        let keys = self.tag_keys(packets);
        self.encrypt(arena, packets);
        let tags = tags(arena, packets, &keys);
        for (packet, tag) in packets.iter().zip(tags) {
            if let Some(place) = packet.tag(arena) {
                *place = tag;
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512ifma")]
    fn open_with(&self, arena: &mut [u8], packets: &mut [Packet]) -> u16 {
        longest_first(packets);
        let keys = self.tag_keys(packets);
        let tags = tags(arena, packets, &keys);
        let mut authentic = 0;
        for (packet, tag) in packets.iter_mut().zip(tags) {
            // One comparison of 128 bits: it takes as long wherever they differ.
            let right = packet
                .tag(arena)
                .is_some_and(|place| u128::from_ne_bytes(*place) == u128::from_ne_bytes(tag));
            authentic |= u16::from(right) << packet.index;
            if !right {
                packet.len = 0;
            }
        }
        longest_first(packets);
        self.encrypt(arena, packets);
        authentic
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    fn tag_keys(&self, packets: &[Packet]) -> TagKeys {
        let lanes = Lanes::new(packets);
        let mut keys = TagKeys([[0; PACKETS]; 4]);
        let streams = chacha::blocks(&self.key, _mm512_setzero_si512(), &lanes.nonces);
        let [a, b, c, d] = &mut keys.0;
        for (at, stream) in streams.into_iter().step_by(lanes.each).enumerate() {
            let [first, second, third, fourth, ..] = vector::to_quads(stream);
            for (array, quad) in [(&mut *a, first), (&mut *b, second), (&mut *c, third), (&mut *d, fourth)] {
                if let Some(place) = array.get_mut(at) {
                    *place = quad;
                }
            }
        }
        keys
    }

    /// XORs the texts with their key streams, from block 1 on. The packets are in order, the longest first.
    #[target_feature(enable = "avx512f,avx512bw")]
    fn encrypt(&self, arena: &mut [u8], packets: &[Packet]) {
        let mut done = 0;
        loop {
            let count = packets.iter().take_while(|packet| packet.blocks() > done).count();
            let Some(packets) = packets.get(..count).filter(|packets| !packets.is_empty()) else { return };
            let lanes = Lanes::new(packets);
            // From where on half of the lanes would do.
            let until =
                packets.get(count.next_power_of_two() / 2).or(packets.first()).map_or(0, Packet::blocks);
            while done < until {
                let next = |blocks: usize| {
                    // No packet has as many blocks as 32 bits can count.
                    _mm512_add_epi32(lanes.counters, _mm512_set1_epi32((done + blocks) as i32))
                };
                if until - done > lanes.each {
                    let counters = [next(0), next(lanes.each)];
                    let [first, second] = chacha::blocks_twice(&self.key, counters, &lanes.nonces);
                    apply(arena, packets, done, lanes.each, &first);
                    apply(arena, packets, done + lanes.each, lanes.each, &second);
                    done += 2 * lanes.each;
                } else {
                    apply(
                        arena,
                        packets,
                        done,
                        lanes.each,
                        &chacha::blocks(&self.key, next(0), &lanes.nonces),
                    );
                    done += lanes.each;
                }
            }
        }
    }
}

impl fmt::Debug for Wide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wide(..)")
    }
}

/// Neighbours are alike in length then.
fn longest_first(packets: &mut [Packet]) {
    if !packets.is_sorted_by(|a, b| a.len >= b.len) {
        packets.sort_unstable_by_key(|packet| Reverse(packet.len));
    }
}

/// How the lanes of ChaCha20 are shared out among packets: the first packet has the first lanes, for blocks that follow one
/// another.
struct Lanes {
    /// How many each packet has.
    each: usize,
    /// The nonces.
    nonces: [__m512i; 3],
    /// The counters of a text's first blocks.
    counters: __m512i,
}

impl Lanes {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(packets: &[Packet]) -> Self {
        let each = PACKETS / packets.len().next_power_of_two().min(PACKETS);
        let (mut nonces, mut counters) = ([[0; PACKETS]; 3], [0; PACKETS]);
        let [a, b, c] = &mut nonces;
        for (lane, counter) in counters.iter_mut().enumerate() {
            *counter = 1 + (lane % each) as u32;
            let nonce = packets.get(lane / each).map_or([0; 12], |packet| packet.nonce);
            let (words, _) = nonce.as_chunks();
            for (array, word) in [&mut *a, &mut *b, &mut *c].into_iter().zip(words) {
                if let Some(place) = array.get_mut(lane) {
                    *place = u32::from_le_bytes(*word);
                }
            }
        }
        Self {
            each,
            nonces: [vector::words(a), vector::words(b), vector::words(c)],
            counters: vector::words(&counters),
        }
    }
}

/// XORs blocks `first..first + each` of every text with the key streams of its lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn apply(arena: &mut [u8], packets: &[Packet], first: usize, each: usize, streams: &[__m512i; PACKETS]) {
    for (packet, streams) in packets.iter().zip(streams.chunks_exact(each)) {
        let Some(text) = packet.text_mut(arena).get_mut(first * WIDTH..) else { continue };
        let (blocks, rest) = text.as_chunks_mut::<WIDTH>();
        for (block, stream) in blocks.iter_mut().zip(streams) {
            vector::store(_mm512_xor_si512(vector::load(block), *stream), block);
        }
        if let Some(stream) = streams.get(blocks.len()).filter(|_| !rest.is_empty()) {
            vector::store_part(_mm512_xor_si512(vector::load_part(rest), *stream), rest);
        }
    }
}

/// The tags of ciphertexts. The packets are in order, the longest first.
#[target_feature(enable = "avx512f,avx512bw,avx512ifma")]
fn tags(arena: &[u8], packets: &[Packet], keys: &TagKeys) -> [[u8; TAG]; PACKETS] {
    let mut tags = [[0; TAG]; PACKETS];
    let (first, second) = packets.split_at_checked(poly::LANES).unwrap_or((packets, &[]));
    let mut groups = [Group::new(arena, first, keys, 0), Group::new(arena, second, keys, 1)];
    let [long, short] = &mut groups;
    let together = if second.is_empty() { 0 } else { long.whole.min(short.whole) };
    for step in 0..together {
        let (a, b) = (long.blocks(step), short.blocks(step));
        for (a, b) in a.into_iter().zip(b) {
            long.sums.block(a);
            short.sums.block(b);
        }
    }
    long.take_from(together);
    if !second.is_empty() {
        short.take_from(together);
    }
    for (group, tags) in groups.into_iter().zip(tags.chunks_exact_mut(poly::LANES)) {
        let [low, high] = group.sums.tags();
        for ((tag, low), high) in tags.iter_mut().zip(vector::to_quads(low)).zip(vector::to_quads(high)) {
            *tag = (u128::from(high) << 64 | u128::from(low)).to_le_bytes();
        }
    }
    tags
}

/// Eight texts of which the tags are computed together.
struct Group<'a> {
    texts: [&'a [u8]; poly::LANES],
    /// Vectors of which every text has all bytes.
    whole: usize,
    /// The lengths of the texts.
    lens: __m512i,
    sums: Sums,
}

impl<'a> Group<'a> {
    /// The group that begins with packet `number * LANES`. A lane without a packet does again what the first one does.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(arena: &'a [u8], packets: &[Packet], keys: &TagKeys, number: usize) -> Self {
        let mut texts: [&[u8]; poly::LANES] =
            [packets.first().map_or(&[], |packet| packet.text(arena)); poly::LANES];
        let mut lens = [0; poly::LANES];
        let mut whole = packets.last().map_or(0, |packet| packet.len / WIDTH);
        for ((text, len), packet) in texts.iter_mut().zip(&mut lens).zip(packets) {
            *text = packet.text(arena);
            *len = text.len() as u64;
            whole = whole.min(text.len() / WIDTH);
        }
        let mut quads = [[0; poly::LANES]; 4];
        for (quads, all) in quads.iter_mut().zip(&keys.0) {
            if let Some(these) = all.as_chunks().0.get(number) {
                *quads = *these;
            }
        }
        let [r_low, r_high, pad_low, pad_high] = &quads;
        let r = [vector::quads(r_low), vector::quads(r_high)];
        let pad = [vector::quads(pad_low), vector::quads(pad_high)];
        quads.zeroize();
        Self { texts, whole, lens: vector::quads(&lens), sums: Sums::new(r, pad) }
    }

    /// The blocks of vector `step` of every text, all of which have it whole.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn blocks(&self, step: usize) -> [poly::Wide; poly::BLOCKS] {
        let mut rows = [_mm512_setzero_si512(); poly::LANES];
        for (row, text) in rows.iter_mut().zip(self.texts) {
            if let Some(bytes) = text.as_chunks().0.get(step) {
                *row = vector::load(bytes);
            }
        }
        poly::blocks(rows)
    }

    /// Takes everything from vector `step` on, and the block that tells the lengths (section 2.8).
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512ifma")]
    fn take_from(&mut self, step: usize) {
        for step in step..self.whole {
            for block in self.blocks(step) {
                self.sums.block(block);
            }
        }
        let longest = self.texts.iter().map(|text| text.len()).max().unwrap_or(0);
        for start in (self.whole * WIDTH..longest).step_by(WIDTH) {
            let mut rows = [_mm512_setzero_si512(); poly::LANES];
            for (row, text) in rows.iter_mut().zip(self.texts) {
                let rest = text.get(start..).unwrap_or_default();
                *row = vector::load_part(rest.get(..WIDTH).unwrap_or(rest));
            }
            for (at, block) in poly::blocks(rows).into_iter().enumerate() {
                let begins = _mm512_set1_epi64((start + at * poly::BLOCK) as i64);
                self.sums.block_of(_mm512_cmplt_epu64_mask(begins, self.lens), block);
            }
        }
        self.sums.block([_mm512_setzero_si512(), self.lens]);
    }
}
