//! A link without devices: what one station seals, the other opens.

use adit_macsec::agreement::{keepalive, message};
use adit_macsec::{
    An, CipherSuite, ControlledPort, KeyId, Offset, Protection, ReceiveKey, Refused, Replay, Sak, Sci, SecY,
    Settings, Ssci, TransmitKey,
};
use adit_wireguard::Published;

use super::*;
use crate::datapath::macsec::{Change, Note, Port, Whereabouts};

/// The MTU of the device, of a link over UDP whose path is 1,500 bytes wide.
const MTU: usize = 1_422;
const LONGEST: usize = udp::TRAIN_MAX - 4;

/// A station, with keys for both directions.
struct Station {
    mtu: usize,
    port: Port,
    remote: Option<Whereabouts>,
    tally: Tally,
    inbox: Inbox<Note, ()>,
    outward: Outward<Port>,
    inward: Inward<Port>,
}

fn sci(number: u8) -> Sci {
    Sci::new([2, 0, 0, 0, 0, number], 1)
}

fn keys(ours: u8, theirs: u8) -> Arc<ControlledPort> {
    let settings = Settings { replay: Replay::Bitmap, ..Settings::new(sci(ours)) };
    let mut secy = SecY::new(settings).unwrap();
    let sak = |byte: u8| {
        let (suite, protection) = (CipherSuite::GcmAesXpn256, Protection::Confidentiality(Offset::Zero));
        Arc::new(Sak::new(KeyId([byte; 16]), suite, protection, &[byte; 32], Some(&[byte; 12])).unwrap())
    };
    secy.add_channel(sci(theirs)).unwrap();
    let ssci = Some(Ssci(1));
    secy.install_receive(sci(theirs), An::ALL[0], ReceiveKey { sak: sak(theirs), ssci, lowest_pn: 1 })
        .unwrap();
    secy.install_transmit(An::ALL[0], TransmitKey { sak: sak(ours), ssci, next_pn: 1, bound: u64::MAX })
        .unwrap();
    secy.transmit_with(KeyId([ours; 16])).unwrap();
    secy.port().clone()
}

impl Station {
    fn new(ours: u8, theirs: u8, over_udp: bool) -> Self {
        let remote = over_udp.then(|| Arc::new(Published::new(Some(path()))));
        Self {
            mtu: MTU,
            port: Port::new(keys(ours, theirs), remote.clone(), LONGEST),
            remote,
            tally: Tally::default(),
            inbox: Inbox::default(),
            outward: Outward::default(),
            inward: Inward::new(&Offloads::default()),
        }
    }

    fn pair(over_udp: bool) -> (Self, Self) {
        (Self::new(1, 2, over_udp), Self::new(2, 1, over_udp))
    }

    /// Seals frames that the device hands over, and returns what is to be sent.
    fn seal(&mut self, frames: &[(VirtioNetHdr, Vec<u8>)]) -> Vec<Vec<u8>> {
        let Self { mtu, outward, port, tally, inbox, .. } = self;
        let mut context = Context { framing: port, tally, inbox, mtu: *mtu, now: now() };
        let reads = frames.iter().map(|(header, frame)| [header.to_bytes().as_slice(), frame].concat());
        assert_eq!(outward.gather_from(reads, &mut context), frames.len());
        assert!(outward.seal(&mut context));
        let datagrams: Vec<_> = outward.datagrams().map(|(_, datagram)| datagram.to_vec()).collect();
        datagrams
    }

    /// Opens what arrives as one train over UDP, and returns what the device would get.
    fn open(&mut self, datagrams: &[Vec<u8>]) -> Vec<(VirtioNetHdr, Vec<u8>)> {
        let Self { mtu, inward, port, tally, inbox, .. } = self;
        let mut context = Context { framing: port, tally, inbox, mtu: *mtu, now: now() };
        let bytes = datagrams.concat();
        let stride = datagrams.first().map_or(1, Vec::len);
        inward.receive_from([(bytes.as_slice(), stride, path(), Ecn::NotEct)]);
        inward.sort(&mut context);
        inward.open(&mut context);
        inward.writes().map(|(header, pieces)| (header, pieces.concat())).collect()
    }

