//! What carries datagrams: UDP, in trains where the kernel can; or a link, where each is a frame, many to a system call.

use std::io::ErrorKind;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use adit_packet::{Ecn, Slot};
use adit_wireguard::Udp;

use super::train::{Train, run};
use super::{BATCH, Context, Framing, Inward, Outward, Path, READ, READS, Reason};
use crate::net::packet::{self, PacketSocket};
use crate::net::udp::{self, UdpSocket};

/// A worker's socket.
#[derive(Clone, Debug)]
pub enum Carrier {
    /// Datagrams over UDP.
    Udp(Arc<UdpSocket>),
    /// Frames of a link.
    Link {
        /// The socket.
        socket: Arc<PacketSocket>,
        /// Bytes of the longest frame that the link carries, with its header.
        longest: usize,
    },
}

impl AsFd for Carrier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Udp(socket) => socket.as_fd(),
            Self::Link { socket, .. } => socket.as_fd(),
        }
    }
}

impl<F: Framing> Outward<F> {
    /// Sends datagrams, equal lengths that follow one another as one train. False if there is no room.
    pub(super) fn send_datagrams<C>(
        &mut self,
        path: &Udp,
        slots: Range<usize>,
        socket: &UdpSocket,
        context: &mut Context<'_, F, C>,
    ) -> bool {
        let mut path = *path;
        while self.next.0 < slots.end {
            if !self.slots[self.next.0].kept {
                self.next.0 += 1;
                continue;
            }
            let trains = socket.sends_trains() && !self.apart && self.next.0 >= self.singly;
            let train =
                run(&self.slots[self.next.0..slots.end], if trains { udp::TRAIN_SEGMENTS } else { 1 });
            let slots = &self.slots[self.next.0..self.next.0 + train];
            let (first, last) = (slots[0], slots[train - 1]);
            match socket.send(&path, &self.arena[first.start..last.range().end], first.len, first.ecn) {
                Ok(()) => self.next.0 += train,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if train > 1 => {
                    // EIO is the interface's last word: it cannot make the checksums of a train.
                    if error.raw_os_error() == Some(libc::EIO) && !std::mem::replace(&mut self.apart, true) {
                        tracing::error!("trains of datagrams are refused; each is sent alone from now on");
                    }
                    self.singly = self.next.0 + train;
                }
                // The route chooses another local address.
                Err(error) if path.local.is_some() && udp::is_no_address(&error) => {
                    let group = &mut self.groups[self.next.1];
                    context.framing.forget_local(group.to, path);
                    path.local = None;
                    group.path = Some(Path::Udp(path));
                }
                Err(_) => {
                    context.drop(Reason::SendFailed, &self.arena[first.range()]);
                    self.next.0 += 1;
                }
            }
        }
        true
    }

    /// Sends frames, many with one system call. False if there is no room.
    pub(super) fn send_frames<C>(
        &mut self,
        slots: Range<usize>,
        socket: &PacketSocket,
        context: &mut Context<'_, F, C>,
    ) -> bool {
        while self.next.0 < slots.end {
            let left = &self.slots[self.next.0..slots.end];
            match socket.send(&mut self.frames, &self.arena, left) {
                Ok(sent) => {
                    if sent.lost > 0 {
                        context.drop_joined(Reason::SendFailed, sent.lost, &[]);
                    }
                    if sent.oversized > 0 {
                        context.drop_joined(Reason::Oversized, sent.oversized, &[]);
                    }
                    if sent.done == 0 {
                        return false;
                    }
                    self.next.0 += sent.done;
                }
                Err(packet::Error::Down | packet::Error::Gone) => {
                    context.drop_kept(Reason::NoCarrier, &self.arena, left);
                    return true;
                }
                Err(_) => {
                    context.drop(Reason::SendFailed, &self.arena[left[0].range()]);
                    self.next.0 += 1;
                }
            }
        }
        true
    }
}

impl<F: Framing> Inward<F> {
    pub(super) fn receive_datagrams(&mut self, socket: &UdpSocket) {
        for _ in 0..READS {
            if self.used >= BATCH {
                break;
            }
            match socket.receive(&mut self.arena[self.used..self.used + READ]) {
                Ok(received) => self.admit(&received),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // There is no more; or it is an error of an earlier datagram, and the socket goes on.
                Err(_) => break,
            }
        }
    }

    pub(super) fn receive_frames(&mut self, socket: &PacketSocket, longest: usize) {
        let room = longest + packet::TAG;
        while self.used < BATCH && self.trains.len() < READS {
            let mut slots = [Slot::default(); packet::BATCH];
            let count = ((self.arena.len() - self.used) / room).min(slots.len());
            for (at, slot) in slots[..count].iter_mut().enumerate() {
                (slot.start, slot.len) = (self.used + at * room, room);
            }
            // An error is that the link is down, which the control thread is told by others.
            let received =
                socket.receive(&mut self.frames, &mut self.arena, &mut slots[..count]).unwrap_or(0);
            for slot in &slots[..received] {
                let (start, end) = (slot.start, slot.range().end.min(self.arena.len()));
                let (stride, path, ecn) = ((end - start).max(1), Path::Link, Ecn::NotEct);
                self.trains.push(Train { start, end, stride, path, ecn, truncated: !slot.kept });
            }
            self.used += received * room;
            if received < count {
                break;
            }
        }
    }
}
