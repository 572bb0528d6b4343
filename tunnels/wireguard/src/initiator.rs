//! The handshakes that we begin (WireGuard paper, sections 5.4.2 and 5.4.3).

use std::sync::Arc;

use adit_aead::Secret;
use adit_noise::{Initiator, Now, Split};
use adit_packet::Ecn;

use crate::device::{Device, jitter};
use crate::handshake::{Pending, Step};
use crate::message::{self, Fields};
use crate::peer::Peer;
use crate::{Cipher, Endpoint, Keys, Output, Refused, Session};

impl Peer {
    /// Begins a handshake unless one runs; then that one has its whole time ahead again.
    pub(crate) fn begin(&mut self, device: &mut Device, now: Now) {
        if !device.up || device.identity.is_none() || self.endpoint().is_none() {
            return self.traffic.clear_want();
        }
        self.handshake.begin(now.mono);
        self.advance(device, now);
    }

    /// Sends an initiation, again and again, or gives up, when the time for it has come.
    pub(crate) fn advance(&mut self, device: &mut Device, now: Now) {
        match self.handshake.step(now.mono) {
            Step::Wait => {}
            Step::Abandon => self.abandon(device),
            Step::Initiate { again } => {
                if again {
                    self.forget_local();
                }
                if self.initiate(device, now).is_none() {
                    self.abandon(device);
                }
            }
        }
    }

    /// Our own address on the path may be what keeps answers away.
    pub(crate) fn forget_local(&self) {
        // A worker may see the peer roam at the same time: that must not be undone.
        self.traffic.endpoint.update(|endpoint| endpoint.map(Endpoint::without_local));
    }

    /// Sends an initiation. `None` if that is not possible: no endpoint, a public key that is no key, no random
    /// numbers.
    fn initiate(&mut self, device: &mut Device, now: Now) -> Option<()> {
        let to = self.endpoint()?;
        let stamp = self.handshake.next_stamp(now.wall);
        let index = device.indexes.assign(self.id())?;
        let cipher = device.cipher;
        let started = device.identity.as_ref().and_then(|identity| {
            let mut datagram = vec![0; message::INITIATION];
            let noise = message::emit_initiation(&mut datagram, index)?;
            let (private, remote) = (&identity.private, &self.public_key);
            Initiator::start(cipher.protocol(), private, remote, &self.preshared_key, &stamp.0, noise)
                .ok()
                .map(|initiator| (initiator, datagram))
        });
        let Some((initiator, datagram)) = started else {
            device.indexes.release(index);
            return None;
        };
        let pending = Pending { index, initiator, cipher };
        if let Some(before) = self.handshake.initiated(pending, jitter(), now.mono) {
            device.indexes.release(before);
        }
        self.send_handshake(to, datagram, device, now);
        Some(())
    }

    /// Completes a handshake message with its MACs, and sends it.
    pub(crate) fn send_handshake(
        &mut self,
        to: Endpoint,
        mut datagram: Vec<u8>,
        device: &mut Device,
        now: Now,
    ) {
        // Neither fails: the message has room for both.
        let _ = self.mac.stamp_mac1(&mut datagram);
        let _ = self.jar.stamp_mac2(&mut datagram, now.mono);
        self.traffic.note_sent(datagram.len() as u64, false, now.mono);
        device.push(Output::Transmit { to, ecn: Ecn::NotEct, datagram });
    }

    /// Consumes the response to our initiation. A forged one leaves the handshake as it was.
    pub(crate) fn handle_response(
        &mut self,
        from: Endpoint,
        fields: Fields<'_>,
        device: &mut Device,
        now: Now,
    ) -> Result<(), Refused> {
        let index = fields.receiver;
        let pending = self.handshake.take_pending(index).ok_or(Refused::UnknownIndex)?;
        let cipher = pending.cipher;
        let split = match pending.initiator.finish(fields.noise) {
            Ok(split) => split,
            Err((initiator, _)) => {
                self.handshake.put_back(Pending { index, initiator, cipher });
                return Err(Refused::BadHandshake);
            }
        };
        self.heard(from, message::RESPONSE, now);
        let session = self.session(&split, index, fields.sender, true, cipher, now);
        self.establish(session, device, now);
        Ok(())
    }

    /// Consumes a cookie reply to what we last sent. The cookie goes into the next message; this does not hasten it.
    pub(crate) fn handle_cookie_reply(&mut self, reply: &[u8], now: Now) -> Result<(), Refused> {
        self.jar.open_reply(reply, now.mono).map_err(|_| Refused::CookieStale)
    }

    /// An authentic handshake message came from there: that is where the peer is now.
    pub(crate) fn heard(&self, from: Endpoint, len: usize, now: Now) {
        self.traffic.endpoint.set(Some(from));
        self.traffic.note_received(len as u64, false, now.mono);
    }

    pub(crate) fn session(
        &self,
        split: &Split,
        local: u32,
        remote: u32,
        initiator: bool,
        cipher: Cipher,
        now: Now,
    ) -> Session {
        let keys = Keys {
            send: Secret::from(&*split.send),
            receive: Secret::from(&*split.receive),
            algorithm: cipher.algorithm(),
        };
        let traffic = Arc::clone(&self.traffic);
        Session::new(traffic, &keys, local, remote, initiator, now.mono)
    }

    /// Gives the handshake up, and with it what waited for it.
    fn abandon(&mut self, device: &mut Device) {
        self.end_attempt(device);
        self.traffic.clear_owed();
        self.traffic.clear_unanswered();
        self.drop_staged(Refused::HandshakeAbandoned, device);
    }

    /// Drops the packets that wait.
    pub(crate) fn drop_staged(&mut self, reason: Refused, device: &mut Device) {
        match self.staging.clear(&mut device.budget) {
            0 => {}
            count => device.push(Output::Dropped(reason, count)),
        }
    }
}
