//! The raw Ethernet carrier: sockets for the frames of an encrypted link (packet(7)).
//!
//! ```text
//!             ETH_P_ALL                       one EtherType
//!   link ──┬──────────────▶ guard (ingress) ──────────────▶ nobody else
//!          ▼  clone              │ drop           ▼
//!      outer tags kept                        no outer tag
//! ```
//!
//! There is one socket for each [`EtherType`], so that key agreement has a queue of its own, however many data frames wait.
//! Without outer tags a socket is bound to its EtherType: the kernel hands each frame over as it is, and nothing else of the
//! link passes this way. But a frame with a VLAN tag loses it there: the kernel takes the tag out of the frame, and drops
//! what it says before it looks for a receiver. So [with outer tags](Options::outer_tag) a socket is bound to `ETH_P_ALL`,
//! with a filter, and the tag is put back. That has a price: each frame of the link, in and out, runs through the filter,
//! and each that it takes is cloned, because the guard and the stack look at it as well.
//!
//! Receive offloads of the link leave these frames as they are: GRO has no rule for their EtherTypes, LRO is for TCP.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use adit_packet::Slot;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, SockFilter, Socket, Type};

use self::direct::Direct;
use super::sys::option;
use super::sys::packet::{self, Headers, VlanTag};

/// Frames that one call receives at most.
pub const BATCH: usize = packet::BATCH;
/// Bytes at the beginning of a slot that a tag may take, when [outer tags](Options::outer_tag) are kept.
pub const TAG: usize = 4;
/// The group that key agreement of 802.1X is sent to: nearest non-TPMR bridge, "PAE group address" (802.1X, clause 11.1.1).
pub const PAE_GROUP: [u8; 6] = [0x01, 0x80, 0xc2, 0x00, 0x00, 0x03];

/// Octets of destination and source, which a VLAN tag follows.
const ADDRESSES: usize = 12;
/// Bytes of socket buffer asked for, as for UDP.
const BUFFER: i32 = 768 << 10;
/// Bytes of receive buffer. A frame takes more of it than its length, and there are no trains: it holds 1,800 frames of 1,518
/// octets, or 450 of 9,018, which is 5 ms (`bench/results/raw-ethernet.md`).
const RECEIVE_BUFFER: i32 = 2 << 20;

/// What may be on the wire of an encrypted link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u16)]
pub enum EtherType {
    /// A protected frame (IEEE 802.1AE).
    Macsec = 0x88e5,
    /// Key agreement (IEEE 802.1X).
    Eapol = 0x888e,
    /// The Noise handshake between two adits, in the range for local experiments (IEEE 802, clause 9.2.4).
    Noise = 0x88b5,
}

impl EtherType {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Macsec, Self::Eapol, Self::Noise];
}

/// How a socket is opened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Options {
    /// Frames may have one VLAN tag before their EtherType, in clear. It is received as part of the frame, for which each
    /// slot has [`TAG`] bytes more.
    pub outer_tag: bool,
    /// The link takes frames to any address. Behind the TAP there are hosts, and frames go to theirs.
    pub promiscuous: bool,
    /// The link takes frames to this group, [`PAE_GROUP`] for one.
    pub group: Option<[u8; 6]>,
    /// Frames go straight to the driver by AF_XDP, where the kernel has it and the link's MTU is 2,026 bytes at most: a tenth
    /// more of them, and more than that where a guard looks at what leaves. They wait in no queue of the system's, no queueing discipline shares the line, and neither the guard nor
    /// anything else on this machine (tcpdump) sees them leave. What is longer than the link's MTU is lost without a word,
    /// and that the link is down or gone is told one call later.
    pub bypass_queue: bool,
}

