//! The key agreement of two MACsec stations: damaged messages, and any order of events.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use adit_macsec::agreement::message::{INITIATION, Message, RESPONSE};
use adit_macsec::agreement::{Agreement, Config, KeyChange, Output, Refused, Source};
use adit_macsec::{CipherSuite, KeyId, Offset, Protection, Sci, SecY, Settings};
use adit_noise::mac::MacKey;
use adit_noise::{MACSEC, PresharedKey, Time};

use crate::damage::damage;
use crate::party::now;
use crate::{Input, keys};

const A: usize = 0;
const B: usize = 1;

/// One of: bytes out of nothing; a handshake whose messages are damaged on their way, their mac1 made right again, before
/// the true ones come; a schedule of what may happen to two stations, after which they come to keys that both have.
pub fn macsec_agreement(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.byte();
    let at = Time::from_secs(1_000);
    let mut link = Link { stations: [A, B].map(|me| Station::new(me, at)), wire: VecDeque::new(), at };
    match flags % 4 {
        0 => stray(&mut link, input.rest()),
        1 => damaged(&mut link, flags, &mut input),
        _ => schedule(&mut link, &mut input),
    }
}

struct Station {
    agreement: Agreement,
    secy: SecY,
    /// Every key that was ever sent with.
    used: BTreeSet<[u8; 16]>,
}

struct Link {
    stations: [Station; 2],
    /// To whom, and what.
    wire: VecDeque<(usize, Vec<u8>)>,
    at: Time,
}

impl Station {
    fn new(me: usize, at: Time) -> Self {
        let sci = Sci::new([2, 0, 0, 0, 0, me as u8], 1);
        let config = Config {
            private: keys::private(me),
            remote: keys::public(1 - me),
            preshared: PresharedKey::default(),
            sci,
            suite: CipherSuite::GcmAes128,
            protection: Protection::Confidentiality(Offset::Zero),
            disclosed: false,
        };
        Self {
            agreement: Agreement::new(config, now(at)).expect("a configuration"),
            secy: SecY::new(Settings::new(sci)).expect("settings"),
            used: BTreeSet::new(),
        }
    }

    fn sends_with(&self) -> Option<KeyId> {
        self.secy.port().transmit().map(|sa| sa.sak().id())
    }

    fn receives_with(&self, key: KeyId) -> bool {
        let channels = self.secy.port().receive().iter();
        channels.flat_map(|channel| channel.associations()).any(|sa| sa.sak().id() == key)
    }
}

impl Link {
    /// Carries out what a station wants: how much that was.
    fn settle(&mut self, me: usize) -> usize {
        let mut outputs = 0;
        while let Some(output) = self.stations[me].agreement.poll_output() {
            outputs += 1;
            let station = &mut self.stations[me];
            match output {
                Output::Send(message) | Output::Reply(message) => {
                    assert!(Message::parse(&message).is_some_and(|kind| kind != Message::Frame));
                    assert_eq!(Message::trim(&message), Some(&message[..]));
                    self.wire.push_back((1 - me, message));
                }
                Output::Keys(change) => {
                    if let KeyChange::Transmit { key, .. } = &change {
                        assert!(station.used.insert(key.sak.id().0), "a key comes back");
                    }
                    assert_eq!(change.apply(&mut station.secy), Ok(()));
                }
                Output::Keepalive => self.frame(me),
                Output::Heard => {}
                Output::Disagreed(found) => panic!("{found}"),
            }
        }
        outputs
    }

    /// A frame comes from a station to the other, if both have the key.
    fn frame(&mut self, from: usize) {
        let Some(key) = self.stations[from].sends_with() else { return };
        let other = &mut self.stations[1 - from];
        if other.receives_with(key) {
            other.agreement.handle_authentic(now(self.at));
            other.agreement.handle_confirmed(key, now(self.at));
            self.settle(1 - from);
        }
    }

    fn tick(&mut self, me: usize) {
        self.stations[me].agreement.handle_timeout(now(self.at));
        self.settle(me);
        let due = self.stations[me].agreement.poll_timeout();
        assert!(due.is_some_and(|due| due > self.at), "something is to be done, and not at once again");
    }

    /// Hands a message to a station. Refused, it changes nothing, and costs a cookie reply at most.
    fn offer(&mut self, to: usize, message: &[u8], under_load: bool) -> Result<(), Refused> {
        let agreement = &mut self.stations[to].agreement;
        let before = format!("{agreement:?}");
        let from = Source::Ethernet([2, 9, 9, 9, 9, 9]);
        let result = agreement.handle_message(message, from, under_load, now(self.at));
        let after = format!("{agreement:?}");
        let waiting = self.wire.len();
        let outputs = self.settle(to);
        match result {
            Ok(()) => {}
            Err(Refused::UnderLoad) => {
                assert!(under_load && outputs == 1 && self.wire.len() == waiting + 1);
                let (_, reply) = self.wire.pop_back().expect("a cookie reply");
                assert_eq!(Message::parse(&reply), Some(Message::CookieReply));
            }
            Err(reason) => {
                assert_eq!(outputs, 0, "{reason}");
                assert!(before == after, "refused ({reason}), and yet {before}\nis now {after}");
            }
        }
        result
    }

