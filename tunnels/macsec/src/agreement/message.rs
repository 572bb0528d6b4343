//! The messages on the wire. All numbers are little-endian, as in WireGuard's.

use adit_noise::cookie::REPLY;
use adit_noise::mac::MAC;
use adit_noise::{PAYLOAD, message_1, message_2};

use super::terms::Terms;

/// Length of the payload of an initiation: time stamp and terms.
pub(crate) const GREETING: usize = PAYLOAD + Terms::LEN;

const NOISE_1: usize = message_1(GREETING);
const NOISE_2: usize = message_2(Terms::LEN);

/// Length of an initiation in octets.
pub const INITIATION: usize = 8 + NOISE_1 + 2 * MAC;
/// Length of a response in octets.
pub const RESPONSE: usize = 12 + NOISE_2 + 2 * MAC;
/// Length of a cookie reply in octets.
pub const COOKIE_REPLY: usize = 8 + REPLY;
/// What a datagram with a MACsec frame begins with, over UDP. The frame follows, from destination address to ICV.
pub const FRAME: [u8; 4] = [16, 0, 0, 0];
/// The EtherType of our messages on raw Ethernet: the first for local experiments (IEEE 802-2014, table 2).
pub const ETHERTYPE: u16 = 0x88b5;

const TYPE_INITIATION: [u8; 4] = [1, 0, 0, 0];
const TYPE_RESPONSE: [u8; 4] = [2, 0, 0, 0];
const TYPE_COOKIE_REPLY: [u8; 4] = [3, 0, 0, 0];

/// What a datagram says it is. Nothing about it is verified but its length.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Message {
    /// Someone begins a handshake.
    Initiation,
    /// Someone answers ours.
    Response,
    /// Someone under load asks for a proof of our address.
    CookieReply,
    /// A MACsec frame, behind [`FRAME`]: for the Secure Channel, not for the key agreement.
    Frame,
}

impl Message {
    /// Recognises a UDP payload by its type and length; `None` for anything else.
    #[must_use]
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let kind = Self::kind(datagram)?;
        kind.len().is_none_or(|len| len == datagram.len()).then_some(kind)
    }

    /// The message that the payload of an Ethernet frame of type [`ETHERTYPE`] begins with: links pad short frames, so what
    /// is behind it means nothing. `None` if there is none; [`Self::Frame`] does not occur there.
    #[must_use]
    pub fn trim(payload: &[u8]) -> Option<&[u8]> {
        payload.get(..Self::kind(payload)?.len()?)
    }

    fn kind(datagram: &[u8]) -> Option<Self> {
        match *datagram.first_chunk::<4>()? {
            TYPE_INITIATION => Some(Self::Initiation),
            TYPE_RESPONSE => Some(Self::Response),
            TYPE_COOKIE_REPLY => Some(Self::CookieReply),
            FRAME => Some(Self::Frame),
            _ => None,
        }
    }

    /// The only length that it may have.
    const fn len(self) -> Option<usize> {
        match self {
            Self::Initiation => Some(INITIATION),
            Self::Response => Some(RESPONSE),
            Self::CookieReply => Some(COOKIE_REPLY),
            Self::Frame => None,
        }
    }
}

/// What an initiation or a response says ahead of its MACs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    /// The sender's index.
    pub(crate) sender: u32,
    /// The receiver's index; 0 in an initiation, which has none.
    pub(crate) receiver: u32,
    /// The Noise message.
    pub(crate) noise: &'a [u8],
}

/// The fields of an initiation.
pub(crate) fn parse_initiation(message: &[u8]) -> Option<Fields<'_>> {
    Some(Fields { sender: u32_at(message, 4)?, receiver: 0, noise: message.get(8..8 + NOISE_1)? })
}

/// The fields of a response.
pub(crate) fn parse_response(message: &[u8]) -> Option<Fields<'_>> {
    let noise = message.get(12..12 + NOISE_2)?;
    Some(Fields { sender: u32_at(message, 4)?, receiver: u32_at(message, 8)?, noise })
}

/// The receiver's index in a cookie reply, and what it carries.
pub(crate) fn parse_cookie_reply(message: &[u8]) -> Option<(u32, &[u8])> {
    Some((u32_at(message, 4)?, message.get(8..COOKIE_REPLY)?))
}

