//! The transmit channel's associations (IEEE 802.1AE-2018, clause 10.5).

use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;

use adit_aead::Counter;

use crate::sak::Nonces;
use crate::{An, KeyId, Refused, Sak, Sci, Ssci, TransmitCounters};

/// What a transmit association is made of.
#[derive(Clone, Debug)]
pub struct TransmitKey {
    /// The key.
    pub sak: Arc<Sak>,
    /// Our short identifier under this key, with extended packet numbers.
    pub ssci: Option<Ssci>,
    /// The first packet number; all before were used, or are none. At least 1.
    pub next_pn: u64,
    /// Packet numbers from here on wait until [`TransmitSa::allow_below`]. `u64::MAX`: none does.
    pub bound: u64,
}

/// A transmit association: it gives each packet number once.
#[derive(Debug)]
pub struct TransmitSa {
    an: An,
    sak: Arc<Sak>,
    ssci: Option<Ssci>,
    nonces: Nonces,
    pn: Counter,
    bound: AtomicU64,
    told: AtomicBool,
    counters: TransmitCounters,
}

impl TransmitSa {
    /// `None` without the short identifier that the suite needs.
    pub(crate) fn new(an: An, sci: Sci, key: TransmitKey) -> Option<Self> {
        let TransmitKey { sak, ssci, next_pn, bound } = key;
        let nonces = sak.nonces(sci, ssci)?;
        let pn = Counter::starting_at(next_pn.max(1), sak.suite().pn_end());
        let (bound, told) = (AtomicU64::new(bound), AtomicBool::new(false));
        Some(Self { an, sak, ssci, nonces, pn, bound, told, counters: TransmitCounters::default() })
    }

    /// Its number.
    #[must_use]
    pub fn an(&self) -> An {
        self.an
    }

    /// Its key.
    #[must_use]
    pub fn sak(&self) -> &Arc<Sak> {
        &self.sak
    }

    /// Our short identifier under the key.
    #[must_use]
    pub fn ssci(&self) -> Option<Ssci> {
        self.ssci
    }

    /// The next packet number (nextPN).
    #[must_use]
    pub fn next_pn(&self) -> u64 {
        self.pn.used()
    }

    /// What was sent under it.
    #[must_use]
    pub fn counters(&self) -> &TransmitCounters {
        &self.counters
    }

    /// Lets packet numbers below `bound` be used, once that can be found again after a crash. It is never lowered.
    pub fn allow_below(&self, bound: u64) {
        self.bound.fetch_max(bound, Ordering::Relaxed);
    }

    /// True once three quarters of the packet numbers are used: a new key is due.
    #[must_use]
    pub fn is_rekey_due(&self) -> bool {
        self.next_pn() >= self.sak.suite().rekey_at()
    }

    /// True if no packet number is left.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.next_pn() >= self.sak.suite().pn_end()
    }

    /// The key, for the first who asks once a new one is due: that one tells the owner.
    pub(crate) fn tell_rekey(&self) -> Option<KeyId> {
        let first = self.is_rekey_due()
            && !self.told.load(Ordering::Relaxed)
            && !self.told.swap(true, Ordering::Relaxed);
        first.then(|| self.sak.id())
    }

    pub(crate) fn nonces(&self) -> &Nonces {
        &self.nonces
    }

    /// Takes packet numbers (clause 10.5.2).
    pub(crate) fn reserve(&self, count: u64) -> Result<Range<u64>, Refused> {
        let bound = self.bound.load(Ordering::Relaxed);
        self.pn.reserve_below(count, bound).ok_or_else(|| {
            let left = self.sak.suite().pn_end().saturating_sub(self.next_pn());
            if left < count { Refused::PnExhausted } else { Refused::PnBound }
        })
    }
}
