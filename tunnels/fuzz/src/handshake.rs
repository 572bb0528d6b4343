//! The handshake messages of a live exchange, damaged on their way, between two tunnels.

use std::net::SocketAddr;

use adit_noise::mac::MacKey;
use adit_noise::{Responder, Time};
use adit_wireguard::message::{self, Message};
use adit_wireguard::{Cipher, Endpoint, PeerChange, PeerId, Refused};

use crate::damage::damage;
use crate::party::{Party, address, now};
use crate::{Input, keys};

const A: usize = 0;
const B: usize = 1;

/// A greets B. Each message may be damaged, its mac1 made right again, as anybody can who knows the receiver's public
/// key; then the true one comes. In between come bytes out of nothing. All that under either cipher.
pub fn wireguard_handshake(data: &[u8]) {
    let mut input = Input::new(data);
    let at = Time::from_secs(1_000);
    let flags = input.byte();
    let cipher = if flags & 128 == 0 { Cipher::ChaCha20Poly1305 } else { Cipher::Aes256Gcm };
    let mut parties = [party(A, cipher, at), party(B, cipher, at)];
    if flags & 1 != 0 {
        return stray(&mut parties[B], input.rest(), at);
    }
    parties[A].tunnel.handle_want(PeerId::new(0), now(at));
    parties[A].settle();
    let initiation = sent(&mut parties[A], Message::Initiation);
    if flags & 2 != 0 {
        return cookie(&mut parties, &initiation, &mut input, at);
    }

    // Noise vouches for all but the index of the sender, which mac1 alone covers: both that are true make one message.
    let (forged, same) = forge(cipher, &initiation, B, 8..8 + adit_noise::MESSAGE_1, &mut input);
    let result = offer(&mut parties[B], &forged, flags & 4 != 0, at);
    assert_eq!(result.is_ok(), same && flags & 4 == 0, "{result:?}");
    if same {
        return;
    }
    let result = offer(&mut parties[B], &initiation, false, at);
    assert_eq!(result, Ok(()), "a forgery does not keep the true one out");
    assert_eq!(offer(&mut parties[B], &initiation, false, at), Err(Refused::TimestampReplayed));

    let response = sent(&mut parties[B], Message::Response);
    let (forged, same) = forge(cipher, &response, A, 8..12 + adit_noise::MESSAGE_2, &mut input);
    let result = offer(&mut parties[A], &forged, flags & 8 != 0, at);
    assert_eq!(result.is_ok(), same && flags & 8 == 0, "{result:?}");
    if same {
        return;
    }
    assert_eq!(offer(&mut parties[A], &response, false, at), Ok(()), "a forgery does not end the handshake");
    assert_eq!(offer(&mut parties[A], &response, false, at), Err(Refused::UnknownIndex));
    let keepalive = parties[A].wire.pop_back().expect("a keepalive tells B that it arrived").1;
    parties[B].receive(address(A), &keepalive, false, at);
    assert!(parties.iter().all(|party| party.current.len() == 1), "both send");
}

fn party(me: usize, cipher: Cipher, at: Time) -> Party {
    let mut party = Party::new(cipher);
    party.tunnel.set_private_key(Some(keys::private(me)), now(at));
    party.tunnel.set_up(true, now(at));
    party.up = true;
    for other in [1 - me, 2] {
        let change = PeerChange { endpoint: Some(address(other)), ..PeerChange::default() };
        assert!(party.tunnel.change_peer(&keys::public(other), change, now(at)).is_ok());
    }
    party.settle();
    party
}

/// The message that was just sent.
fn sent(party: &mut Party, message: Message) -> Vec<u8> {
    let (_, datagram) = party.wire.pop_back().expect("a message was sent");
    assert_eq!(Message::parse(&datagram), Some(message));
    datagram
}