/// An initiation whose Noise message `write` makes, without MACs.
pub(crate) fn emit_initiation<T>(
    sender: u32,
    write: impl FnOnce(&mut [u8]) -> Option<T>,
) -> Option<(Vec<u8>, T)> {
    emit(&[TYPE_INITIATION, sender.to_le_bytes()].concat(), INITIATION, write)
}

/// A response whose Noise message `write` makes, without MACs.
pub(crate) fn emit_response<T>(
    sender: u32,
    receiver: u32,
    write: impl FnOnce(&mut [u8]) -> Option<T>,
) -> Option<(Vec<u8>, T)> {
    emit(&[TYPE_RESPONSE, sender.to_le_bytes(), receiver.to_le_bytes()].concat(), RESPONSE, write)
}

/// A whole cookie reply.
pub(crate) fn emit_cookie_reply(receiver: u32, reply: &[u8; REPLY]) -> Vec<u8> {
    [&TYPE_COOKIE_REPLY, &receiver.to_le_bytes(), &reply[..]].concat()
}

fn emit<T>(header: &[u8], len: usize, write: impl FnOnce(&mut [u8]) -> Option<T>) -> Option<(Vec<u8>, T)> {
    let mut message = header.to_vec();
    message.resize(len, 0);
    let written = write(message.get_mut(header.len()..len - 2 * MAC)?)?;
    Some((message, written))
}

fn u32_at(message: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*message.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: [u8; 4], len: usize) -> Vec<u8> {
        let mut message = vec![0xaa; len];
        let head = len.min(4);
        message[..head].copy_from_slice(&kind[..head]);
        message
    }

    #[test]
    fn a_message_is_known_by_its_type_and_length() {
        let kinds = [
            (1, 176, Some(Message::Initiation)),
            (2, 120, Some(Message::Response)),
            (3, 64, Some(Message::CookieReply)),
            (4, 148, None),
            (0, 176, None),
        ];
        for (kind, len, expected) in kinds {
            for found in [len - 1, len, len + 1] {
                let parsed = Message::parse(&message([kind, 0, 0, 0], found));
                assert_eq!(parsed, expected.filter(|_| found == len), "{found} octets of type {kind}");
            }
        }
        for len in [4, 5, 1500] {
            assert_eq!(Message::parse(&message(FRAME, len)), Some(Message::Frame));
        }
        for len in 0..4 {
            assert_eq!(Message::parse(&message(FRAME, len)), None);
        }
    }

    #[test]
    fn reserved_octets_must_be_zero() {
        for (kind, at) in [1, 2, 3, 16].into_iter().flat_map(|kind| (1..4).map(move |at| (kind, at))) {
            let mut head = [kind, 0, 0, 0];
            head[at] = 1;
            for len in [64, INITIATION, RESPONSE] {
                assert_eq!(Message::parse(&message(head, len)), None);
                assert_eq!(Message::trim(&message(head, len)), None);
            }
        }
    }

    #[test]
    fn padding_of_the_link_is_cut_and_a_cut_message_is_none() {
        for (kind, len) in [(1, INITIATION), (2, RESPONSE), (3, COOKIE_REPLY)] {
            let padded = message([kind, 0, 0, 0], len + 46);
            assert_eq!(Message::trim(&padded), padded.get(..len));
            assert_eq!(Message::trim(&padded[..len]), padded.get(..len));
            assert_eq!(Message::trim(&padded[..len - 1]), None);
        }
        assert_eq!(Message::trim(&message(FRAME, 100)), None);
        assert_eq!(Message::trim(&[]), None);
    }

    #[test]
    fn messages_read_back() {
        let fill = |noise: &mut [u8]| {
            noise.fill(0xaa);
            Some(())
        };
        let (initiation, ()) = emit_initiation(7, fill).unwrap();
        assert_eq!(Message::parse(&initiation), Some(Message::Initiation));
        let fields = parse_initiation(&initiation).unwrap();
        assert_eq!((fields.sender, fields.receiver, fields.noise), (7, 0, &[0xaa; 136][..]));
        assert_eq!(initiation[144..], [0; 32], "room for the MACs");
    }
}
