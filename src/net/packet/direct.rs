//! Sending past the system's queues, by AF_XDP.

use std::io::{self, ErrorKind};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use adit_packet::Slot;

use super::{Error, PacketSocket, Sent};
use crate::net::link;
use crate::net::sys::xdp::{CHUNK, Sender};

/// Octets of an Ethernet header with two VLAN tags.
const HEADER: usize = 14 + 8;
/// A driver without room does not say when it has some.
const PAUSE: Duration = Duration::from_micros(50);
/// So many pauses are waited for it.
const PAUSES: u32 = 100;

/// Sends the frames of one link. Threads take turns; one is usual.
#[derive(Debug)]
pub(super) struct Direct(Mutex<Sender>);

impl Direct {
    /// `None` for a link with longer frames, of which some would have to go another way and would come in another order; and
    /// where the kernel has no such sockets, or does not give us one.
    pub(super) fn open(link: u32) -> Option<Self> {
        let mtu = link::find_index(link).ok()?.mtu;
        if mtu + HEADER > CHUNK {
            return None;
        }
        Sender::open(link).ok().map(|sender| Self(Mutex::new(sender)))
    }

    /// As [`PacketSocket::send`], until a frame that is too long for this way.
    ///
    /// # Errors
    /// What is wrong with the link, of frames that were taken before: they wait for it.
    pub(super) fn send(&self, socket: &PacketSocket, arena: &[u8], frames: &[Slot]) -> Result<Sent, Error> {
        let mut sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What is left of an earlier call goes first, and tells of a link that is down.
        flush(&mut sender).map_err(|error| socket.error(error))?;
        let mut sent = Sent::default();
        while let Some(rest) = frames.get(sent.done..).filter(|rest| !rest.is_empty()) {
            let skipped = rest.iter().take_while(|frame| !frame.kept).count();
            let run = rest[skipped..].iter().take_while(|frame| frame.kept).map(Slot::range);
            let taken = sender.take(arena, run);
            sent.done += skipped + taken;
            // An error is told by the next call, which finds the frames that wait.
            if skipped + taken == 0 || flush(&mut sender).is_err() {
                break;
            }
        }
        Ok(sent)
    }

    /// Whether a frame is too long for this way.
    pub(super) fn is_too_long(frame: &Slot) -> bool {
        frame.kept && frame.len > CHUNK
    }
}

/// Sends what was taken, with patience for a driver that has no room; what is left then waits.
fn flush(sender: &mut Sender) -> io::Result<()> {
    for _ in 0..PAUSES {
        match sender.flush() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
            result => return result,
        }
    }
    Ok(())
}
