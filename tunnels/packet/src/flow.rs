//! The flows that a packet may still join.

use crate::candidate::Candidate;
use crate::coalesce::Limits;
use crate::ip::Version;
use crate::transport::Transport;

/// Flows kept open at a time. Packets come in bursts of few flows, and the search is linear.
const OPEN: usize = 16;

/// Linux takes no more datagrams than this in one UDP super-packet (`UDP_MAX_SEGMENTS`; newer kernels
/// take 128, but the device does not say which).
const MAX_UDP_SEGMENTS: usize = 64;

/// Which flow a packet belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Key {
    /// Bytes of the Ethernet header; 0 of a TUN device's packets.
    pub(crate) link: u8,
    pub(crate) version: Version,
    pub(crate) protocol: u8,
    /// Source and destination port as they adjoin in the header.
    pub(crate) ports: [u8; 4],
    /// Source and destination as they adjoin in the header; in IPv4 the rest is zero.
    pub(crate) addresses: [u8; 32],
}

impl Key {
    fn same_addresses(&self, other: &Self) -> bool {
        self.link == other.link && self.version == other.version && self.addresses == other.addresses
    }
}

/// An item that is still open, and what the packet that joins it has to look like.
#[derive(Debug)]
pub(crate) struct Flow {
    key: Key,
    /// Index of the item in the coalescer.
    pub(crate) item: usize,
    /// Where the item's first packet begins in the arena, behind its Ethernet header.
    first: usize,
    /// Bytes of payload of all packets but the last.
    size: usize,
    /// Packets so far.
    count: usize,
    /// Bytes of the super-packet so far, without an Ethernet header.
    len: usize,
    next_sequence: u32,
    next_id: u16,
}

impl Flow {
    /// A flow that begins with the packet at `first` in the arena.
    pub(crate) fn new(candidate: &Candidate, item: usize, first: usize) -> Self {
        Self {
            key: candidate.key,
            item,
            first,
            size: candidate.payload_len,
            count: 1,
            len: candidate.header_len + candidate.payload_len,
            next_sequence: candidate.next_sequence(),
            next_id: candidate.id.wrapping_add(1),
        }
    }

    /// Whether `packet`, of this flow and described by `candidate`, continues the item.
    pub(crate) fn accepts(
        &self,
        arena: &[u8],
        packet: &[u8],
        candidate: &Candidate,
        limits: &Limits,
    ) -> bool {
        let max_count = match candidate.transport {
            Transport::Tcp => limits.max_segments,
            Transport::Udp => limits.max_segments.min(MAX_UDP_SEGMENTS),
        };
        candidate.payload_len <= self.size
            && self.count < max_count
            && self.len + candidate.payload_len <= limits.max_len
            && candidate.sequence == self.next_sequence
            && (candidate.id == self.next_id || candidate.dont_fragment)
            && arena
                .get(self.first..self.first + candidate.header_len)
                .is_some_and(|first| candidate.same_header(first, packet))
    }

    /// Whether the Ethernet header `link`, as long as those of this flow are, is theirs.
    pub(crate) fn same_link(&self, arena: &[u8], link: &[u8]) -> bool {
        arena.get(..self.first).is_some_and(|ahead| ahead.ends_with(link))
    }

    /// Counts `candidate` in; returns whether another one may follow it.
    pub(crate) fn extend(&mut self, candidate: &Candidate) -> bool {
        self.count += 1;
        self.len += candidate.payload_len;
        self.next_sequence = candidate.next_sequence();
        self.next_id = candidate.id.wrapping_add(1);
        candidate.payload_len == self.size && !candidate.push
    }
}

/// The open flows, the most recently used one first.
#[derive(Debug)]
pub(crate) struct Flows(Vec<Flow>);

impl Flows {
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(OPEN))
    }

    /// The open flow of `key`, which becomes the first.
    pub(crate) fn find(&mut self, key: &Key) -> Option<&mut Flow> {
        let at = self.0.iter().position(|flow| flow.key == *key)?;
        if at > 0 {
            self.0.get_mut(..=at)?.rotate_right(1);
        }
        self.0.first_mut()
    }

    /// Opens a flow; the one unused for longest makes room.
    pub(crate) fn open(&mut self, flow: Flow) {
        self.0.truncate(OPEN - 1);
        self.0.insert(0, flow);
    }

    /// Lets nothing more join the item of `key`.
    pub(crate) fn close(&mut self, key: &Key) {
        self.0.retain(|flow| flow.key != *key);
    }

    /// Lets nothing more join any item between the addresses of `key`, this way.
    pub(crate) fn close_between(&mut self, key: &Key) {
        self.0.retain(|flow| !flow.key.same_addresses(key));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
