//! The handshakes that others begin (WireGuard paper, sections 5.4.2, 5.4.3 and 5.4.7).

use std::collections::BTreeMap;

use adit_noise::{Now, Responder, Tai64n, Time};
use adit_packet::Ecn;

use crate::device::{Device, Identity, source};
use crate::message::{self, Fields};
use crate::peer::Peer;
use crate::{Cipher, Endpoint, Output, PeerId, Refused};

/// An initiation that was made for us, by somebody who holds the private key of `public_key`. It may still be a replay.
pub(crate) struct Initiation {
    pub(crate) public_key: adit_noise::PublicKey,
    stamp: Tai64n,
    /// The index that the response goes to.
    sender: u32,
    responder: Responder,
    /// The cipher that it was made under.
    cipher: Cipher,
}

impl Initiation {
    /// Decrypts an initiation.
    pub(crate) fn open(fields: Fields<'_>, identity: &Identity, cipher: Cipher) -> Result<Self, Refused> {
        let (responder, public_key, stamp) =
            Responder::receive(cipher.protocol(), &identity.private, fields.noise)
                .map_err(|_| Refused::BadHandshake)?;
        Ok(Self { public_key, stamp: Tai64n(stamp), sender: fields.sender, responder, cipher })
    }
}

impl Peer {
    /// Consumes an initiation of this peer and sends the response. The session is told of before the response leaves,
    /// since packets may follow it back at once.
    pub(crate) fn respond(
        &mut self,
        from: Endpoint,
        initiation: Initiation,
        device: &mut Device,
        now: Now,
    ) -> Result<(), Refused> {
        self.handshake.consume(initiation.stamp, now.mono)?;
        self.heard(from, message::INITIATION, now);
        let local = device.indexes.assign(self.id()).ok_or(Refused::NoEntropy)?;
        let mut datagram = vec![0; message::RESPONSE];
        let split = message::emit_response(&mut datagram, local, initiation.sender)
            .and_then(|noise| initiation.responder.respond(&self.preshared_key, noise).ok());
        let Some(split) = split else {
            device.indexes.release(local);
            return Err(Refused::BadHandshake);
        };
        self.handshake.responded(now.mono);
        let session = self.session(&split, local, initiation.sender, false, initiation.cipher, now);
        self.establish(session, device, now);
        self.send_handshake(from, datagram, device, now);
        Ok(())
    }
}

impl Device {
    /// Lets an initiation or a response pass to the costly part only if its sender knows our public key; and under load
    /// only if it also receives at its address, and does not come too often. Whether it only has another cipher is looked at
    /// when there is time for it.
    pub(crate) fn admit(
        &mut self,
        from: Endpoint,
        message: &[u8],
        sender: u32,
        under_load: bool,
        peers: &BTreeMap<PeerId, Peer>,
        now: Time,
    ) -> Result<(), Refused> {
        let identity = self.identity.as_mut().ok_or(Refused::NoPrivateKey)?;
        if identity.mac.verify_mac1(message).is_err() {
            let other = !under_load && identity.other_mac.verify_mac1(message).is_ok();
            return Err(if other { Refused::OtherCipher } else { Refused::BadMac1 });
        }
        if !under_load {
            return Ok(());
        }
        let source = source(from.remote());
        let cookies = &mut identity.cookies;
        if cookies.verify_mac2(message, &source, now).is_ok() {
            return match self.sources.allow(from.remote().ip(), now) {
                true => Ok(()),
                false => Err(Refused::RateLimited),
            };
        }
        if self.replies.is_ignorant(now) {
            self.replies.learn(peers.values().filter_map(Peer::endpoint).map(|path| path.remote()), now);
        }
        if !self.replies.allow(from.remote(), now) {
            return Err(Refused::UnderLoad);
        }
        let reply = cookies.make_reply(message, &source, now).map_err(|_| Refused::NoEntropy)?;
        self.push(Output::Transmit {
            to: from,
            ecn: Ecn::NotEct,
            datagram: message::emit_cookie_reply(sender, &reply),
        });
        Err(Refused::UnderLoad)
    }
}
