//! The receive path of a worker: what is in the datagrams decides what becomes of each, and nothing is lost unseen.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use adit::datapath::wireguard::{Change, Note, Table};
use adit::datapath::{Context, Framing, Inbox, Inward, Reason, Tally, Tracer};
use adit::net::offload::Offloads;
use adit_noise::Time;
use adit_packet::{Ecn, Slot, ecn, ip};
use adit_wireguard::message::{DATA_MIN, Message};
use adit_wireguard::timers::REJECT_AFTER_MESSAGES;
use adit_wireguard::{AllowedIps, Endpoint, PeerId, Refused, Session, Traffic, Udp};

use crate::{Input, join, keys, packet};

/// The index of the one session.
const INDEX: u32 = 7;
const MTU: usize = 1_420;
const PEER: PeerId = PeerId::new(1);

/// Batches of trains of any stride: garbage, headers alone, truly sealed packets, and these again.
pub fn datapath_inward(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.byte();
    let offloads = Offloads { tun_tso: flags & 1 == 0, tun_uso: flags & 2 == 0, ..Offloads::default() };
    let born = Time::from_secs(1_000);
    let mut side = Side::new(&offloads, keys::seed(data), born);
    for _ in 0..3 {
        if input.is_empty() {
            break;
        }
        let now = if flags & 0x1c == 0x1c { Time::from_secs(1_180) } else { born };
        let trains = (0..1 + input.below(8)).map(|_| side.train(&mut input)).collect::<Vec<_>>();
        side.batch(&trains, now);
    }
}

/// What one receive brings.
struct Train {
    bytes: Vec<u8>,
    stride: usize,
    path: Udp,
    ecn: Ecn,
}

/// What was sealed for the side: a datagram, and the packet in it with its padding.
struct Sealed {
    datagram: Vec<u8>,
    packet: Vec<u8>,
}

/// The side under test, the session that seals for it, and what must have become of everything so far.
struct Side {
    table: Table,
    tally: Tally,
    tracer: Arc<Tracer>,
    shown: u64,
    inbox: Inbox<Note, ()>,
    inward: Inward<Table>,
    traffic: Arc<Traffic>,
    remote: Session,
    sealed: Vec<Sealed>,
    opened: HashSet<usize>,
    expected: Vec<(Reason, u64)>,
}

impl Side {
    fn new(offloads: &Offloads, seed: u64, born: Time) -> Self {
        let traffic = Arc::new(Traffic::new(PEER, None));
        let local = Session::new(traffic.clone(), &keys::session_of(seed, 2, 1), INDEX, 8, false, born);
        let remote = Session::new(traffic.clone(), &keys::session_of(seed, 1, 2), 8, INDEX, true, born);
        let mut routes = AllowedIps::default();
        for (range, peer) in [("10.0.0.0/8", 1), ("fd00::/8", 1), ("10.9.0.0/16", 2)] {
            routes.insert(range.parse().expect("a range"), PeerId::new(peer));
        }
        let mut table = Table::default();
        table.apply(Change::Peer(PEER, Some(traffic.clone())));
        table.apply(Change::Session(INDEX, Some(Arc::new(local))));
        table.apply(Change::Routes(Arc::new(routes)));
        let tracer = Arc::new(Tracer::default());
        assert!(tracer.begin());
        Self {
            table,
            tally: Tally::new(tracer.clone()),
            tracer,
            shown: 0,
            inbox: Inbox::default(),
            inward: Inward::new(offloads),
            traffic,
            remote,
            sealed: Vec::new(),
            opened: HashSet::new(),
            expected: Reason::all().map(|reason| (reason, 0)).collect(),
        }
    }

    fn seal(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut arena = vec![0; Session::HEAD + packet.len() + Session::TAIL];
        arena[Session::HEAD..Session::HEAD + packet.len()].copy_from_slice(packet);
        let mut slots = [Slot { start: Session::HEAD, len: packet.len(), ..Slot::default() }];
        self.remote.seal(&mut arena, &mut slots, MTU).expect("room and a fresh key");
        let datagram = arena[slots[0].range()].to_vec();
        let mut packet = packet.to_vec();
        packet.resize(datagram.len() - Session::OVERHEAD, 0);
        self.sealed.push(Sealed { datagram: datagram.clone(), packet });
        datagram
    }

    fn train(&mut self, input: &mut Input<'_>) -> Train {
        let (mut bytes, mut first) = (Vec::new(), None);
        let mut before = Vec::new();
        for _ in 0..input.below(32) {
            let piece = match input.byte() % 8 {
                0 => {
                    let len = input.byte().into();
                    input.bytes(len).to_vec()
                }
                1 => {
                    let mut header = vec![input.byte() % 6, 0, 0, 0];
                    header.extend(input.one(&[INDEX, INDEX, 0]).to_le_bytes());
                    header.extend([input.byte() % 8 * 0x24; 8]);
                    header.resize(input.one(&[148, 92, 64, DATA_MIN, 31, 1_452, 16]), input.byte());
                    header
                }
                2 => {
                    let again = input.byte();
                    let sealed = self.sealed.iter().rev().nth(again.into());
                    sealed.map(|sealed| sealed.datagram.clone()).unwrap_or_default()
                }
                3 => vec![input.byte(); input.word().into()],
                4 => self.seal(&[]),
                kind => {
                    if kind == 5 || before.is_empty() {
                        before = packet::any(input);
                    } else {
                        before = packet::follow(&before, usize::from(input.byte()) * 8);
                    }
                    self.seal(&before)
                }
            };
            first.get_or_insert(piece.len());
            bytes.extend(piece);
        }
        bytes.truncate(1 << 16);
        let stride = if input.flag() { input.word().into() } else { first.unwrap_or(0) };
        let remote: SocketAddr = ([192, 0, 2, 1 + input.byte() % 2], 1).into();
        Train { bytes, stride, path: Udp { remote, local: None }, ecn: Ecn::from_tos(input.byte()) }
    }

