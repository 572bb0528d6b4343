//! What carries datagrams: UDP, or a link of its own.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use crate::net::packet::PacketSocket;
use crate::net::udp::UdpSocket;

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
