//! ChaCha20-Poly1305 (RFC 8439) over many packets at once, for processors with AVX-512 and IFMA.
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

#[cfg_attr(not(target_arch = "x86_64"), path = "wide/nowhere.rs")]
mod avx512;

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::Secret;

/// Packets that are worked on at once.
pub(crate) const PACKETS: usize = 16;
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
    avx512::is_there() && ON.load(Ordering::Relaxed)
}

/// A packet to be worked on. Its text and its tag lie within the arena, and no packets overlap.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "nobody works on it"))]
pub(crate) struct Packet {
    /// Names it to the caller; below [`PACKETS`].
    pub(crate) index: usize,
    /// Where its text begins.
    pub(crate) start: usize,
    /// Bytes of text; the tag follows. At most [`LONGEST`].
    pub(crate) len: usize,
    /// Its nonce, and four zeros.
    pub(crate) nonce: [u8; 16],
}

/// A key. That there is one shows that the processor has what is needed.
///
/// It is boxed, so that it stays in one place and is wiped there, however often its owner moves.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Wide {
    key: [u32; 8],
}

impl Wide {
    /// A key, or `None` if the processor lacks an instruction or the wide cipher is off.
    pub(crate) fn new(secret: &Secret) -> Option<Box<Self>> {
        let mut wide = has_wide().then(|| Box::new(Self { key: [0; 8] }))?;
        for (word, bytes) in wide.key.iter_mut().zip(secret.as_bytes().as_chunks().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        Some(wide)
    }

    /// Encrypts the texts of at most [`PACKETS`] packets in place, and writes the tags behind them. Changes their order.
    pub(crate) fn seal(&self, arena: &mut [u8], packets: &mut [Packet]) {
        avx512::seal(self, arena, packets);
    }

    /// Verifies the tags of at most [`PACKETS`] packets, and then decrypts, in place, the texts of those whose tag is right.
    /// Bit `i` of the result says whether that of the packet with index `i` is. Changes their order.
    pub(crate) fn open(&self, arena: &mut [u8], packets: &mut [Packet]) -> u16 {
        avx512::open(self, arena, packets)
    }
}

impl fmt::Debug for Wide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wide(..)")
    }
}
