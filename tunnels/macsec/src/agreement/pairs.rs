//! The keys that there are: pairs, one key for each direction, each the fruit of one handshake.
//!
//! Both sides may begin handshakes at once, and messages may be lost; then each side has pairs that the other lacks. So pairs
//! have an order that both sides know, and neither needs to know what the other has:
//!
//! - Each handshake has a generation, which the responder decides: above all that it knows, and not below what the
//!   initiator asked for, which is above all that that one knows. Of one generation can be at most two handshakes, one
//!   begun by each; of these the one of the greater public key is greater.
//! - A pair is usable once the peer surely receives with it: for the initiator when the response has come, for the responder
//!   when something authentic has come under it. We send with the greatest usable pair.
//! - So who sends with a pair never sends with a lesser one again. [`LINGER`] after the peer was heard under a pair, lesser
//!   ones are given up, and not before, unless they are [`REJECT_AFTER`] old.
//!
//! Association numbers are chosen by who receives under them, among those that it has free, and told in the handshake. So
//! they need no agreement, and none is taken from a key that is in use. There are enough: three pairs, and the handshake
//! that we have on its way. Should all be taken, the least pair goes before its time.

use std::sync::Arc;

use adit_noise::{PublicKey, Time};

use super::timers::{LINGER, REJECT_AFTER};
use super::{KeyChange, Output};
use crate::{An, KeyId, ReceiveKey, Sak, Sci, Ssci, TransmitKey};

/// Which of two pairs is greater: generation, then who began it.
type Order = (u64, PublicKey);

/// What a handshake brought.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) order: Order,
    /// Whether we began it.
    pub(crate) initiated: bool,
    pub(crate) born: Time,
    /// The peer's channel.
    pub(crate) sci: Sci,
    pub(crate) receive_an: An,
    pub(crate) receive: KeyId,
    pub(crate) transmit_an: An,
    /// Taken when we begin to send with it: so that happens once.
    transmit: Option<TransmitKey>,
    /// Whether the peer receives with it.
    usable: bool,
    /// Whether the peer was heard under it.
    pub(crate) heard: bool,
    retire_at: Time,
}

/// Both keys of a pair.
#[derive(Debug)]
pub(crate) struct Saks {
    pub(crate) receive: Arc<Sak>,
    pub(crate) receive_ssci: Option<Ssci>,
    pub(crate) transmit: Arc<Sak>,
    pub(crate) transmit_ssci: Option<Ssci>,
}

/// What tells a new pair from others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) generation: u64,
    pub(crate) initiator: PublicKey,
    pub(crate) initiated: bool,
    pub(crate) sci: Sci,
    pub(crate) receive_an: An,
    pub(crate) transmit_an: An,
}

#[derive(Debug, Default)]
pub(crate) struct Pairs {
    pairs: Vec<Pair>,
    /// The pair and the key that we send with.
    sending: Option<(Order, KeyId)>,
    generation: u64,
}

impl Pairs {
    /// The greatest generation that there ever was.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// The pair that we send with.
    pub(crate) fn sending(&self) -> Option<&Pair> {
        let (order, _) = self.sending?;
        self.pairs.iter().find(|pair| pair.order == order)
    }

    /// The key that we send with.
    pub(crate) fn sending_key(&self) -> Option<KeyId> {
        self.sending.map(|(_, id)| id)
    }

    /// An association to receive under that no pair has, nor the handshake on its way. If there is none, the least pair goes
    /// that we do not send with.
    pub(crate) fn vacate(&mut self, reserved: Option<An>, outputs: &mut impl Extend<Output>) -> An {
        loop {
            let taken = |an: An| reserved == Some(an) || self.pairs.iter().any(|pair| pair.receive_an == an);
            if let Some(free) = An::ALL.into_iter().find(|an| !taken(*an)) {
                return free;
            }
            let sending = self.sending.map(|(order, _)| order);
            let others = self.pairs.iter().map(|pair| pair.order).filter(|order| Some(*order) != sending);
            let Some(least) = others.min() else { return An::ALL[0] };
            self.retire_if(outputs, |pair| pair.order == least);
        }
    }