    /// One round of a worker, beside what it should be.
    fn batch(&mut self, trains: &[Train], now: Time) {
        let each = trains.iter().map(|train| (train.bytes.as_slice(), train.stride, train.path, train.ecn));
        let taken = self.inward.receive_from(each);
        let fresh = self.remote.is_fresh(now);
        let (mut handshakes, mut packets, mut bytes, mut from) = (Vec::new(), Vec::new(), 0, None);
        for train in &trains[..taken] {
            for datagram in datagrams(train) {
                match self.judge(datagram, train.ecn, fresh) {
                    Fate::Control => handshakes.push(datagram.to_vec()),
                    Fate::Dropped(reason) => self.expect(reason),
                    Fate::Opened(packet) => {
                        (from, bytes) = (Some(Endpoint::Udp(train.path)), bytes + datagram.len() as u64);
                        match packet {
                            Ok(packet) => packets.extend(packet),
                            Err(reason) => self.expect(reason),
                        }
                    }
                }
            }
        }
        let (place, known) = (self.traffic.endpoint.get(), self.traffic.received_bytes());
        let first = known == 0 && from.is_some();
        let (framing, tally, inbox) = (&mut self.table, &self.tally, &self.inbox);
        let mut context = Context { framing, tally, inbox, mtu: MTU, now };
        self.inward.sort(&mut context);
        self.inward.open(&mut context);

        for (reason, count) in &self.expected {
            assert_eq!(self.tally.drops().of(*reason), *count, "{}", reason.as_str());
        }
        let (shown, missed) = self.tracer.take();
        self.shown += missed + shown.iter().map(|dropped| dropped.packets).sum::<u64>();
        assert_eq!(
            self.shown,
            self.expected.iter().map(|(_, count)| count).sum::<u64>(),
            "each drop is shown"
        );
        let handed = self.inbox.take(usize::MAX, Some(std::time::Duration::ZERO));
        assert!(handed.handshakes.iter().map(|handshake| &handshake.message).eq(&handshakes));
        assert!(handed.notes.iter().eq(first.then_some(&Note::Confirmed(INDEX))), "{:?}", handed.notes);
        assert_eq!(self.traffic.endpoint.get(), from.or(place), "only what is authentic moves the peer");
        assert_eq!(self.traffic.received_bytes(), known + bytes);
        let mut written = Vec::new();
        for (header, pieces) in self.inward.writes() {
            // As many as one `writev` has vectors for.
            assert!(pieces.len() <= 128);
            written.extend(join::PACKETS.unjoin(&header, &pieces.concat(), join::LIMITS));
        }
        join::PACKETS.same(&packets, &written);
    }

    fn expect(&mut self, reason: Reason) {
        let counter = self.expected.iter_mut().find(|(other, _)| *other == reason);
        counter.expect("every reason is listed").1 += 1;
    }

    /// What has to become of a datagram.
    fn judge(&mut self, datagram: &[u8], outer: Ecn, fresh: bool) -> Fate {
        let (receiver, counter) = match Message::parse(datagram) {
            None => return Fate::Dropped(Reason::NotWireguard),
            Some(Message::Initiation | Message::Response | Message::CookieReply) => return Fate::Control,
            Some(Message::Data { receiver, counter }) => (receiver, counter),
        };
        if receiver != INDEX {
            return Fate::Dropped(Reason::UnknownSession);
        }
        if !fresh {
            return Fate::Dropped(Reason::Expired);
        }
        if counter >= REJECT_AFTER_MESSAGES {
            return Fate::Dropped(Reason::Protocol(Refused::Exhausted));
        }
        let Some(at) = self.sealed.iter().position(|sealed| sealed.datagram == datagram) else {
            return Fate::Dropped(Reason::Protocol(Refused::Auth));
        };
        if !self.opened.insert(at) {
            return Fate::Dropped(Reason::Protocol(Refused::Replay));
        }
        let packet = self.sealed[at].packet.clone();
        Fate::Opened(if packet.is_empty() { Ok(None) } else { accept(packet, outer).map(Some) })
    }
}

/// What becomes of a datagram.
enum Fate {
    Dropped(Reason),
    /// It goes to the control thread.
    Control,
    /// It is authentic: a keepalive, a packet to deliver, or one to drop.
    Opened(Result<Option<Vec<u8>>, Reason>),
}

/// The datagrams of a train; none at all is an empty one.
fn datagrams(train: &Train) -> impl Iterator<Item = &[u8]> {
    let empty = train.bytes.is_empty().then_some(&[][..]);
    train.bytes.chunks(train.stride.max(1)).chain(empty)
}

/// The packet that is delivered, if this one may be.
fn accept(mut packet: Vec<u8>, outer: Ecn) -> Result<Vec<u8>, Reason> {
    packet.truncate(ip::trim(&packet).ok_or(Reason::Malformed)?);
    let source = ip::source(&packet).ok_or(Reason::Malformed)?;
    let own = match source {
        std::net::IpAddr::V4(v4) => v4.octets()[0] == 10 && v4.octets()[1] != 9,
        std::net::IpAddr::V6(v6) => v6.octets()[0] == 0xfd,
    };
    if !own {
        return Err(Reason::Source);
    }
    ecn::decapsulate(&mut packet, outer).map_err(|_| Reason::Congestion)?;
    Ok(packet)
}
