//! Receive channels and their associations (IEEE 802.1AE-2018, clause 10.6).

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::sak::Nonces;
use crate::window::{ReceiveWindow, recover};
use crate::{An, KeyId, ReceiveCounters, Replay, Sak, Sci, Ssci};

/// What a receive association is made of.
#[derive(Clone, Debug)]
pub struct ReceiveKey {
    /// The key.
    pub sak: Arc<Sak>,
    /// The sender's short identifier under this key, with extended packet numbers.
    pub ssci: Option<Ssci>,
    /// The lowest packet number that is acceptable. At least 1.
    pub lowest_pn: u64,
}

/// A receive association.
#[derive(Debug)]
pub struct ReceiveSa {
    an: An,
    sak: Arc<Sak>,
    ssci: Option<Ssci>,
    nonces: Nonces,
    enforced: bool,
    window: Mutex<ReceiveWindow>,
    /// Of the window, for who does not want to wait for it. It may lag behind.
    reference: AtomicU64,
    confirmed: AtomicBool,
    counters: ReceiveCounters,
}

impl ReceiveSa {
    /// `None` without the short identifier that the suite needs.
    pub(crate) fn new(an: An, sci: Sci, key: ReceiveKey, replay: Replay) -> Option<Self> {
        let ReceiveKey { sak, ssci, lowest_pn } = key;
        let nonces = sak.nonces(sci, ssci)?;
        let window = ReceiveWindow::new(replay, lowest_pn.max(1));
        Some(Self {
            an,
            sak,
            ssci,
            nonces,
            enforced: replay != Replay::Off,
            reference: AtomicU64::new(window.reference()),
            window: Mutex::new(window),
            confirmed: AtomicBool::new(false),
            counters: ReceiveCounters::default(),
        })
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

    /// The sender's short identifier under the key.
    #[must_use]
    pub fn ssci(&self) -> Option<Ssci> {
        self.ssci
    }

    /// The packet number that is expected next (nextPN).
    #[must_use]
    pub fn next_pn(&self) -> u64 {
        self.window().next()
    }

    /// The lowest packet number that is acceptable (lowestPN), as MKA announces it.
    #[must_use]
    pub fn lowest_pn(&self) -> u64 {
        self.window().lowest()
    }

    /// What was received under it.
    #[must_use]
    pub fn counters(&self) -> &ReceiveCounters {
        &self.counters
    }

    /// Whether an authentic frame has come under it: the sender has the key.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.confirmed.load(Ordering::Relaxed)
    }

    /// The key, for the first who asks after an authentic frame has come.
    pub(crate) fn confirm(&self) -> Option<KeyId> {
        let first = !self.is_confirmed() && !self.confirmed.swap(true, Ordering::Relaxed);
        first.then(|| self.sak.id())
    }

    pub(crate) fn nonces(&self) -> &Nonces {
        &self.nonces
    }

    /// The whole packet number of a frame.
    pub(crate) fn recover(&self, low: u32) -> u64 {
        if self.sak.suite().is_xpn() {
            recover(low, self.reference.load(Ordering::Relaxed))
        } else {
            low.into()
        }
    }

    /// The preliminary replay check: true if no cipher need look at the frame (clause 10.6.2).
    pub(crate) fn is_late(&self, pn: u64) -> bool {
        self.enforced && pn < self.reference.load(Ordering::Relaxed)
    }

    /// The window, also after another thread panicked: it is whole after every statement.
    pub(crate) fn window(&self) -> MutexGuard<'_, ReceiveWindow> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who do not wait for the window how far it has come.
    pub(crate) fn publish(&self, window: &ReceiveWindow) {
        self.reference.store(window.reference(), Ordering::Relaxed);
    }
}

/// A receive channel: another station's frames.
#[derive(Clone, Debug)]
pub struct ReceiveSc {
    sci: Sci,
    associations: [Option<Arc<ReceiveSa>>; 4],
    counters: Arc<ReceiveCounters>,
}

impl ReceiveSc {
    pub(crate) fn new(sci: Sci) -> Self {
        Self { sci, associations: Default::default(), counters: Arc::default() }
    }

    /// Its identifier.
    #[must_use]
    pub fn sci(&self) -> Sci {
        self.sci
    }

    /// Its associations that have a key.
    pub fn associations(&self) -> impl Iterator<Item = &Arc<ReceiveSa>> {
        self.associations.iter().flatten()
    }

    /// What was received on it.
    #[must_use]
    pub fn counters(&self) -> &ReceiveCounters {
        &self.counters
    }

    /// The association of this number.
    #[must_use]
    pub fn association(&self, an: An) -> Option<&Arc<ReceiveSa>> {
        self.associations.get(an.index())?.as_ref()
    }

    /// Puts an association where it belongs; the one that was there goes.
    pub(crate) fn install(&mut self, sa: Arc<ReceiveSa>) -> Option<Arc<ReceiveSa>> {
        self.associations.get_mut(sa.an.index())?.replace(sa)
    }

    /// Takes away those with this key: how many there were.
    pub(crate) fn retire(&mut self, id: KeyId) -> usize {
        let with_key = |sa: &mut Arc<ReceiveSa>| sa.sak.id() == id;
        self.associations.iter_mut().filter_map(|place| place.take_if(with_key)).count()
    }
}