    /// Takes in a pair, and receives with it. One that we began is usable at once; one that the peer began takes the place
    /// of those that it began before and never used: it waits for one response only.
    pub(crate) fn add(&mut self, facts: Facts, saks: Saks, now: Time, outputs: &mut impl Extend<Output>) {
        if !facts.initiated {
            self.retire_if(outputs, |pair| !pair.initiated && !pair.usable);
        }
        let Facts { generation, initiator, initiated, sci, receive_an, transmit_an } = facts;
        self.generation = self.generation.max(generation);
        let Saks { receive, receive_ssci, transmit, transmit_ssci } = saks;
        self.pairs.push(Pair {
            order: (generation, initiator),
            initiated,
            born: now,
            sci,
            receive_an,
            receive: receive.id(),
            transmit_an,
            transmit: Some(TransmitKey { sak: transmit, ssci: transmit_ssci, next_pn: 1, bound: u64::MAX }),
            usable: initiated,
            heard: false,
            retire_at: now + REJECT_AFTER,
        });
        let key = ReceiveKey { sak: receive, ssci: receive_ssci, lowest_pn: 1 };
        outputs.extend([Output::Keys(KeyChange::Receive { sci, an: receive_an, key })]);
    }

    /// The peer was heard under a key: it has it, and has done with lesser ones. False if there is no such key, or it was
    /// heard before.
    pub(crate) fn heard(&mut self, id: KeyId, now: Time) -> bool {
        let Some(pair) = self.pairs.iter_mut().find(|pair| pair.receive == id && !pair.heard) else {
            return false;
        };
        (pair.usable, pair.heard) = (true, true);
        let (order, sci) = (pair.order, pair.sci);
        for lesser in self.pairs.iter_mut().filter(|pair| pair.order < order) {
            // A peer with another SCI began anew: nothing of before is under way.
            let end = if lesser.sci == sci { now + LINGER } else { now };
            lesser.retire_at = lesser.retire_at.min(end);
        }
        true
    }

    /// Sends with the greatest pair that is usable. True if that is another than before.
    pub(crate) fn select(&mut self, outputs: &mut impl Extend<Output>) -> bool {
        let usable = self.pairs.iter_mut().filter(|pair| pair.usable);
        let Some(greatest) = usable.max_by_key(|pair| pair.order) else { return false };
        if self.sending.is_some_and(|(order, _)| order >= greatest.order) {
            return false;
        }
        let Some(key) = greatest.transmit.take() else { return false };
        self.sending = Some((greatest.order, key.sak.id()));
        outputs.extend([Output::Keys(KeyChange::Transmit { an: greatest.transmit_an, key })]);
        true
    }

    /// Gives up the pairs whose time has come.
    pub(crate) fn handle_timeout(&mut self, now: Time, outputs: &mut impl Extend<Output>) {
        self.retire_if(outputs, |pair| pair.retire_at <= now);
    }

    /// When the next pair's time comes.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.pairs.iter().map(|pair| pair.retire_at).min()
    }

    /// Gives up all.
    pub(crate) fn clear(&mut self, outputs: &mut impl Extend<Output>) {
        self.retire_if(outputs, |_| true);
    }

    fn retire_if(&mut self, outputs: &mut impl Extend<Output>, which: impl Fn(&Pair) -> bool) {
        for pair in self.pairs.extract_if(.., |pair| which(pair)) {
            outputs.extend([Output::Keys(KeyChange::Retire(pair.receive))]);
            if let Some((_, id)) = self.sending.take_if(|(order, _)| *order == pair.order) {
                outputs.extend([Output::Keys(KeyChange::Retire(id))]);
            }
        }
    }
}
