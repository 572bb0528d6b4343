//! The send path of a worker, from what the TUN device hands over to sealed datagrams.

use std::cell::RefCell;
use std::sync::Arc;

use adit::datapath::wireguard::{Change, Note, Table};
use adit::datapath::{Context, Framing, Inbox, Outward, Path, Reason, Tally};
use adit_noise::Time;
use adit_packet::{Slot, VirtioNetHdr, ip, segment, virtio};
use adit_wireguard::message::Message;
use adit_wireguard::{AllowedIps, Endpoint, PeerId, Session, Traffic, Udp};

use crate::{Input, keys, packet};

const MTU: usize = 1_420;

/// Has a session.
const READY: PeerId = PeerId::new(1);
/// Has none.
const WAITING: PeerId = PeerId::new(2);
/// Was removed, but still has a route.
const GONE: PeerId = PeerId::new(3);
/// Has a session too old to be used.
const STALE: PeerId = PeerId::new(4);

/// Reads of the TUN device, of any bytes. Every packet is sealed for its peer, handed over or counted.
pub fn datapath_outward(data: &[u8]) {
    let mut input = Input::new(data);
    let mut reads = Vec::new();
    while !input.is_empty() && reads.len() < 32 {
        let mut bytes = packet::any(&mut input);
        bytes.truncate(65_535);
        let header = packet::header(&bytes, &mut input);
        let mut read = [header.to_bytes().as_slice(), &bytes].concat();
        if input.byte() == 1 {
            read.truncate(input.below(virtio::LEN));
        }
        reads.push(read);
    }
    let mut side = Side::new();
    while !reads.is_empty() {
        let taken = side.batch(&reads);
        assert!(taken > 0, "each batch takes some");
        reads.drain(..taken);
    }
}

struct Side {
    table: Table,
    tally: Tally,
    inbox: Inbox<Note, ()>,
    outward: Outward<Table>,
    /// Opens what was sealed for the peer that is ready.
    remote: Session,
}

impl Side {
    fn new() -> Self {
        let now = Time::from_secs(1_000);
        let mut table = Table::default();
        for (peer, born) in [(READY, Some(1_000)), (WAITING, None), (STALE, Some(820))] {
            let traffic = Arc::new(Traffic::new(peer, Some(endpoint(peer))));
            table.apply(Change::Peer(peer, Some(traffic.clone())));
            let session = born.map(|born| {
                let born = Time::from_secs(born);
                Arc::new(Session::new(traffic, &keys::session(1, 2), 8, peer.get(), true, born))
            });
            table.apply(Change::Current(peer, session));
        }
        let mut routes = AllowedIps::default();
        for peer in [READY, WAITING, GONE, STALE] {
            for range in [format!("10.{}.0.0/16", peer.get()), format!("fd0{}::/16", peer.get())] {
                routes.insert(range.parse().expect("a range"), peer);
            }
        }
        table.apply(Change::Routes(Arc::new(routes)));
        let traffic = Arc::new(Traffic::new(READY, None));
        let remote = Session::new(traffic, &keys::session(2, 1), READY.get(), 8, false, now);
        Self { table, tally: Tally::default(), inbox: Inbox::default(), outward: Outward::default(), remote }
    }

    fn dropped(&self) -> u64 {
        Reason::all().map(|reason| self.tally.drops().of(reason)).sum()
    }

    /// One round of a worker. Returns how many reads it took.
    fn batch(&mut self, reads: &[Vec<u8>]) -> usize {
        // How many drops there were when each read was asked for.
        let (asked, tally, first) = (RefCell::new(Vec::new()), &self.tally, self.dropped());
        let total = || Reason::all().map(|reason| tally.drops().of(reason)).sum::<u64>();
        let each = reads.iter().inspect(|_| asked.borrow_mut().push(total())).cloned();
        let (framing, inbox) = (&mut self.table, &self.inbox);
        let mut context = Context { framing, tally, inbox, mtu: MTU, now: Time::from_secs(1_000) };
        let taken = self.outward.gather_from(each, &mut context);
        let mut asked = asked.into_inner();
        asked.push(total());
        self.outward.seal(&mut context);
        assert_eq!(asked[0], first);

        let (mut sealed, mut handed, mut lost) = (Vec::new(), Vec::new(), 0);
        for (read, drops) in reads[..taken].iter().zip(asked.windows(2)) {
            let dropped = drops[1] - drops[0];
            let Some((peer, packets)) = packets(read).filter(|_| dropped == 0) else {
                assert_eq!(dropped, 1, "a read is admitted or counted");
                assert!(packets(read).is_none_or(|(_, packets)| room(&packets) > 100_000), "for no reason");
                continue;
            };
            match peer {
                READY => sealed.extend(packets),
                GONE => lost += packets.len() as u64,
                _ => handed.extend(packets.into_iter().map(|packet| Note::Unsent(peer, packet))),
            }
        }
        let total = asked.last().copied().unwrap_or(first) + lost;
        assert_eq!(self.dropped(), total, "what goes to a peer that is gone is counted");
        assert!(self.inbox.take(0, Some(std::time::Duration::ZERO)).notes.iter().eq(&handed));
        self.open(&sealed);
        taken
    }

    /// The datagrams hold these packets, in this order.
    fn open(&self, packets: &[Vec<u8>]) {
        let datagrams: Vec<_> = self.outward.datagrams().collect();
        assert_eq!(datagrams.len(), packets.len());
        for ((to, datagram), packet) in datagrams.iter().zip(packets) {
            assert_eq!(*to, Path::Udp(Udp { remote: endpoint(READY).remote(), local: None }));
            assert_eq!(datagram.len(), Session::sealed_len(packet.len(), MTU));
            let Some(Message::Data { receiver, counter }) = Message::parse(datagram) else {
                panic!("no data message")
            };
            assert_eq!(receiver, READY.get());
            let mut arena = datagram.to_vec();
            let mut slots = [Slot { start: 0, len: arena.len(), number: counter, ..Slot::default() }];
            self.remote.open(&mut arena, &mut slots, |reason, _| panic!("{reason}"));
            let (opened, padding) = arena[slots[0].range()].split_at(packet.len());
            assert!(opened == packet && padding.iter().all(|octet| *octet == 0));
        }
    }
}

fn endpoint(peer: PeerId) -> Endpoint {
    Endpoint::udp(([192, 0, 2, peer.get() as u8], 51_820).into())
}

/// Whom a read is for, and the packets that it stands for, given room without end.
fn packets(read: &[u8]) -> Option<(PeerId, Vec<Vec<u8>>)> {
    let (header, bytes) = (VirtioNetHdr::parse(read)?, read.get(virtio::LEN..)?);
    let peer = match ip::destination(bytes)? {
        std::net::IpAddr::V4(v4) => (v4.octets()[0] == 10).then_some(v4.octets()[1])?,
        std::net::IpAddr::V6(v6) => (v6.octets()[0] == 0xfd).then_some(v6.octets()[1])?,
    };
    let peer = Some(PeerId::new(peer.into())).filter(|peer| (1..=4).contains(&peer.get()))?;
    let mut buffer = bytes.to_vec();
    buffer.resize(1 << 19, 0);
    let segments = segment(&mut buffer, bytes.len(), &header, |len| len).ok()?;
    let packets = segments.iter().map(|(at, len)| buffer[at..at + len].to_vec());
    Some((peer, packets.collect()))
}

/// Bytes of arena that the packets take.
fn room(packets: &[Vec<u8>]) -> usize {
    packets.iter().map(|packet| Session::sealed_len(packet.len(), MTU)).sum()
}
