//! Telling the messages apart.

use std::sync::Arc;

use adit_noise::Time;
use adit_packet::Slot;
use adit_wireguard::message::{self, Message};
use adit_wireguard::{PeerId, Session, Traffic};

use crate::{Input, keys};

/// A datagram from anywhere; and one that a session sealed, of the same bytes.
pub fn wireguard_message(data: &[u8]) {
    let kind = data.first_chunk::<4>().map(|kind| u32::from_le_bytes(*kind));
    let expected = match (kind, data.len()) {
        (Some(1), message::INITIATION) => Some(Message::Initiation),
        (Some(2), message::RESPONSE) => Some(Message::Response),
        (Some(3), message::COOKIE_REPLY) => Some(Message::CookieReply),
        (Some(4), message::DATA_MIN..) => {
            let mut fields = Input::new(&data[4..]);
            Some(Message::Data { receiver: fields.long(), counter: u64::from_le_bytes(fields.array()) })
        }
        _ => None,
    };
    assert_eq!(Message::parse(data), expected);
    sealed(data);
}

fn sealed(data: &[u8]) {
    let mut input = Input::new(data);
    let (index, mtu) = (input.long(), usize::from(input.word()));
    let packet = input.rest();
    let traffic = Arc::new(Traffic::new(PeerId::new(0), None));
    let session =
        |keys, local, remote| Session::new(traffic.clone(), &keys, local, remote, true, Time::default());
    let sender = session(keys::session(1, 2), 0, index);
    let receiver = session(keys::session(2, 1), index, 0);

    for number in 0..2 {
        let mut arena = vec![0xee; Session::HEAD + packet.len() + Session::TAIL];
        arena[Session::HEAD..Session::HEAD + packet.len()].copy_from_slice(packet);
        let mut slots = [Slot { start: Session::HEAD, len: packet.len(), ..Slot::default() }];
        sender.seal(&mut arena, &mut slots, mtu).expect("a fresh key and room around the packet");
        let datagram = &mut arena[slots[0].range()];
        assert_eq!(datagram.len(), Session::sealed_len(packet.len(), mtu));
        assert_eq!(Message::parse(datagram), Some(Message::Data { receiver: index, counter: number }));

        let mut slots = [Slot { start: 0, len: datagram.len(), number, ..Slot::default() }];
        receiver.open(datagram, &mut slots, |reason, _| panic!("{reason}"));
        let (opened, padding) = datagram[slots[0].range()].split_at(packet.len());
        assert!(opened == packet && padding.len() < 16 && padding.iter().all(|octet| *octet == 0));
    }
}
