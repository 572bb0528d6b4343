//! The four messages on the wire (WireGuard paper, section 5.4). All numbers are little-endian.

use adit_noise::cookie::REPLY;
use adit_noise::{MESSAGE_1, MESSAGE_2};

/// Length of a handshake initiation.
pub const INITIATION: usize = 148;
/// Length of a handshake response.
pub const RESPONSE: usize = 92;
/// Length of a cookie reply.
pub const COOKIE_REPLY: usize = 64;
/// Length of what precedes the sealed packet in a data message: type, receiver index, counter.
pub const DATA_HEADER: usize = 16;
/// The shortest data message: a keepalive.
pub const DATA_MIN: usize = DATA_HEADER + 16;

const TYPE_INITIATION: [u8; 4] = [1, 0, 0, 0];
const TYPE_RESPONSE: [u8; 4] = [2, 0, 0, 0];
const TYPE_COOKIE_REPLY: [u8; 4] = [3, 0, 0, 0];
const TYPE_DATA: [u8; 4] = [4, 0, 0, 0];

/// What a datagram says it is. Nothing about it is verified but its length.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Message {
    /// Someone begins a handshake.
    Initiation,
    /// Someone answers ours.
    Response,
    /// Someone under load asks for a proof of our address.
    CookieReply,
    /// A sealed packet.
    Data {
        /// The receiver's index of the session.
        receiver: u32,
        /// The packet's number in the session.
        counter: u64,
    },
}

impl Message {
    /// Recognises a datagram by its type and length; `None` for anything else.
    #[must_use]
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let kind = datagram.first_chunk::<4>()?;
        match (*kind, datagram.len()) {
            (TYPE_DATA, DATA_MIN..) => Some(Self::Data {
                receiver: u32::from_le_bytes(*datagram.get(4..)?.first_chunk()?),
                counter: u64::from_le_bytes(*datagram.get(8..)?.first_chunk()?),
            }),
            (TYPE_INITIATION, INITIATION) => Some(Self::Initiation),
            (TYPE_RESPONSE, RESPONSE) => Some(Self::Response),
            (TYPE_COOKIE_REPLY, COOKIE_REPLY) => Some(Self::CookieReply),
            _ => None,
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
    Some(Fields { sender: u32_at(message, 4)?, receiver: 0, noise: message.get(8..8 + MESSAGE_1)? })
}

/// The fields of a response.
pub(crate) fn parse_response(message: &[u8]) -> Option<Fields<'_>> {
    Some(Fields {
        sender: u32_at(message, 4)?,
        receiver: u32_at(message, 8)?,
        noise: message.get(12..12 + MESSAGE_2)?,
    })
}

/// The receiver's index in a cookie reply, and what it carries.
pub(crate) fn parse_cookie_reply(message: &[u8]) -> Option<(u32, &[u8])> {
    Some((u32_at(message, 4)?, message.get(8..COOKIE_REPLY)?))
}

/// Writes the header of an initiation, and returns the place of the Noise message.
pub(crate) fn emit_initiation(message: &mut [u8], sender: u32) -> Option<&mut [u8]> {
    put(message, 0, TYPE_INITIATION)?;
    put(message, 4, sender.to_le_bytes())?;
    message.get_mut(8..8 + MESSAGE_1)
}

/// Writes the header of a response, and returns the place of the Noise message.
pub(crate) fn emit_response(message: &mut [u8], sender: u32, receiver: u32) -> Option<&mut [u8]> {
    put(message, 0, TYPE_RESPONSE)?;
    put(message, 4, sender.to_le_bytes())?;
    put(message, 8, receiver.to_le_bytes())?;
    message.get_mut(12..12 + MESSAGE_2)
}

/// A whole cookie reply.
pub(crate) fn emit_cookie_reply(receiver: u32, reply: &[u8; REPLY]) -> Vec<u8> {
    [&TYPE_COOKIE_REPLY, &receiver.to_le_bytes(), &reply[..]].concat()
}

