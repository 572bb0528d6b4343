//! Messages of the key agreement on raw Ethernet: a socket and a thread of their own, however many frames wait.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

use adit_macsec::agreement::message::{ETHERTYPE, Message};
use adit_packet::{Slot, ethernet};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::datapath::Reason;
use crate::net::packet::{self, Batch, EtherType, Options, PAE_GROUP, PacketSocket};

/// Octets of a slot: a message with its Ethernet header and a VLAN tag, and more than that.
const ROOM: usize = 512;

/// A message and the station that it came from; or a frame that holds none, and why it is dropped.
pub(super) type Heard<'a> = Result<([u8; 6], &'a [u8]), (Reason, &'a [u8])>;

/// The socket, and the thread that reads it. Dropping it ends the thread.
#[derive(Debug)]
pub(super) struct Listener {
    socket: Arc<PacketSocket>,
    batch: Batch,
    bell: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Listens on a link. `tell` is handed whatever comes.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn start(
        link: u32,
        outer_tag: bool,
        tell: impl Fn(Heard<'_>) + Send + 'static,
    ) -> Result<Self, packet::Error> {
        let options = Options { outer_tag, group: Some(PAE_GROUP), promiscuous: true, ..Options::default() };
        let socket = Arc::new(PacketSocket::open(link, EtherType::Noise, &options)?);
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).map_err(io::Error::from)?);
        let run = {
            let (socket, bell) = (socket.clone(), bell.clone());
            move || {
                if let Err(error) = listen(&socket, &bell, &tell) {
                    tracing::debug!("the key agreement hears nothing more: {error}");
                }
            }
        };
        let thread = std::thread::Builder::new().name("agreement".into()).spawn(run)?;
        Ok(Self { socket, batch: Batch::default(), bell, thread: Some(thread) })
    }

    /// Sends a message to a station, or to a group of them.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn send(&mut self, from: [u8; 6], to: [u8; 6], message: &[u8]) -> Result<(), packet::Error> {
        let kind = ETHERTYPE.to_be_bytes();
        let frame = [&to[..], &from, &kind, message].concat();
        let slot = Slot { start: 0, len: frame.len(), kept: true, ..Slot::default() };
        let sent = self.socket.send(&mut self.batch, &frame, &[slot])?;
        // What is behind data that fills the line waits a little, and is worth it.
        if sent.done == 0 && self.socket.wait_for_room() {
            self.socket.send(&mut self.batch, &frame, &[slot])?;
        }
        Ok(())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // The only failure is a counter at its limit: the bell rings then already.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread of the key agreement panicked");
        }
    }
}

/// Reads until the bell rings, or the link is gone.
fn listen(socket: &PacketSocket, bell: &OwnedFd, tell: &impl Fn(Heard<'_>)) -> Result<(), packet::Error> {
    let (mut batch, mut arena) = (Batch::default(), vec![0; packet::BATCH * ROOM]);
    loop {
        let fds = &mut [
            PollFd::from_borrowed_fd(bell.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN),
        ];
        rustix::io::retry_on_intr(|| poll(fds, None)).map_err(io::Error::from)?;
        if fds[0].revents().contains(PollFlags::IN) {
            return Ok(());
        }
        let mut slots: [Slot; packet::BATCH] =
            std::array::from_fn(|at| Slot { start: at * ROOM, len: ROOM, ..Slot::default() });
        let received = match socket.receive(&mut batch, &mut arena, &mut slots) {
            Err(packet::Error::Down) => 0,
            received => received?,
        };
        for slot in slots.iter().take(received) {
            let frame = arena.get(slot.start..slot.range().end.min(arena.len())).unwrap_or_default();
            let reason = if slot.kept { Reason::NotMacsec } else { Reason::Truncated };
            tell(message(frame).filter(|_| slot.kept).ok_or((reason, frame)));
        }
    }
}

/// The sender and the message of a frame, behind a VLAN tag or not.
fn message(frame: &[u8]) -> Option<([u8; 6], &[u8])> {
    let station = frame.get(6..12)?.try_into().ok()?;
    let kind = ETHERTYPE.to_be_bytes();
    let header = [ethernet::LEN, ethernet::LEN + ethernet::TAG_LEN];
    let header = header.into_iter().find(|end| frame.get(end - 2..*end) == Some(&kind))?;
    Some((station, Message::trim(frame.get(header..)?)?))
}
