//! Both sides of the handshake.

use adit_noise::{Initiator, MACSEC, Now, PublicKey, Responder, Split, Tai64n};

use super::attempt::Pending;
use super::derive::Direction;
use super::message::{self, Fields, GREETING, emit_initiation, emit_response};
use super::pairs::{Facts, Saks};
use super::terms::Terms;
use super::{Agreement, Output, Refused, Source};
use crate::{An, Sci};

impl Agreement {
    /// Sends an initiation. If that is not possible (no random numbers, a public key that is no key), it is tried again later.
    pub(super) fn initiate(&mut self, now: Now) {
        let an = self.attempt.reserved().unwrap_or_else(|| self.pairs.vacate(None, &mut self.outputs));
        let stamp = self.attempt.next_stamp(now.wall);
        let terms = self.terms(self.pairs.generation().saturating_add(1), an);
        let payload = [&stamp.0[..], &terms.emit()].concat();
        let started = getrandom::u32().ok().and_then(|index| {
            let config = &self.config;
            let (message, initiator) = emit_initiation(index, |out| {
                let (private, remote, preshared) = (&config.private, &config.remote, &config.preshared);
                Initiator::start_with(&MACSEC, private, remote, preshared, &payload, out).ok()
            })?;
            Some((message, Pending { index, initiator, an }))
        });
        let (message, pending) = started.unzip();
        if let (Some(message), Some(pending)) = (message, &pending) {
            self.send(message, pending.index, now);
        }
        self.attempt.initiated(pending, now.mono);
    }

    /// Consumes an initiation and sends the response: also if there can be no link, so that the peer learns why. The peer's
    /// new key is told of before the response leaves, since frames may follow it back at once.
    pub(super) fn handle_initiation(
        &mut self,
        message: &[u8],
        source: Source,
        under_load: bool,
        now: Now,
    ) -> Result<(), Refused> {
        let fields = message::parse_initiation(message).ok_or(Refused::Length)?;
        self.admit(message, fields.sender, source, under_load, now)?;
        let mut payload = [0; GREETING];
        let (responder, remote) =
            Responder::receive_with(&MACSEC, &self.config.private, fields.noise, &mut payload)
                .map_err(|_| Refused::BadHandshake)?;
        if remote != self.config.remote {
            return Err(Refused::UnknownPeer);
        }
        let (stamp, theirs) = payload.split_first_chunk().ok_or(Refused::BadHandshake)?;
        let theirs = Terms::parse(theirs).ok_or(Refused::BadHandshake)?;
        self.attempt.consume(Tai64n(*stamp), now.mono)?;
        self.heard(source, now);

        let differs = self.differs(&theirs);
        let an = match differs {
            Ok(()) => self.pairs.vacate(self.attempt.reserved(), &mut self.outputs),
            Err(_) => An::ALL[0],
        };
        let ours = self.terms(theirs.generation.max(self.pairs.generation().saturating_add(1)), an);
        let index = getrandom::u32().map_err(|_| Refused::NoEntropy)?;
        let (message, split) = emit_response(index, fields.sender, |out| {
            responder.respond_with(&self.config.preshared, &ours.emit(), out).ok()
        })
        .ok_or(Refused::NoEntropy)?;
        if differs.is_ok() {
            self.add(&split, &ours, &theirs, ours.generation, false, now);
        }
        self.attempt.postpone(now.mono);
        self.send(message, index, now);
        differs
    }

    /// Consumes the response to our initiation. A forged one leaves the handshake as it was.
    pub(super) fn handle_response(
        &mut self,
        message: &[u8],
        source: Source,
        under_load: bool,
        now: Now,
    ) -> Result<(), Refused> {
        let Fields { sender, receiver, noise } = message::parse_response(message).ok_or(Refused::Length)?;
        self.admit(message, sender, source, under_load, now)?;
        let Pending { index, initiator, an } =
            self.attempt.take_pending(receiver).ok_or(Refused::UnknownIndex)?;
        let mut payload = [0; Terms::LEN];
        let split = initiator.finish_with(noise, &mut payload).map_err(|(initiator, _)| {
            self.attempt.put_back(Pending { index, initiator, an });
            Refused::BadResponse
        })?;
        let theirs = Terms::parse(&payload).ok_or(Refused::BadResponse)?;
        self.heard(source, now);
        self.differs(&theirs)?;
        let ours = self.terms(theirs.generation, an);
        self.add(&split, &ours, &theirs, theirs.generation, true, now);
        self.settle(now);
        Ok(())
    }

