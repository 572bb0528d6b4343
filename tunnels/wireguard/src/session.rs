//! The data half: the keys of one session, shared by the workers (WireGuard paper, sections 5.4.5 and 5.4.6).

use core::time::Duration;
use std::sync::Arc;

use adit_aead::{Algorithm, Counter, Key, Secret, Span, TAG};
use adit_noise::Time;
use adit_packet::Slot;
use adit_replay::Window;

use crate::cipher::Usage;
use crate::message::DATA_HEADER;
use crate::sync::{AtomicBool, Mutex, Ordering, lock};
use crate::{Refused, Traffic, message, timers};

/// Packets verified between two looks at the replay window.
const CHUNK: usize = 64;

/// Keys of both directions. Immutable but for its send counter, its replay window and its confirmation.
#[derive(Debug)]
pub struct Session {
    peer: Arc<Traffic>,
    local: u32,
    remote: u32,
    seal: Key,
    open: Key,
    usage: Usage,
    sent: Counter,
    window: Mutex<Window>,
    born: Time,
    initiator: bool,
    confirmed: AtomicBool,
}

/// What a handshake yields for a session.
#[derive(Debug)]
pub struct Keys {
    /// The key we send with.
    pub send: Secret,
    /// The key we receive with.
    pub receive: Secret,
    /// The cipher of both.
    pub algorithm: Algorithm,
}

impl Session {
    /// Room that sealing needs ahead of a packet, in bytes.
    pub const HEAD: usize = DATA_HEADER;
    /// Room that sealing needs behind a packet, in bytes: padding to 16 and the tag.
    pub const TAIL: usize = 15 + TAG;

    /// What a datagram has beside the padded packet, in bytes: header and tag.
    pub const OVERHEAD: usize = DATA_HEADER + TAG;

    /// A session from a handshake: `local` is the index that the peer sends to us, `remote` the one we send to the
    /// peer.
    #[must_use]
    pub fn new(
        peer: Arc<Traffic>,
        keys: &Keys,
        local: u32,
        remote: u32,
        initiator: bool,
        born: Time,
    ) -> Self {
        let usage = Usage::of(keys.algorithm);
        Self {
            peer,
            local,
            remote,
            seal: Key::new(keys.algorithm, &keys.send),
            open: Key::new(keys.algorithm, &keys.receive),
            sent: Counter::new(usage.reject_after),
            usage,
            window: Mutex::new(Window::new()),
            born,
            initiator,
            confirmed: AtomicBool::new(initiator),
        }
    }

    /// The peer at the other end.
    #[must_use]
    pub fn peer(&self) -> &Arc<Traffic> {
        &self.peer
    }

    /// The index by which the peer's packets name this session.
    #[must_use]
    pub fn local_index(&self) -> u32 {
        self.local
    }

    /// The index that names the session to the peer.
    #[must_use]
    pub fn remote_index(&self) -> u32 {
        self.remote
    }

    /// True if we began the handshake: only the initiator renews by time, so that both ends do not (section 6.2).
    #[must_use]
    pub fn is_initiator(&self) -> bool {
        self.initiator
    }

    /// True if the handshake of this one ended later.
    #[must_use]
    pub fn is_newer_than(&self, other: &Self) -> bool {
        self.born > other.born
    }

    /// False once the keys are too old to be used (`REJECT_AFTER_TIME`).
    #[must_use]
    pub fn is_fresh(&self, now: Time) -> bool {
        self.age(now) < timers::REJECT_AFTER_TIME
    }

