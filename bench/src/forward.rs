//! Frames of a TAP device through a packet socket as they are: an encrypted link without its cipher, to compare with one.
//!
//! ```text
//!  TAP ── super-packet ── cut ── DA SA 88e5 type … ──▶ packet socket ── link
//!  TAP ◀─ super-packet ── joined ── DA SA type … ◀──── packet socket ── link
//! ```
//! The EtherType of MACsec goes ahead of a frame's own, as a SecTAG would, so that the socket of that one EtherType takes all
//! frames, and nothing is copied that a link would not copy.

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::BorrowedFd;
use std::thread::yield_now;

use adit::net::offload::Offloads;
use adit::net::packet::{BATCH, Batch, EtherType, Options, PacketSocket};
use adit::net::tun::TunQueue;
use adit_packet::{Coalescer, Limits, Slot, VirtioNetHdr, segment_frame, virtio};
use rustix::event::{PollFd, PollFlags, poll};

/// Bytes that go ahead of a frame's own EtherType.
const MARK: usize = 2;
/// Octets of destination and source.
const ADDRESSES: usize = 12;
/// Room in front of a frame: the mark, or the virtio-net header while it is read.
const HEAD: usize = 16;
/// Bytes that one read may bring: a super-packet and what stands before it.
const READ: usize = 1 << 17;
/// Bytes of frames that are gathered before they are sent.
const GATHER: usize = 1 << 16;
/// Frames that one super-packet to the device joins at most.
const JOIN: usize = 128;
/// Bytes of an Ethernet header with two VLAN tags.
const ETHERNET: usize = 14 + 8;

/// Opens the packet socket of a link as an encrypted link does; frames leave past the queue if asked for and possible.
///
/// # Errors
/// There is no such link, or what else the kernel says.
pub fn carrier(link: &str, bypass_queue: bool) -> io::Result<PacketSocket> {
    let index = adit::net::link::find(link)?.index;
    let options = Options { promiscuous: true, bypass_queue, ..Options::default() };
    PacketSocket::open(index, EtherType::Macsec, &options).map_err(io::Error::other)
}

/// From the device to the link, until either is gone.
///
/// # Errors
/// What ended it.
pub fn outward(tap: &TunQueue, link: &PacketSocket) -> io::Result<()> {
    let (mut arena, mut slots, mut batch) = (vec![0; GATHER + 2 * READ], Vec::new(), Batch::default());
    loop {
        gather(tap, &mut arena, &mut slots)?;
        if slots.is_empty() {
            wait(tap)?;
            continue;
        }
        let mut rest = slots.as_slice();
        while !rest.is_empty() {
            let sent = link.send(&mut batch, &arena, rest).map_err(io::Error::other)?;
            rest = rest.get(sent.done..).unwrap_or_default();
            if !rest.is_empty() {
                // Without room after that time the send tells why.
                let _ = link.wait_for_room();
            }
        }
    }
}

/// Reads frames until there are no more or enough, cuts super-packets, and marks each frame.
fn gather(tap: &TunQueue, arena: &mut [u8], slots: &mut Vec<Slot>) -> io::Result<()> {
    slots.clear();
    let mut used = 0;
    while used < GATHER && slots.len() < BATCH {
        let start = used + HEAD;
        let Some(buffer) = arena.get_mut(start - virtio::LEN..start + READ) else { break };
        let len = match tap.read(buffer) {
            Ok(read) => read.saturating_sub(virtio::LEN),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        };
        let header = VirtioNetHdr::parse(buffer).unwrap_or_default();
        let room = arena.get_mut(start..).unwrap_or_default();
        let Ok(segments) = segment_frame(room, len, &header, |len| len + HEAD) else { continue };
        for (offset, len) in segments.iter() {
            let at = start + offset;
            if let Some(frame) = arena.get_mut(at - MARK..at + len) {
                frame.copy_within(MARK..MARK + ADDRESSES, 0);
                frame[ADDRESSES..ADDRESSES + MARK].copy_from_slice(&(EtherType::Macsec as u16).to_be_bytes());
            }
            slots.push(Slot { start: at - MARK, len: len + MARK, kept: true, ..Slot::default() });
            used = at + len;
        }
    }
    Ok(())
}

/// From the link to the device, until either is gone. Frames have `mtu` bytes behind their Ethernet header at most.
///
/// # Errors
/// What ended it.
pub fn inward(link: &PacketSocket, tap: &TunQueue, mtu: usize, offloads: &Offloads) -> io::Result<()> {
    let room = (ETHERNET + MARK + mtu).next_multiple_of(64);
    let (mut arena, mut batch) = (vec![0; BATCH * room], Batch::default());
    let (tcp, udp) = (offloads.tun_tso, offloads.tun_uso);
    let limits = Limits { tcp, udp, max_segments: JOIN, capacity: BATCH, ..Limits::default() };
    let mut joined = Coalescer::new(limits);
    loop {
        let mut slots: [_; BATCH] =
            std::array::from_fn(|at| Slot { start: at * room, len: room, ..Slot::default() });
        let count = link.receive(&mut batch, &mut arena, &mut slots).map_err(io::Error::other)?;
        if count == 0 {
            wait(link)?;
            continue;
        }
        joined.clear();
        for slot in slots.iter().take(count).filter(|slot| slot.kept && slot.len > MARK) {
            if let Some(frame) = arena.get_mut(slot.range()).filter(|frame| frame.len() >= ADDRESSES + MARK) {
                frame.copy_within(0..ADDRESSES, MARK);
                // There is room for all that one call receives.
                let _ = joined.push_frame(&arena, slot.start + MARK..slot.range().end);
            }
        }
        joined.finish(&mut arena);
        deliver(&joined, &arena, tap);
    }
}

/// Writes each joined run of frames. What the device refuses is lost.
fn deliver(joined: &Coalescer, arena: &[u8], tap: &TunQueue) {
    for (header, frames) in joined.items() {
        let header = header.to_bytes();
        let mut pieces = [IoSlice::new(&[]); JOIN + 1];
        pieces[0] = IoSlice::new(&header);
        let mut count = 1;
        for (place, piece) in pieces.iter_mut().skip(1).zip(frames) {
            *place = IoSlice::new(arena.get(piece).unwrap_or_default());
            count += 1;
        }
        let _ = tap.write(&pieces[..count]);
    }
}

/// Waits until there is something to read. Whoever waits for this processor goes first: it may bring more.
fn wait(queue: &impl std::os::fd::AsFd) -> io::Result<()> {
    yield_now();
    let fd: BorrowedFd<'_> = queue.as_fd();
    rustix::io::retry_on_intr(|| poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], None))?;
    Ok(())
}