    /// Consumes a cookie reply to what we last sent. The cookie goes into the next message; this does not hasten it.
    pub(super) fn handle_cookie_reply(&mut self, message: &[u8], now: Now) -> Result<(), Refused> {
        let (index, reply) = message::parse_cookie_reply(message).ok_or(Refused::Length)?;
        if index != self.index {
            return Err(Refused::UnknownIndex);
        }
        self.jar.open_reply(reply, now.mono).map_err(|_| Refused::CookieStale)
    }

    fn admit(
        &mut self,
        message: &[u8],
        sender: u32,
        source: Source,
        under_load: bool,
        now: Now,
    ) -> Result<(), Refused> {
        let admitted = self.admission.admit(message, source, under_load, self.source, now.mono);
        admitted.map_err(|(reason, reply)| {
            let reply = reply.map(|reply| Output::Reply(message::emit_cookie_reply(sender, &reply)));
            self.outputs.extend(reply);
            reason
        })
    }

    /// An authentic message came from there.
    fn heard(&mut self, source: Source, now: Now) {
        self.source = Some(source);
        self.last_heard = Some(now.mono);
        self.outputs.push_back(Output::Heard);
    }

    /// Completes a message with its MACs, and sends it.
    fn send(&mut self, mut message: Vec<u8>, index: u32, now: Now) {
        // Neither fails: the message has room for both.
        let _ = self.mac.stamp_mac1(&mut message);
        let _ = self.jar.stamp_mac2(&mut message, now.mono);
        self.index = index;
        self.outputs.push_back(Output::Send(message));
    }

    fn terms(&self, generation: u64, an: An) -> Terms {
        let config = &self.config;
        Terms::new(config.sci, config.suite, config.protection, generation, an)
    }

    /// Whether the peer is configured otherwise. The operator is told once.
    fn differs(&mut self, theirs: &Terms) -> Result<(), Refused> {
        let config = &self.config;
        let Some(found) = theirs.disagreement(config.sci, config.suite, config.protection) else {
            return Ok(());
        };
        if self.disagreement.replace(found) != Some(found) {
            self.outputs.push_back(Output::Disagreed(found));
        }
        Err(Refused::Disagreement)
    }

    /// Takes in the keys of a handshake.
    fn add(
        &mut self,
        split: &Split,
        ours: &Terms,
        theirs: &Terms,
        generation: u64,
        initiated: bool,
        now: Now,
    ) {
        let direction = |from: Sci, to: Sci, an: An| {
            let (suite, protection) = (self.config.suite, self.config.protection);
            Direction { suite, protection, from, to, an }
        };
        let receive = direction(theirs.sci, ours.sci, ours.an);
        let transmit = direction(ours.sci, theirs.sci, theirs.an);
        let disclosed = self.config.disclosed;
        let saks = (receive.sak(&split.receive, disclosed), transmit.sak(&split.send, disclosed));
        // Suite and protection were found to go together when this was made.
        let (Some(receive_sak), Some(transmit_sak)) = saks else { return };
        let initiator: PublicKey = if initiated { self.public } else { self.config.remote };
        let (receive_an, transmit_an) = (ours.an, theirs.an);
        let facts = Facts { generation, initiator, initiated, sci: theirs.sci, receive_an, transmit_an };
        let saks = Saks {
            receive: receive_sak,
            receive_ssci: receive.ssci(),
            transmit: transmit_sak,
            transmit_ssci: transmit.ssci(),
        };
        self.pairs.add(facts, saks, now.mono, &mut self.outputs);
    }
}
