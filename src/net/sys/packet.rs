//! Packet sockets: what socket2 does not know of them (linux/if_packet.h), and many frames in one call.

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::check;

/// Frames that one call takes at most.
pub(crate) const BATCH: usize = 64;

/// What the kernel says beside a frame that had a VLAN tag.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct VlanTag {
    /// The tag's EtherType.
    pub(crate) kind: u16,
    /// Priority and number.
    pub(crate) control: u16,
}

/// What became of one frame.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Arrived {
    /// Bytes written to the arena.
    pub(crate) len: usize,
    /// There was no room for all of it.
    pub(crate) truncated: bool,
    /// The VLAN tag that the kernel took out of it.
    pub(crate) tag: Option<VlanTag>,
}

/// Room for one control message of the kernel's, `PACKET_AUXDATA`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; 64]);

/// What the kernel reads and writes beside the frames of a call. Kept from call to call, so that none allocates.
pub(crate) struct Headers {
    messages: Box<[libc::mmsghdr; BATCH]>,
    pieces: Box<[libc::iovec; BATCH]>,
    controls: Box<[Control; BATCH]>,
    /// How many frames the last call brought.
    count: usize,
}

// SAFETY: the pointers in it are written by each call before it hands them to the kernel, and are not followed afterwards.
unsafe impl Send for Headers {}

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Headers").finish_non_exhaustive()
    }
}

impl Headers {
    pub(crate) fn new() -> Self {
        // SAFETY: both are plain data for which all zeros is a valid value.
        let (message, piece): (libc::mmsghdr, libc::iovec) = unsafe { std::mem::zeroed() };
        Self {
            messages: Box::new([message; BATCH]),
            pieces: Box::new([piece; BATCH]),
            controls: Box::new([Control([0; 64]); BATCH]),
            count: 0,
        }
    }

    /// Points header `at` to `len` bytes from `base` on.
    fn point(&mut self, at: usize, base: *mut u8, len: usize, control: bool) {
        let piece = &mut self.pieces[at];
        *piece = libc::iovec { iov_base: base.cast(), iov_len: len };
        let header = &mut self.messages[at].msg_hdr;
        header.msg_iov = &raw mut *piece;
        header.msg_iovlen = 1;
        header.msg_flags = 0;
        let control = control.then(|| &mut self.controls[at].0);
        header.msg_controllen = control.as_ref().map_or(0, |control| control.len()) as _;
        header.msg_control = control.map_or(std::ptr::null_mut(), |control| control.as_mut_ptr().cast());
    }

    /// What the last call to [`receive`] brought.
    pub(crate) fn arrived(&self) -> impl Iterator<Item = Arrived> {
        (0..self.count).map(|at| self.arrival(at))
    }

    fn arrival(&self, at: usize) -> Arrived {
        let message = &self.messages[at];
        let truncated = message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        let mut arrived = Arrived { len: message.msg_len as usize, truncated, tag: None };
        // SAFETY: the kernel has written msg_controllen bytes of well-formed control messages into the buffer that
        // msg_control points to: one of ours, which is aligned and alive, or none.
        let control = unsafe { libc::CMSG_FIRSTHDR(&raw const message.msg_hdr) };
        if control.is_null() {
            return arrived;
        }
        // SAFETY: CMSG_FIRSTHDR returned a whole message, and one of this kind carries a tpacket_auxdata, which is read
        // without asking for alignment.
        let data = unsafe {
            let kind = ((*control).cmsg_level, (*control).cmsg_type);
            (kind == (libc::SOL_PACKET, libc::PACKET_AUXDATA))
                .then(|| libc::CMSG_DATA(control).cast::<libc::tpacket_auxdata>().read_unaligned())
        };
        arrived.tag = data
            .filter(|data| data.tp_status & libc::TP_STATUS_VLAN_VALID != 0)
            .map(|data| VlanTag { kind: data.tp_vlan_tpid, control: data.tp_vlan_tci });
        arrived
    }
}

