//! The four messages on the wire (WireGuard paper, section 5.4). All numbers are little-endian.

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

/// Writes the header of a data message whose packet of `len` bytes lies behind it, and zeros from the packet to the end.
pub(crate) fn emit_data(datagram: &mut [u8], receiver: u32, counter: u64, len: usize) {
    let Some((header, sealed)) = datagram.split_first_chunk_mut::<DATA_HEADER>() else {
        return;
    };
    let fields = u128::from(counter) << 64
        | u128::from(receiver) << 32
        | u128::from(u32::from_le_bytes(TYPE_DATA));
    *header = fields.to_le_bytes();
    if let Some(padding) = sealed.get_mut(len..) {
        padding.fill(0);
    }
}