/// A damaged copy of a message to `to`, perhaps with a mac1 that is right; and whether it is as good as the true one,
/// whose octets at `vouched` nobody else can make.
fn forge(
    cipher: Cipher,
    message: &[u8],
    to: usize,
    vouched: std::ops::Range<usize>,
    input: &mut Input<'_>,
) -> (Vec<u8>, bool) {
    let mut forged = message.to_vec();
    damage(&mut forged, input);
    let mac = MacKey::new(cipher.protocol().mac1_label, &keys::public(to));
    if input.flag() {
        // One that is too short for it stays as it is.
        let _ = mac.stamp_mac1(&mut forged);
    }
    let kind = Message::parse(&forged).is_some_and(|kind| Some(kind) == Message::parse(message));
    let same = kind && forged[vouched.clone()] == message[vouched] && mac.verify_mac1(&forged).is_ok();
    (forged, same)
}

/// Hands a message to a tunnel. Refused, it changes nothing, and costs a cookie reply at most.
fn offer(party: &mut Party, datagram: &[u8], under_load: bool, at: Time) -> Result<(), Refused> {
    let from: SocketAddr = address(3);
    let before = format!("{:?}", party.tunnel);
    let replies = party.wire.len();
    let result =
        party.tunnel.handle_handshake(Endpoint::udp(from), &mut datagram.to_vec(), under_load, now(at));
    let (after, outputs) = (format!("{:?}", party.tunnel), party.settle());
    match result {
        Ok(()) => {}
        Err(Refused::UnderLoad) => {
            assert!(under_load && outputs == 1 && party.wire.len() == replies + 1);
            let (to, reply) = party.wire.pop_back().expect("a cookie reply");
            assert_eq!((to, Message::parse(&reply)), (from, Some(Message::CookieReply)));
            assert_eq!(reply[4..8], datagram[4..8], "it names the sender's index");
        }
        Err(reason) => {
            assert_eq!(outputs, 0, "{reason}");
            assert!(before == after, "refused ({reason}), and yet {before}\nis now {after}");
        }
    }
    result
}

/// Bytes out of nothing. A recorded initiation of a peer is the only one that can be taken.
fn stray(party: &mut Party, datagram: &[u8], at: Time) {
    let noise = datagram.get(8..8 + adit_noise::MESSAGE_1).unwrap_or_default();
    let protocol = party.tunnel.cipher().protocol();
    let mac = MacKey::new(protocol.mac1_label, &keys::public(B));
    let recorded = Message::parse(datagram) == Some(Message::Initiation)
        && mac.verify_mac1(datagram).is_ok()
        && Responder::receive(protocol, &keys::private(B), noise).is_ok();
    assert_eq!(offer(party, datagram, false, at).is_ok(), recorded);
    if !recorded {
        let result = offer(party, datagram, true, at);
        assert!(result.is_err());
    }
}

/// B is under load: A gets a cookie, damaged and then true, and is let in with it.
fn cookie(parties: &mut [Party; 2], initiation: &[u8], input: &mut Input<'_>, at: Time) {
    let [a, b] = parties;
    let (from, to) = (Endpoint::udp(address(A)), Endpoint::udp(address(B)));
    let result = b.tunnel.handle_handshake(from, &mut initiation.to_vec(), true, now(at));
    assert_eq!((result, b.settle()), (Err(Refused::UnderLoad), 1));
    let reply = sent(b, Message::CookieReply);
    let mut forged = reply.clone();
    damage(&mut forged, input);
    // The index finds the peer; the type has to be right, too. All else is sealed.
    if forged == reply {
        assert_eq!(a.tunnel.handle_handshake(to, &mut forged, false, now(at)), Ok(()));
    } else {
        let result = offer(a, &forged, false, at);
        assert!(result.is_err(), "a damaged reply");
        assert_eq!(a.tunnel.handle_handshake(to, &mut reply.clone(), false, now(at)), Ok(()));
    }
    let result = offer(a, &reply, false, at);
    assert_eq!(result, Err(Refused::CookieStale), "one message, one cookie");

    let later = at + std::time::Duration::from_secs(6);
    a.tick(later);
    let mut again = sent(a, Message::Initiation);
    assert_ne!(again[message::INITIATION - 16..], [0; 16], "mac2 is there");
    let elsewhere = offer(b, &again, true, later);
    assert_eq!(elsewhere, Err(Refused::UnderLoad), "the cookie is another's");
    assert_eq!(b.tunnel.handle_handshake(from, &mut again, true, now(later)), Ok(()));
    b.settle();
}
