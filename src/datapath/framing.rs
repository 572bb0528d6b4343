//! What differs between the tunnels that the data path carries.

use std::fmt;
use std::ops::Range;

use adit_packet::{Coalescer, Ecn, Error, Refused, Segments, Slot, VirtioNetHdr};
use adit_wireguard::Udp;

use super::{Context, Reason};

/// Where datagrams come from and go to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Path {
    /// Over UDP.
    Udp(Udp),
    /// On a link, where frames themselves say whom they are for.
    Link,
    /// A station of a link, by its address: for what is no data.
    Station([u8; 6]),
}

/// What became of packets that were to be sealed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sealed {
    /// Those that are kept go this way.
    To(Path),
    /// None goes anywhere: each was counted, or left to the control thread.
    Nowhere,
    /// There may be something to seal with by now: once the mailbox was read they are to be sealed again.
    Again,
}

/// What a datagram is, or a frame from a link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sorted<S> {
    /// To be opened, with others from the same source.
    Data {
        /// The source.
        source: S,
        /// How many bytes come before what is opened.
        lead: usize,
        /// Its number, if that is known already.
        number: u64,
    },
    /// For the control thread.
    Handshake,
    /// For nobody.
    Refused(Reason),
}

/// How packets become datagrams and datagrams packets, and what a worker has to know for it. Each direction of a worker has
/// its own.
pub trait Framing: fmt::Debug + Send + 'static {
    /// Whom packets are for.
    type To: Copy + fmt::Debug + PartialEq + Send;
    /// Whose datagrams are.
    type Source: Copy + fmt::Debug + PartialEq + Send;
    /// A change to what is known.
    type Change: Clone + fmt::Debug + Send;
    /// What the control thread is told.
    type Note: fmt::Debug + Send;

    /// Bytes of room that sealing needs behind a packet.
    const TAIL: usize;

    /// Bytes of room that sealing needs ahead of a packet, no less than a virtio-net header takes.
    fn head(&self) -> usize;

    /// Bytes of the datagram that a packet of `len` bytes becomes.
    fn sealed_len(&self, len: usize, mtu: usize) -> usize;

    /// Takes note of a change.
    fn apply(&mut self, change: Self::Change);

    /// Whom a packet from the device is for.
    ///
    /// # Errors
    /// Why it goes no further.
    fn route(&self, packet: &[u8]) -> Result<Self::To, Reason>;

    /// Cuts a super-packet where it is, and completes checksums.
    ///
    /// # Errors
    /// It cannot be what its header says.
    fn cut(
        bytes: &mut [u8],
        len: usize,
        header: &VirtioNetHdr,
        stride: impl FnOnce(usize) -> usize,
    ) -> Result<Segments, Error>;

    /// The congestion mark that the datagram of a packet gets (RFC 6040).
    fn ecn(packet: &[u8]) -> Ecn;

    /// Seals packets in place. Those that do not leave are counted, and not kept.
    fn seal<C>(
        to: Self::To,
        arena: &mut [u8],
        slots: &mut [Slot],
        context: &mut Context<'_, Self, C>,
    ) -> Sealed
    where
        Self: Sized;

    /// The kernel did not take the local address of a path: it may be gone.
    fn forget_local(&mut self, to: Self::To, gone: Udp);

    /// What the worker has to send of its own, behind what was sent before: a packet as the device would hand it over.
    fn own(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// Looks at what a datagram says it is.
    fn sort(&self, datagram: &[u8]) -> Sorted<Self::Source>;

    /// Opens datagrams in place. Those that are kept then are packets for the device, others were counted. What whoever sends
    /// has to know before these packets are delivered and answered is returned.
    fn open<C>(
        source: Self::Source,
        path: Path,
        arena: &mut [u8],
        slots: &mut [Slot],
        context: &mut Context<'_, Self, C>,
    ) -> Option<Self::Change>
    where
        Self: Sized;

    /// Adds a packet to those that are joined for the device.
    ///
    /// # Errors
    /// It cannot be a packet.
    fn join(joined: &mut Coalescer, arena: &[u8], packet: Range<usize>) -> Result<(), Refused>;
}