    /// True if the key may seal no more.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.sent.used() >= self.usage.reject_after
    }

    /// True if a packet sent now should bring about a new handshake.
    #[must_use]
    pub fn is_stale_for_sending(&self, now: Time) -> bool {
        self.sent.used() >= self.usage.rekey_after
            || (self.initiator && self.age(now) >= timers::REKEY_AFTER_TIME)
    }

    /// True if a packet received now should bring about a new handshake, lest the session end in the middle of a
    /// one-way flow.
    #[must_use]
    pub fn is_stale_for_receiving(&self, now: Time) -> bool {
        self.initiator && self.age(now) >= timers::REKEY_ON_RECEIVE_TIME
    }

    /// True for the first authentic packet on a session that the peer began: the peer has the keys, it may be sent
    /// with.
    pub fn confirm(&self) -> bool {
        !self.confirmed.load(Ordering::Relaxed) && !self.confirmed.swap(true, Ordering::AcqRel)
    }

    /// Length of the datagram that carries a packet of `len` bytes: padded to 16, never past the MTU.
    #[must_use]
    pub fn sealed_len(len: usize, mtu: usize) -> usize {
        let padded = len.next_multiple_of(16).min(mtu.max(len));
        DATA_HEADER + padded + TAG
    }

    /// Seals packets in place. Each slot then is the datagram. Between packets there must be [`Self::HEAD`]
    /// and [`Self::TAIL`].
    ///
    /// # Errors
    /// [`Refused::Exhausted`] if the key may not seal so many more, [`Refused::Length`] if a slot leaves the arena or
    /// lacks the room around it. Nothing is sealed then, and none of the slots may be sent.
    pub fn seal(&self, arena: &mut [u8], slots: &mut [Slot], mtu: usize) -> Result<(), Refused> {
        let numbers = self.sent.reserve(slots.len() as u64).ok_or(Refused::Exhausted)?;
        for (slot, number) in slots.iter_mut().zip(numbers) {
            let sealed = Self::sealed_len(slot.len, mtu);
            let start = slot.start.checked_sub(DATA_HEADER).ok_or(Refused::Length)?;
            let datagram = arena.get_mut(start..start + sealed).ok_or(Refused::Length)?;
            message::emit_data(datagram, self.remote, number, slot.len);
            *slot = Slot { start, len: sealed, number, ..*slot };
        }
        self.seal.seal_batch(arena, slots.iter().map(|slot| self.span(slot)));
        Ok(())
    }

    /// Opens datagrams in place: each slot that is kept then is the packet inside, still padded; empty for a keepalive.
    /// `refused` hears why each of the others was dropped, and its bytes: the packet inside if that is a replayed one, else
    /// the datagram, of which nothing behind the header means anything any more. The replay window is looked at after the
    /// tags were verified.
    pub fn open(&self, arena: &mut [u8], slots: &mut [Slot], mut refused: impl FnMut(Refused, &[u8])) {
        for slots in slots.chunks_mut(CHUNK) {
            let mut authentic = 0_u64;
            let spans = slots.iter().map(|slot| self.span(slot));
            self.open.open_batch(arena, spans, |at, ok| authentic |= u64::from(ok) << at);
            let mut window = lock(&self.window);
            for (at, slot) in slots.iter_mut().enumerate() {
                let verdict = if slot.number >= self.usage.reject_after {
                    Err(Refused::Exhausted)
                } else if authentic & (1 << at) == 0 {
                    Err(Refused::Auth)
                } else {
                    window.accept(slot.number).map_err(|_| Refused::Replay)
                };
                let datagram = slot.range();
                slot.kept = verdict.is_ok();
                slot.start += DATA_HEADER;
                slot.len = slot.len.saturating_sub(DATA_HEADER + TAG);
                if let Err(reason) = verdict {
                    let opened = reason == Refused::Replay && slot.len > 0;
                    let dropped = if opened { slot.range() } else { datagram };
                    refused(reason, arena.get(dropped).unwrap_or_default());
                }
            }
        }
    }

    fn age(&self, now: Time) -> Duration {
        now.since(self.born)
    }

    /// What the cipher works on in a datagram.
    fn span(&self, slot: &Slot) -> Span {
        Span {
            start: slot.start + DATA_HEADER,
            len: slot.len.saturating_sub(DATA_HEADER),
            nonce: self.usage.nonce(slot.number),
            aad: 0,
        }
    }
}

// Under loom, sessions exist in models only.
#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::PeerId;

    fn session(algorithm: Algorithm) -> Session {
        let secret = || Secret::from([1; 32]);
        let keys = Keys { send: secret(), receive: secret(), algorithm };
        Session::new(Arc::new(Traffic::new(PeerId::new(1), None)), &keys, 1, 2, false, Time::from_secs(1))
    }

    #[test]
    fn a_session_is_renewed_and_ended_after_as_many_messages_as_its_cipher_bears() {
        for (algorithm, rekey, reject) in [
            (Algorithm::ChaCha20Poly1305, 1 << 60, u64::MAX - (1 << 13)),
            (Algorithm::Aes256Gcm, 1 << 28, 1 << 30),
        ] {
            let session = session(algorithm);
            let now = Time::from_secs(1);
            session.sent.reserve(rekey - 1).unwrap();
            assert!(!session.is_stale_for_sending(now));
            session.sent.reserve(1).unwrap();
            assert!(session.is_stale_for_sending(now) && !session.is_exhausted());
            session.sent.reserve(reject - rekey).unwrap();
            assert!(session.is_exhausted());
            let mut slots = [Slot { start: Session::HEAD, len: 16, ..Slot::default() }];
            assert_eq!(session.seal(&mut [0; 99], &mut slots, 1420), Err(Refused::Exhausted));
        }
    }

    #[test]
    fn a_number_beyond_the_limit_is_refused_even_if_it_is_authentic() {
        for (algorithm, reject) in
            [(Algorithm::ChaCha20Poly1305, u64::MAX - (1 << 13)), (Algorithm::Aes256Gcm, 1 << 30)]
        {
            // Sealed by hand: a session would not.
            let receiver = session(algorithm);
            for (number, expected) in [(reject - 1, None), (reject, Some(Refused::Exhausted))] {
                let mut arena = [0; DATA_HEADER + 16 + TAG];
                message::emit_data(&mut arena, 1, number, 16);
                let mut slots = [Slot { start: 0, len: arena.len(), number, ..Slot::default() }];
                receiver.open.seal_batch(&mut arena, slots.iter().map(|slot| receiver.span(slot)));
                let mut refused = None;
                receiver.open(&mut arena, &mut slots, |reason, _| refused = Some(reason));
                assert_eq!(refused, expected, "{algorithm:?}");
            }
        }
    }
}