/// Receives as many frames as there are, each into one of `places` of the arena, [`BATCH`] at most.
/// [`Headers::arrived`] then tells of each.
pub(crate) fn receive(
    fd: BorrowedFd<'_>,
    headers: &mut Headers,
    arena: &mut [u8],
    places: impl Iterator<Item = Range<usize>>,
    tags: bool,
) -> io::Result<()> {
    headers.count = 0;
    let mut count = 0;
    for (at, place) in places.take(BATCH).enumerate() {
        let place = arena.get_mut(place).ok_or_else(outside)?;
        headers.point(at, place.as_mut_ptr(), place.len(), tags);
        count = at + 1;
    }
    // SAFETY: the first `count` headers point to pieces of the arena, which is borrowed for writing, and to buffers of
    // `headers`, all with their true lengths. All of them outlive the call.
    headers.count = check(unsafe {
        let messages = headers.messages.as_mut_ptr();
        libc::recvmmsg(fd.as_raw_fd(), messages, count as u32, libc::MSG_DONTWAIT as _, std::ptr::null_mut())
    })? as usize;
    Ok(())
}

/// Sends the frames in `places` of the arena, [`BATCH`] at most, and returns how many left before one did not.
pub(crate) fn send(
    fd: BorrowedFd<'_>,
    headers: &mut Headers,
    arena: &[u8],
    places: impl Iterator<Item = Range<usize>>,
) -> io::Result<usize> {
    headers.count = 0;
    let mut count = 0;
    for (at, place) in places.take(BATCH).enumerate() {
        let place = arena.get(place).ok_or_else(outside)?;
        headers.point(at, place.as_ptr().cast_mut(), place.len(), false);
        count = at + 1;
    }
    // SAFETY: the first `count` headers point to pieces of the arena, with their true lengths, which outlive the call; the
    // kernel only reads them. To the headers themselves, which are ours, it writes how much left.
    let sent = check(unsafe {
        libc::sendmmsg(fd.as_raw_fd(), headers.messages.as_mut_ptr(), count as u32, libc::MSG_DONTWAIT as _)
    })?;
    Ok(sent as usize)
}

fn outside() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a slot is not within its arena")
}

/// Begins to receive frames of this EtherType, `ETH_P_ALL` for any, from this link.
pub(crate) fn bind(fd: BorrowedFd<'_>, link: u32, ether_type: u16) -> io::Result<()> {
    // SAFETY: sockaddr_ll is plain data for which all zeros is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = ether_type.to_be();
    address.sll_ifindex = link as i32;
    let size = size_of::<libc::sockaddr_ll>() as u32;
    // SAFETY: the pointer is to a live sockaddr_ll of this size, which the kernel only reads.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size) }).map(drop)
}

/// The link that a socket is bound to; `None` once that is gone.
pub(crate) fn link(fd: BorrowedFd<'_>) -> io::Result<Option<u32>> {
    // SAFETY: sockaddr_ll is plain data for which all zeros is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    let mut size = size_of::<libc::sockaddr_ll>() as u32;
    // SAFETY: the pointer is to a live sockaddr_ll, and the kernel writes no more than the size of one.
    check(unsafe { libc::getsockname(fd.as_raw_fd(), (&raw mut address).cast(), &raw mut size) })?;
    Ok(u32::try_from(address.sll_ifindex).ok().filter(|index| *index > 0))
}

/// Has the link take more than the frames to its own address: `PACKET_MR_PROMISC`, or `PACKET_MR_MULTICAST` with the
/// address of a group. It ends with the socket.
pub(crate) fn join(fd: BorrowedFd<'_>, link: u32, kind: i32, group: [u8; 6]) -> io::Result<()> {
    let [a, b, c, d, e, f] = group;
    let request = libc::packet_mreq {
        mr_ifindex: link as i32,
        mr_type: kind as u16,
        mr_alen: 6,
        mr_address: [a, b, c, d, e, f, 0, 0],
    };
    let size = size_of::<libc::packet_mreq>() as u32;
    let value = (&raw const request).cast();
    // SAFETY: the pointer is to a live packet_mreq of this size, which the kernel only reads.
    check(unsafe {
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, value, size)
    })
    .map(drop)
}

/// Frames that the socket had no room for since this was asked last.
pub(crate) fn take_lost(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut counts = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut size = size_of::<libc::tpacket_stats>() as u32;
    let value = (&raw mut counts).cast();
    // SAFETY: the pointer is to a live tpacket_stats, and the kernel writes no more than the size of one.
    check(unsafe {
        libc::getsockopt(fd.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS, value, &raw mut size)
    })?;
    Ok(counts.tp_drops)
}