fn u32_at(message: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*message.get(at..)?.first_chunk()?))
}

fn put(message: &mut [u8], at: usize, bytes: [u8; 4]) -> Option<()> {
    *message.get_mut(at..)?.first_chunk_mut()? = bytes;
    Some(())
}

/// Writes the header of a data message whose packet of `len` bytes lies behind it, and zeros from the packet to the
/// end.
pub(crate) fn emit_data(datagram: &mut [u8], receiver: u32, counter: u64, len: usize) {
    let Some((header, sealed)) = datagram.split_first_chunk_mut::<DATA_HEADER>() else {
        return;
    };
    let fields =
        u128::from(counter) << 64 | u128::from(receiver) << 32 | u128::from(u32::from_le_bytes(TYPE_DATA));
    *header = fields.to_le_bytes();
    if let Some(padding) = sealed.get_mut(len..) {
        padding.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_known_by_its_type_and_length() {
        let message = |kind: u8, len: usize| {
            let mut message = vec![0; len];
            message[0] = kind;
            Message::parse(&message)
        };
        assert_eq!(message(1, 148), Some(Message::Initiation));
        assert_eq!(message(2, 92), Some(Message::Response));
        assert_eq!(message(3, 64), Some(Message::CookieReply));
        assert_eq!(message(4, 32), Some(Message::Data { receiver: 0, counter: 0 }));
        for (kind, len) in
            [(1, 147), (1, 149), (2, 91), (2, 93), (3, 63), (3, 65), (4, 31), (0, 148), (5, 148)]
        {
            assert_eq!(message(kind, len), None, "{len} bytes of type {kind}");
        }
        assert_eq!(Message::parse(&[]), None);
        assert_eq!(Message::parse(&[4, 0, 0]), None);
    }

    #[test]
    fn reserved_bytes_must_be_zero() {
        for at in 1..4 {
            let mut message = [0; INITIATION];
            message[0] = 1;
            message[at] = 1;
            assert_eq!(Message::parse(&message), None);
        }
    }

    /// Section 5.4.6: type, receiver, counter, all little-endian; then the packet and its padding.
    #[test]
    fn a_data_message_is_laid_out_as_in_the_paper() {
        let mut datagram = [0xee; 16 + 32 + 16];
        emit_data(&mut datagram, 0x0403_0201, 0x0c0b_0a09_0807_0605, 20);
        assert_eq!(datagram[..16], [4, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        assert_eq!(datagram[16..36], [0xee; 20], "the packet stays");
        assert_eq!(datagram[36..], [0; 28], "padding is zero");
        let data = Message::Data { receiver: 0x0403_0201, counter: 0x0c0b_0a09_0807_0605 };
        assert_eq!(Message::parse(&datagram), Some(data));
    }

    #[test]
    fn handshake_messages_read_back() {
        let mut initiation = [0; INITIATION];
        emit_initiation(&mut initiation, 7).unwrap().fill(0xaa);
        assert_eq!(Message::parse(&initiation), Some(Message::Initiation));
        let fields = parse_initiation(&initiation).unwrap();
        assert_eq!((fields.sender, fields.receiver, fields.noise), (7, 0, &[0xaa; 108][..]));
        assert_eq!(initiation[116..], [0; 32], "room for the MACs");

        let mut response = [0; RESPONSE];
        emit_response(&mut response, 7, 8).unwrap().fill(0xaa);
        assert_eq!(Message::parse(&response), Some(Message::Response));
        let fields = parse_response(&response).unwrap();
        assert_eq!((fields.sender, fields.receiver, fields.noise), (7, 8, &[0xaa; 48][..]));
        assert_eq!(response[60..], [0; 32], "room for the MACs");

        let reply = emit_cookie_reply(9, &[0xaa; REPLY]);
        assert_eq!(Message::parse(&reply), Some(Message::CookieReply));
        assert_eq!(parse_cookie_reply(&reply), Some((9, &[0xaa; REPLY][..])));
    }
}