    /// The message that was just sent.
    fn sent(&mut self, kind: Message) -> Vec<u8> {
        let (_, message) = self.wire.pop_back().expect("a message was sent");
        assert_eq!(Message::parse(&message), Some(kind));
        message
    }
}

/// Nothing out of nothing is taken, unless it was recorded of a true station. Padding does not matter on Ethernet.
fn stray(link: &mut Link, bytes: &[u8]) {
    let _ = link.offer(B, bytes, false);
    let _ = link.offer(B, bytes, true);
    if let Some(message) = Message::trim(bytes) {
        assert!(Message::parse(message).is_some() && bytes.starts_with(message));
        let _ = link.offer(B, message, false);
    }
}

/// A greets B. Of each message first comes a damaged one, then the true one, then that again.
fn damaged(link: &mut Link, flags: u8, input: &mut Input<'_>) {
    link.tick(A);
    let initiation = link.sent(Message::Initiation);
    let steps = [(B, initiation, 8..INITIATION - 32, Refused::TimestampReplayed, 4)];
    for (to, message, vouched, again, load) in steps {
        if !replaced(link, to, &message, vouched, again, flags & load != 0, input) {
            return;
        }
    }
    let response = link.sent(Message::Response);
    if replaced(link, A, &response, 8..RESPONSE - 32, Refused::UnknownIndex, flags & 8 != 0, input) {
        let [a, b] = &link.stations;
        for (one, other) in [(a, b), (b, a)] {
            assert!(one.sends_with().is_some_and(|key| other.receives_with(key)));
        }
    }
}

/// False if the damaged message was as good as the true one: then that one is not needed any more.
fn replaced(
    link: &mut Link,
    to: usize,
    message: &[u8],
    vouched: std::ops::Range<usize>,
    again: Refused,
    under_load: bool,
    input: &mut Input<'_>,
) -> bool {
    let mut forged = message.to_vec();
    damage(&mut forged, input);
    let mac = MacKey::new(MACSEC.mac1_label, &keys::public(to));
    if input.flag() {
        // One that is too short for it stays as it is.
        let _ = mac.stamp_mac1(&mut forged);
    }
    let kind = Message::parse(&forged).is_some_and(|kind| Some(kind) == Message::parse(message));
    let same = kind && forged[vouched.clone()] == message[vouched] && mac.verify_mac1(&forged).is_ok();
    let result = link.offer(to, &forged, under_load);
    assert_eq!(result.is_ok(), same && !under_load, "{result:?}");
    if result.is_ok() {
        return false;
    }
    assert_eq!(link.offer(to, message, false), Ok(()), "a forgery does not keep the true one out");
    let kept = std::mem::take(&mut link.wire);
    assert_eq!(link.offer(to, message, false), Err(again));
    link.wire = kept;
    true
}

/// Anything may happen for a while; then nothing is lost any more.
fn schedule(link: &mut Link, input: &mut Input<'_>) {
    for _ in 0..48 {
        if input.is_empty() {
            break;
        }
        let (what, me) = (input.byte(), usize::from(input.byte() & 1));
        match what % 8 {
            0 => drop(link.wire.pop_front()),
            1 => link.wire.rotate_left(usize::from(what >> 3).min(link.wire.len())),
            2 => link.wire.extend(link.wire.front().cloned()),
            3 | 4 => deliver(link),
            5 => link.frame(me),
            6 => {
                link.at = link.at + Duration::from_millis(1 << (what >> 3).min(18));
                link.tick(A);
                link.tick(B);
            }
            _ if what >> 3 == 0 => {
                let used = std::mem::take(&mut link.stations[me].used);
                link.stations[me] = Station { used, ..Station::new(me, link.at) };
            }
            _ => {
                if let Some(key) = link.stations[me].sends_with() {
                    link.stations[me].agreement.handle_rekey(key, now(link.at));
                    link.settle(me);
                }
            }
        }
    }
    for _ in 0..60 {
        while !link.wire.is_empty() {
            deliver(link);
        }
        link.at = link.at + Duration::from_secs(1);
        link.tick(A);
        link.tick(B);
    }
    while !link.wire.is_empty() {
        deliver(link);
    }
    let [a, b] = &link.stations;
    for (one, other) in [(a, b), (b, a)] {
        assert!(one.sends_with().is_some_and(|key| other.receives_with(key)), "keys that both have");
    }
}

fn deliver(link: &mut Link) {
    if let Some((to, message)) = link.wire.pop_front() {
        let source = Source::Ethernet([2, 0, 0, 0, 0, 1 - to as u8]);
        let _ = link.stations[to].agreement.handle_message(&message, source, false, now(link.at));
        link.settle(to);
    }
}