/// Why nothing could be received or sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The link is set down. Once it is up again the socket works as before.
    #[error("the link is down")]
    Down,
    /// The link is deleted, or in another network namespace. The socket is of no use any more.
    #[error("the link is gone")]
    Gone,
    /// Anything else that the kernel says.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What became of frames to be sent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sent {
    /// How many are done with, from the first on. What remains had no room: [wait](PacketSocket::wait_for_room) for it.
    pub done: usize,
    /// Of these, how many were dropped on the way out: the queue or the driver had no room, or a filter refused them.
    pub lost: usize,
    /// Of these, how many were longer than the link's MTU lets through.
    pub oversized: usize,
}

/// A socket for the frames of one EtherType on one link. One thread may receive while another sends.
#[derive(Debug)]
pub struct PacketSocket {
    socket: Socket,
    outer_tag: bool,
    direct: Option<Direct>,
}

/// What a thread needs beside the frames to receive or send many of them in one call. Made once.
#[derive(Debug)]
pub struct Batch(Headers);

impl Default for Batch {
    fn default() -> Self {
        Self(Headers::new())
    }
}

impl PacketSocket {
    /// Opens a socket on the link of this number. It takes `CAP_NET_RAW`.
    ///
    /// # Errors
    /// [`Error::Gone`] if there is no such link; otherwise what the kernel says.
    pub fn open(link: u32, ether_type: EtherType, options: &Options) -> Result<Self, Error> {
        // Deaf until it is bound, so that nothing is received that the filter has not seen.
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), None)?;
        let fd = socket.as_fd();
        option::set_buffers(fd, BUFFER)?;
        option::set(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, RECEIVE_BUFFER)
            .or_else(|_| option::set(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, RECEIVE_BUFFER))?;
        let set = |name, value| option::set(fd, libc::SOL_PACKET, name, value);
        let join = |kind, group| packet::join(fd, link, kind, group);
        let protocol = if options.outer_tag {
            socket.attach_filter(&filter(ether_type as u16))?;
            set(libc::PACKET_AUXDATA, 1)?;
            // Linux 4.20. It spares a look at each frame that leaves; the filter refuses those anyhow.
            let _ = set(libc::PACKET_IGNORE_OUTGOING, 1);
            libc::ETH_P_ALL as u16
        } else {
            ether_type as u16
        };
        packet::bind(fd, link, protocol).map_err(|error| Self::error_of(fd, error))?;
        if options.promiscuous {
            join(libc::PACKET_MR_PROMISC, [0; 6])?;
        }
        if let Some(group) = options.group {
            join(libc::PACKET_MR_MULTICAST, group)?;
        }
        // Without it frames go by the queue.
        let direct = options.bypass_queue.then(|| Direct::open(link)).flatten();
        Ok(Self { socket, outer_tag: options.outer_tag, direct })
    }

    /// Receives as many frames as there are, and as there are slots, [`BATCH`] at most. Each slot says where in the arena it
    /// has room, and then where its frame is. One that there was too little room for is not [kept](Slot::kept). Returns how
    /// many slots were used; 0 if no frame is there.
    ///
    /// # Errors
    /// [`Error`]. That the link is set down is told once, by whichever call comes first; then nothing comes.
    pub fn receive(&self, batch: &mut Batch, arena: &mut [u8], slots: &mut [Slot]) -> Result<usize, Error> {
        let room = if self.outer_tag { TAG } else { 0 };
        let places = slots.iter().map(|slot| slot.start.saturating_add(room)..slot.range().end);
        match packet::receive(self.as_fd(), &mut batch.0, arena, places, self.outer_tag) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            result => result.map_err(|error| self.error(error))?,
        }
        let mut count = 0;
        for (slot, arrived) in slots.iter_mut().zip(batch.0.arrived()) {
            (slot.start, slot.len, slot.kept) = (slot.start + room, arrived.len, !arrived.truncated);
            if let Some(tag) = arrived.tag {
                put_back(tag, arena, slot);
            }
            count += 1;
        }
        Ok(count)
    }

    /// Sends frames from where they lie; those that are not [kept](Slot::kept) are passed over.
    ///
    /// # Errors
    /// [`Error`], if it concerns the first frame; otherwise the call that brings the rest tells it.
    pub fn send(&self, batch: &mut Batch, arena: &[u8], frames: &[Slot]) -> Result<Sent, Error> {
        let mut sent = Sent::default();
        if let Some(direct) = &self.direct {
            sent = direct.send(self, arena, frames)?;
            if !frames.get(sent.done).is_some_and(Direct::is_too_long) {
                return Ok(sent);
            }
        }
        while let Some(rest) = frames.get(sent.done..).filter(|rest| !rest.is_empty()) {
            let run = rest.iter().take_while(|frame| frame.kept).map(Slot::range);
            if rest.first().is_some_and(|frame| !frame.kept) {
                sent.done += 1;
                continue;
            }
            match packet::send(self.as_fd(), &mut batch.0, arena, run) {
                Ok(count) => sent.done += count,
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => break,
                    Some(libc::ENOBUFS) => (sent.done, sent.lost) = (sent.done + 1, sent.lost + 1),
                    Some(libc::EMSGSIZE) => (sent.done, sent.oversized) = (sent.done + 1, sent.oversized + 1),
                    _ if sent.done > 0 => break,
                    _ => return Err(self.error(error)),
                },
            }
        }
        Ok(sent)
    }

    /// Whether frames [pass the queue by](Options::bypass_queue).
    #[must_use]
    pub fn bypasses_queue(&self) -> bool {
        self.direct.is_some()
    }

    /// Frames that the socket had no room for since this was asked last.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn take_lost(&self) -> io::Result<u32> {
        packet::take_lost(self.as_fd())
    }

    /// Whether the link is gone. A socket whose link was down before that hears nothing of it otherwise.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn is_gone(&self) -> io::Result<bool> {
        Ok(packet::link(self.as_fd())?.is_none())
    }

    /// Waits a few milliseconds for room to send. False if there is none then.
    #[must_use]
    pub fn wait_for_room(&self) -> bool {
        let patience = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
        poll(&mut [PollFd::new(self, PollFlags::OUT)], Some(&patience)).is_ok_and(|ready| ready > 0)
    }

    fn error(&self, error: io::Error) -> Error {
        Self::error_of(self.as_fd(), error)
    }

    fn error_of(fd: BorrowedFd<'_>, error: io::Error) -> Error {
        match error.raw_os_error() {
            // A link that is deleted is set down first.
            Some(libc::ENETDOWN) if packet::link(fd).is_ok_and(|link| link.is_some()) => Error::Down,
            Some(libc::ENETDOWN | libc::ENXIO | libc::ENODEV) => Error::Gone,
            _ => Error::Io(error),
        }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Puts a tag back between a frame's addresses and its EtherType. There is room for it before the frame.
fn put_back(tag: VlanTag, arena: &mut [u8], slot: &mut Slot) {
    slot.start -= TAG;
    slot.len += TAG;
    let [k0, k1] = tag.kind.to_be_bytes();
    let [c0, c1] = tag.control.to_be_bytes();
    if let Some(head) = arena.get_mut(slot.range()).and_then(|frame| frame.first_chunk_mut()) {
        let moved: &mut [u8; TAG + ADDRESSES] = head;
        moved.copy_within(TAG.., 0);
        moved[ADDRESSES..].copy_from_slice(&[k0, k1, c0, c1]);
    }
}

/// What comes from the wire and has this EtherType, behind a VLAN tag or not: the kernel has taken the first tag out.
fn filter(ether_type: u16) -> [SockFilter; 6] {
    const LOAD_HALF: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let packet_type = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE) as u32;
    [
        SockFilter::new(LOAD_HALF, 0, 0, packet_type),
        SockFilter::new(EQUAL, 3, 0, u32::from(libc::PACKET_OUTGOING)),
        SockFilter::new(LOAD_HALF, 0, 0, ADDRESSES as u32),
        SockFilter::new(EQUAL, 0, 1, u32::from(ether_type)),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

mod direct;

#[cfg(test)]
mod tests;
