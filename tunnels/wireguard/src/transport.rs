//! A peer's sessions: how they come, change places and go, and the packets that the control half sends on them.

use std::sync::Arc;

use adit_noise::Now;
use adit_packet::Ecn;

use crate::device::Device;
use crate::peer::Peer;
use crate::{Output, Refused, Session, staging, timers};

impl Peer {
    /// Takes in the session of a handshake. If we began it, it is sent with at once: what waited, or a keepalive that
    /// tells the peer that its response arrived.
    pub(crate) fn establish(&mut self, session: Session, device: &mut Device, now: Now) {
        let session = Arc::new(session);
        let local = session.local_index();
        let initiator = session.is_initiator();
        device.push(Output::Session(local, Some(Arc::clone(&session))));
        let retired = if initiator {
            self.keypairs.add_initiated(session)
        } else {
            self.keypairs.add_responded(session)
        };
        retire(retired.into_iter().flatten(), device);
        self.erase_at = Some(now.mono + timers::REJECT_AFTER_TIME * 3);
        if initiator {
            self.complete(device, now);
            self.send_keepalive(device, now);
            self.publish_current(device);
        }
    }

    /// The first packet came in on a session that the peer began: it replaces the one we send with.
    pub(crate) fn confirm(&mut self, local: u32, device: &mut Device, now: Now) {
        let Some(retired) = self.keypairs.confirm(local) else {
            return;
        };
        retire(retired.into_iter().flatten(), device);
        self.complete(device, now);
        self.flush(device, now);
        self.publish_current(device);
    }

    /// Takes in a packet for which a worker had no session.
    pub(crate) fn handle_unsent(
        &mut self,
        packet: &[u8],
        device: &mut Device,
        now: Now,
    ) -> Result<(), Refused> {
        if !device.up {
            return Err(Refused::Down);
        }
        if device.identity.is_none() {
            return Err(Refused::NoPrivateKey);
        }
        if self.endpoint().is_none() {
            return Err(Refused::NoEndpoint);
        }
        let dropped = self.staging.push(packet, &mut device.budget);
        // The session may have come while the packet was on its way here.
        self.flush(device, now);
        match dropped {
            0 => Ok(()),
            1 => Err(Refused::StagingFull),
            more => {
                device.push(Output::Dropped(Refused::StagingFull, more - 1));
                Err(Refused::StagingFull)
            }
        }
    }

    /// A worker asks for a new session. It may have looked at one that was replaced since.
    pub(crate) fn handle_want(&mut self, device: &mut Device, now: Now) {
        let at = now.mono;
        let stale =
            |session: &Session| session.is_stale_for_sending(at) || session.is_stale_for_receiving(at);
        match self.usable(now) {
            Some(session) if !stale(&session) => self.traffic.clear_want(),
            Some(_) | None => self.begin(device, now),
        }
    }

    /// Both ends have the keys: nobody needs to try any more.
    fn complete(&mut self, device: &mut Device, now: Now) {
        self.end_attempt(device);
        self.last_handshake = Some(now.wall);
        self.last_handshake_at = Some(now.mono);
        device.handshakes += 1;
    }

    /// Ends the handshake that runs, if any.
    pub(crate) fn end_attempt(&mut self, device: &mut Device) {
        if let Some(index) = self.handshake.end() {
            device.indexes.release(index);
        }
        self.traffic.clear_want();
    }

    /// Ends all sessions and the handshake that runs: the keys are worth nothing any more. Packets go on waiting.
    pub(crate) fn end_sessions(&mut self, device: &mut Device) {
        self.end_attempt(device);
        self.handshake.forget_last_sent();
        self.erase(device);
    }

    /// Erases the keys of all sessions.
    pub(crate) fn erase(&mut self, device: &mut Device) {
        self.erase_at = None;
        if self.keypairs.current().is_some() {
            device.push(Output::Current(self.id(), None));
        }
        retire(self.keypairs.clear(), device);
    }

    /// Sends an empty packet, unless others wait to be sent. Without a session, begins a handshake.
    pub(crate) fn send_keepalive(&mut self, device: &mut Device, now: Now) {
        if !self.staging.is_empty() {
            return self.flush(device, now);
        }
        match self.usable(now) {
            Some(session) => self.send(&session, &[], device, now),
            None => self.begin(device, now),
        }
    }

    /// Sends the packets that wait. Without a session, begins a handshake.
    pub(crate) fn flush(&mut self, device: &mut Device, now: Now) {
        while let Some(session) = self.usable(now) {
            match self.staging.pop(&mut device.budget) {
                Some(packet) => self.send(&session, &packet, device, now),
                None => return,
            }
        }
        if !self.staging.is_empty() {
            self.begin(device, now);
        }
    }

    /// The session to send with, while it may be used.
    fn usable(&self, now: Now) -> Option<Arc<Session>> {
        let current = self.keypairs.current()?;
        (current.is_fresh(now.mono) && !current.is_exhausted()).then(|| Arc::clone(current))
    }

    /// Sends one packet; an empty one is a keepalive.
    fn send(&mut self, session: &Session, packet: &[u8], device: &mut Device, now: Now) {
        let Some(to) = self.endpoint() else {
            return device.push(Output::Dropped(Refused::NoEndpoint, 1));
        };
        match staging::seal(session, packet, device.mtu) {
            Ok(datagram) => {
                let bytes = datagram.len() as u64;
                self.traffic.note_sent(bytes, !packet.is_empty(), now.mono);
                device.push(Output::Transmit { to, ecn: Ecn::of(packet), datagram });
            }
            Err(reason) => device.push(Output::Dropped(reason, 1)),
        }
        if session.is_stale_for_sending(now.mono) {
            self.begin(device, now);
        }
    }

    fn publish_current(&self, device: &mut Device) {
        let current = self.keypairs.current().cloned();
        device.push(Output::Current(self.id(), current));
    }
}

/// Packets that name these sessions are accepted no more.
fn retire(sessions: impl Iterator<Item = Arc<Session>>, device: &mut Device) {
    for session in sessions {
        device.indexes.release(session.local_index());
        device.push(Output::Session(session.local_index(), None));
    }
}