    fn of(&self, reason: Reason) -> u64 {
        self.tally.drops().of(reason)
    }

    fn dropped(&self) -> u64 {
        Reason::all().map(|reason| self.of(reason)).sum()
    }
}

/// A frame without meaning.
fn frame(len: usize) -> (VirtioNetHdr, Vec<u8>) {
    let mut frame = vec![0x5a; len];
    let header = [2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 0x88, 0xb7];
    frame.iter_mut().zip(header).for_each(|(octet, value)| *octet = value);
    (VirtioNetHdr::default(), frame)
}

/// The frame of a TCP super-packet.
fn super_frame(len: usize, size: u16) -> (VirtioNetHdr, Vec<u8>) {
    let (header, packet) = tcp(len, size);
    let link = [2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 8, 0];
    let header = VirtioNetHdr { hdr_len: 54, csum_start: 34, ..header };
    (header, [&link[..], &packet].concat())
}

#[test]
fn frames_of_every_length_cross() {
    let (mut a, mut b) = Station::pair(true);
    for len in 16..=MTU + 14 {
        let sent = frame(len);
        let datagrams = a.seal(std::slice::from_ref(&sent));
        assert_eq!(datagrams[0].len(), len + 36);
        assert!(datagrams[0].starts_with(&message::FRAME));
        assert_eq!(b.open(&datagrams), [sent], "{len}");
    }
    assert_eq!((a.dropped(), b.dropped()), (0, 0));
    let confirmed = Note::Confirmed(KeyId([1; 16]));
    assert_eq!(b.inbox.take(0, None).notes, [confirmed, Note::Authentic], "each is said once");
}

#[test]
fn the_frame_of_a_super_packet_crosses_as_one_train_and_is_one_again() {
    let (mut a, mut b) = Station::pair(true);
    let sent = super_frame(44 * 1_368 + 100, 1_368);
    let datagrams = a.seal(std::slice::from_ref(&sent));
    assert_eq!((datagrams.len(), datagrams[0].len()), (45, 1_458));
    assert_eq!(run(&a.outward.slots, udp::TRAIN_SEGMENTS), 44, "as many as 65,507 octets hold");
    let arrived = b.open(&datagrams);
    assert_eq!(arrived.len(), 1);
    assert_eq!((arrived[0].0.gso_type, arrived[0].0.gso_size), (virtio::GSO_TCPV4, 1_368));
    assert_eq!(arrived[0].1[54..], sent.1[54..]);
}

#[test]
fn frames_of_a_link_have_nothing_before_them() {
    let (mut a, mut b) = Station::pair(false);
    let sent = frame(100);
    let frames = a.seal(std::slice::from_ref(&sent));
    assert_eq!((frames[0].len(), &frames[0][12..14]), (132, &[0x88, 0xe5][..]));
    assert_eq!(b.open(&frames), [sent]);
}

#[test]
fn what_cannot_be_sealed_is_counted_and_what_is_behind_it_leaves() {
    let (mut a, mut b) = Station::pair(true);
    a.port.apply(Change::Longest(1_000));
    let datagrams = a.seal(&[frame(900), frame(969), frame(800), frame(13)]);
    assert_eq!(datagrams.iter().map(Vec::len).collect::<Vec<_>>(), [936, 836]);
    assert_eq!((a.of(Reason::Macsec(Refused::TooLong)), a.of(Reason::Malformed)), (1, 1));
    assert_eq!(datagrams.iter().map(|one| b.open(std::slice::from_ref(one)).len()).sum::<usize>(), 2);
}

