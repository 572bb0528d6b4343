//! ChaCha20-Poly1305 (RFC 8439) over many packets at once, for processors with AVX-512 and IFMA, or with AVX2.
//!
//! A library works on one packet at a time: it cannot fill wide vectors with short packets, and waits for the chain of
//! multiplications of Poly1305. Here every lane of a vector has a packet of its own, or blocks of its own of one:
//!
//! ```text
//!  AVX-512
//!  ChaCha20, 16 lanes of 32 bits    4 packets: |p0 b1|p0 b2|p0 b3|p0 b4|p1 b1| ... |p3 b4|, then b5 to b8, ...
//!  Poly1305,  8 lanes of 64 bits               |p0 b1|p1 b1|p2 b1| ... |p7 b1|, then b2, ...
//!
//!  AVX2
//!  ChaCha20,  8 lanes of 32 bits    5 packets: |p0 b0|p1 b0|p2 b0|p3 b0|p4 b0|p0 b1|p0 b2|p0 b3|, then b4, ...
//!  Poly1305,  4 lanes of 64 bits               |p0 b1|p1 b1|p2 b1|p3 b1|, then b2, ...
//! ```
//!
//! No well-kept library does this; those that there are take one packet in a call.
//!
//! No branch and no address depends on a key, a text or a tag; what is published is whether a tag is right.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(all(test, target_arch = "x86_64"))]
mod long;
#[cfg(not(target_arch = "x86_64"))]
mod nowhere;
mod packet;
#[cfg(test)]
mod tests;

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

#[cfg(not(target_arch = "x86_64"))]
use {nowhere as avx2, nowhere as avx512};

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::Secret;
pub(crate) use packet::Packet;

/// Packets that are worked on at once, at most.
pub(crate) const PACKETS: usize = 16;

/// The first words of ChaCha20's states (section 2.3): "expand 32-byte k".
#[cfg(target_arch = "x86_64")]
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

static ON: AtomicBool = AtomicBool::new(true);

/// Whether keys made from now on, by anyone in the process, use the wide cipher where the processor has the instructions.
/// They do unless told otherwise.
pub fn use_wide(on: bool) {
    ON.store(on, Ordering::Relaxed);
}

/// Whether a key of ChaCha20-Poly1305 made now uses the wide cipher.
#[must_use]
pub fn has_wide() -> bool {
    Instructions::of_new_keys().is_some()
}

/// What the wide cipher is written in, the best first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Instructions {
    /// AVX-512: F, BW, IFMA.
    Avx512,
    /// AVX2, for short packets only: with long ones the library is as fast.
    Avx2,
}

impl Instructions {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Avx512, Self::Avx2];

    /// Whether this processor has them.
    #[must_use]
    pub fn are_there(self) -> bool {
        match self {
            Self::Avx512 => avx512::is_there(),
            Self::Avx2 => avx2::is_there(),
        }
    }

    /// Those that a key made now uses.
    pub(crate) fn of_new_keys() -> Option<Self> {
        Self::ALL.into_iter().filter(|_| ON.load(Ordering::Relaxed)).find(|it| it.are_there())
    }
}

/// What is sooner done together than one by one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Packets that are worked on at once, at most [`PACKETS`].
    pub(crate) packets: usize,
    /// Packets, at least.
    pub(crate) fewest: usize,
    /// Bytes of text in a packet, at most, by how many packets there are: the more, the longer. It is well below the limit of
    /// ChaCha20's block counter.
    longest: [usize; PACKETS + 1],
}

impl Limits {
    /// Bytes of text that each of so many packets may have.
    #[inline]
    pub(crate) fn longest(&self, packets: usize) -> usize {
        self.longest.get(packets).copied().unwrap_or(0)
    }

    /// How many of some packets are sooner done together. They come first then; behind them is what is too long for so few.
    #[inline]
    pub(crate) fn together(&self, packets: &mut [Packet]) -> usize {
        let mut count = packets.len();
        while count >= self.fewest && self.longest(count) < self.longest(self.packets) {
            let some = packets.iter().take(count);
            let Some((at, longest)) = some.enumerate().max_by_key(|(_, packet)| packet.len) else { break };
            if longest.len <= self.longest(count) {
                break;
            }
            count -= 1;
            packets.swap(at, count);
        }
        if count < self.fewest { 0 } else { count }
    }
}

/// A key. That there is one shows that the processor has what is needed.
///
/// It is boxed, so that it stays in one place and is wiped there, however often its owner moves.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Wide {
    key: [u32; 8],
    #[zeroize(skip)]
    instructions: Instructions,
}

impl Wide {
    /// A key, or `None` if the processor lacks an instruction.
    pub(crate) fn new(secret: &Secret, instructions: Instructions) -> Option<Box<Self>> {
        let mut wide = instructions.are_there().then(|| Box::new(Self { key: [0; 8], instructions }))?;
        for (word, bytes) in wide.key.iter_mut().zip(secret.as_bytes().as_chunks().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        Some(wide)
    }

    /// Which packets it is for.
    #[inline]
    pub(crate) fn limits(&self) -> &'static Limits {
        match self.instructions {
            Instructions::Avx512 => &avx512::LIMITS,
            Instructions::Avx2 => &avx2::LIMITS,
        }
    }

    /// Encrypts the texts of some packets, not more than its limit, in place, and writes the tags behind them. Changes their
    /// order.
    pub(crate) fn seal(&self, arena: &mut [u8], packets: &mut [Packet]) {
        match self.instructions {
            _ if packets.is_empty() => {}
            Instructions::Avx512 => avx512::seal(self, arena, packets),
            Instructions::Avx2 => avx2::seal(self, arena, packets),
        }
    }

    /// Verifies the tags of some packets, not more than its limit, and then decrypts, in place, the texts of those whose tag is
    /// right. Bit `i` of the result says whether that of the packet with index `i` is. Changes their order.
    pub(crate) fn open(&self, arena: &mut [u8], packets: &mut [Packet]) -> u64 {
        match self.instructions {
            _ if packets.is_empty() => 0,
            Instructions::Avx512 => avx512::open(self, arena, packets),
            Instructions::Avx2 => avx2::open(self, arena, packets),
        }
    }
}

impl fmt::Debug for Wide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wide(..)")
    }
}
