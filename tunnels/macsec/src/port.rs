//! The data half: what the workers share of a SecY.

use std::sync::Arc;

use crate::sci::ADDRESS;
use crate::sectag::{ICV, Tci};
use crate::{
    An, KeyId, ReceiveSc, Sci, SecTag, SecyCounters, Settings, TransmitCounters, TransmitSa, ValidateFrames,
};

/// Both addresses of a frame.
pub(crate) const ADDRESSES: usize = 2 * ADDRESS;
/// A VLAN tag.
const VLAN_TAG: usize = 4;
/// What begins one: that of customers, that of services (IEEE 802.1Q-2018, table 9-1).
const VLAN_TYPES: [[u8; 2]; 2] = [[0x81, 0x00], [0x88, 0xa8]];

/// The Controlled Port of a SecY at one moment: what it sends with and what it receives with. Immutable but for counters,
/// packet numbers and replay windows; each change of the [`SecY`](crate::SecY) makes another.
///
/// Workers hold it by `Arc` and take the next one between two batches. Channels and associations that stay are the same
/// in both.
#[derive(Clone, Debug)]
pub struct ControlledPort {
    pub(crate) settings: Settings,
    pub(crate) counters: Arc<SecyCounters>,
    pub(crate) transmit_counters: Arc<TransmitCounters>,
    pub(crate) transmit: Option<Arc<TransmitSa>>,
    /// In the order of their identifiers.
    pub(crate) receive: Vec<ReceiveSc>,
}

impl ControlledPort {
    /// Room that sealing needs ahead of a frame, in octets.
    pub const HEAD: usize = SecTag::MAX;
    /// Room that sealing needs behind a frame, in octets.
    pub const TAIL: usize = ICV;

    /// A port that neither sends nor receives.
    pub(crate) fn new(settings: Settings) -> Self {
        let (counters, transmit_counters) = (Arc::default(), Arc::default());
        Self { settings, counters, transmit_counters, transmit: None, receive: Vec::new() }
    }

    /// What it was made with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Octets that sealing adds to a frame.
    #[must_use]
    pub fn overhead(&self) -> usize {
        self.tci(An::ALL[0]).tag_len() + ICV
    }

    /// Counters of the SecY.
    #[must_use]
    pub fn counters(&self) -> &SecyCounters {
        &self.counters
    }

    /// Counters of the transmit channel.
    #[must_use]
    pub fn transmit_counters(&self) -> &TransmitCounters {
        &self.transmit_counters
    }

    /// The association that frames are sent under (encodingSA).
    #[must_use]
    pub fn transmit(&self) -> Option<&Arc<TransmitSa>> {
        self.transmit.as_ref()
    }

    /// The receive channels, in the order of their identifiers.
    #[must_use]
    pub fn receive(&self) -> &[ReceiveSc] {
        &self.receive
    }

    /// The key that we send with, for the first who asks once three quarters of its packet numbers are used: that one tells
    /// the owner that a new key is due.
    #[must_use]
    pub fn tell_rekey(&self) -> Option<KeyId> {
        self.transmit()?.tell_rekey()
    }

    /// Whether everything that is not authentic is dropped.
    pub(crate) fn is_strict(&self) -> bool {
        self.settings.validate_frames == ValidateFrames::Strict
    }

    /// The TCI of what we send, without the bits of its protection (clause 10.5.3).
    pub(crate) fn tci(&self, an: An) -> Tci {
        Tci::new(self.settings.sci_encoding.bits(), an)
    }

    /// Whether some suite in use counts in 64 bits.
    pub(crate) fn is_xpn(&self) -> bool {
        let receive = self.receive.iter().flat_map(ReceiveSc::associations).map(|sa| sa.sak());
        receive.chain(self.transmit().map(|sa| sa.sak())).any(|sak| sak.suite().is_xpn())
    }

    /// The channel of this identifier, and its place.
    pub(crate) fn channel(&self, sci: Sci) -> Option<(usize, &ReceiveSc)> {
        let at = self.receive.binary_search_by_key(&sci, ReceiveSc::sci).ok()?;
        Some((at, self.receive.get(at)?))
    }

    /// Octets of the VLAN tags that a frame begins with and that stay in clear.
    pub(crate) fn clear_len(&self, frame: &[u8]) -> usize {
        let tags = frame.get(ADDRESSES..).unwrap_or_default().chunks_exact(VLAN_TAG);
        let is_tag = |tag: &&[u8]| VLAN_TYPES.iter().any(|ethertype| tag.starts_with(ethertype));
        VLAN_TAG * tags.take(self.settings.clear_tags.into()).take_while(is_tag).count()
    }
}

/// Moves the `clear` octets of VLAN tags from behind the addresses to before them. The tags are no part of the protected
/// frame: what is below the SecY puts them there (clause 11), so what is authenticated must be in one piece without them.
pub(crate) fn tags_first(header: Option<&mut [u8]>, clear: usize) {
    if let Some(header) = header.filter(|header| clear <= header.len()) {
        header.rotate_right(clear);
    }
}

/// Moves them back.
pub(crate) fn addresses_first(header: Option<&mut [u8]>, clear: usize) {
    if let Some(header) = header.filter(|header| clear <= header.len()) {
        header.rotate_left(clear);
    }
}