#[test]
fn without_a_key_nothing_is_sent_and_everything_is_counted() {
    let (mut a, mut b) = Station::pair(true);
    let sealed = a.seal(&[frame(100)]);
    let none = SecY::new(Settings::new(sci(1))).unwrap();
    a.port.apply(Change::Port(none.port().clone()));
    b.port.apply(Change::Port(none.port().clone()));
    assert!(a.seal(&[frame(100), frame(200)]).is_empty() && b.open(&sealed).is_empty());
    assert_eq!(a.of(Reason::Macsec(Refused::NoTransmitSa)), 2);
    assert_eq!((a.dropped(), b.dropped()), (2, 1));
}

#[test]
fn a_keepalive_leaves_behind_what_was_sealed_before_and_is_delivered_to_nobody() {
    let (mut a, mut b) = Station::pair(true);
    a.port.apply(Change::Keepalive);
    let datagrams = a.seal(&[frame(100)]);
    assert_eq!(datagrams.len(), 2, "it leaves once, ahead of what is read after it");
    assert_eq!(datagrams[0].len(), keepalive::LEN + 36);
    assert!(b.open(&datagrams[..1]).is_empty());
    assert_eq!(b.open(&datagrams[1..]), [frame(100)]);
    assert_eq!(a.seal(&[frame(100)]).len(), 1);
    assert_eq!((a.dropped(), b.dropped()), (0, 0));
}

#[test]
fn an_authentic_frame_from_elsewhere_moves_the_other_station_and_a_forged_or_repeated_one_does_not() {
    let (mut a, mut b) = Station::pair(true);
    let remote = b.remote.clone().unwrap();
    let elsewhere = Some(Udp { remote: "198.51.100.9:9".parse().unwrap(), local: None });
    let first = a.seal(&[frame(100)]);
    b.open(&first);
    remote.set(elsewhere);
    let mut forged = a.seal(&[frame(100)]);
    *forged[0].last_mut().unwrap() ^= 1;
    assert!(b.open(&forged).is_empty() && b.open(&first).is_empty());
    assert_eq!(remote.get(), elsewhere);
    assert_eq!((b.of(Reason::Macsec(Refused::NotValid)), b.of(Reason::Macsec(Refused::Late))), (1, 1));
    b.open(&a.seal(&[frame(100)]));
    assert_eq!(remote.get(), Some(path()));
}

#[test]
fn connections_that_begin_learn_the_mtu_of_the_link() {
    let (mut a, mut b) = Station::pair(true);
    let (_, mut packet) = tcp(0, 0);
    packet.extend([2, 4, 0x05, 0xb4]);
    (packet[3], packet[32], packet[33]) = (44, 0x60, 2);
    let header = VirtioNetHdr {
        flags: virtio::NEEDS_CSUM,
        csum_start: 34,
        csum_offset: 16,
        ..VirtioNetHdr::default()
    };
    let sent = [&super_frame(0, 0).1[..14], &packet].concat();
    // Each end sees to it, on the way out and on the way in.
    for mtus in [[MTU, 9_000], [9_000, MTU]] {
        [a.mtu, b.mtu] = mtus;
        let arrived = b.open(&a.seal(&[(header, sent.clone())]));
        assert_eq!(arrived[0].1[56..58], [0x05, 0x66], "1,382 with an MTU of 1,422");
    }
}

#[test]
fn messages_of_the_key_agreement_are_handed_over_and_the_rest_is_counted() {
    let (_, mut b) = Station::pair(true);
    let mut initiation = vec![0; message::INITIATION];
    initiation[0] = 1;
    assert!(b.open(&[initiation.clone()]).is_empty() && b.open(&[vec![9; 50]]).is_empty());
    let taken = b.inbox.take(9, None);
    assert_eq!(taken.handshakes.len(), 1);
    assert_eq!((&taken.handshakes[0].message, taken.handshakes[0].from), (&initiation, Path::Udp(path())));
    assert_eq!((b.of(Reason::NotMacsec), b.dropped()), (1, 1));
    // A frame that is cut short anywhere.
    for len in 4..40 {
        let mut cut = vec![0; len];
        cut[0] = 16;
        assert!(b.open(&[cut]).is_empty());
    }
    assert_eq!(b.dropped(), 37);
}
