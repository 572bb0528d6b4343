//! The receive path of a link's worker: from what the wire brings to the frames that its TAP device gets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adit::datapath::macsec::{Note, Port, Whereabouts};
use adit::datapath::{Context, Inbox, Inward, Reason, Tally, Tracer};
use adit::net::offload::Offloads;
use adit_macsec::agreement::{keepalive, message};
use adit_macsec::{KeyId, Refused, SciEncoding, SecY, ValidateFrames};
use adit_noise::Time;
use adit_packet::{Ecn, clamp_mss};
use adit_wireguard::{Published, Udp};

use crate::judge::{Judge, Verdict};
use crate::macsec::{EAST, Pair, draw};
use crate::{Input, frame, join, keys, packet};

const MTU: usize = 1_342;
/// Octets of the longest frame in which a SYN is looked for.
const SYN: usize = 256;
/// Octets of the longest frame that is sealed, about.
const LONGEST: usize = 1_600;
/// Between two rounds at most.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(400), Duration::from_secs(1)];
/// How often the control thread is told that frames come.
const TOLD_EACH: Duration = Duration::from_secs(1);

/// Rounds of a worker with frames or trains of datagrams: sealed frames, these again, damaged ones, others, messages of the key
/// agreement. Nothing reaches the device but what was sealed, once; the rest is counted under its reason, or handed to control.
pub fn datapath_link(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.byte();
    let offloads = Offloads { tun_tso: flags & 1 == 0, tun_uso: flags & 2 == 0, ..Offloads::default() };
    let encodings = [SciEncoding::Included, SciEncoding::PointToPoint];
    let pair = Pair::draw(&mut input, keys::seed(data), &encodings);
    let mut side = Side::new(&pair, &offloads, flags & 4 != 0, flags & 8 == 0);
    let (mut now, mut known) = (Time::from_secs(1_000), Vec::new());
    for _ in 0..12 {
        if input.is_empty() {
            break;
        }
        now = now + input.one(&PAUSES);
        let pieces: Vec<_> =
            (0..1 + input.below(24)).map(|_| side.piece(&pair, &mut input, &mut known)).collect();
        let trains = side.trains(pieces);
        if side.together {
            side.round(&trains, now);
        } else {
            trains.chunks(1).for_each(|train| side.round(train, now));
        }
    }
    // In a batch the window moves once for many: what is both late and not valid may be found to be either.
    let together = side.together;
    side.judge.compare(side.west.port(), |name| {
        let either = together && matches!(name, "InPktsLate" | "InPktsNotValid");
        if either { "either" } else { name }.to_owned()
    });
}

/// What the wire brings at once: a frame, or datagrams of one length, of which the last may be shorter.
struct Train {
    bytes: Vec<u8>,
    stride: usize,
    path: Udp,
}

/// The station under test, and what must have become of everything so far.
struct Side {
    west: SecY,
    port: Port,
    /// Over UDP: where the other station is.
    remote: Option<Whereabouts>,
    expected_remote: Option<Udp>,
    /// Whether many frames are looked at together.
    together: bool,
    judge: Judge,
    key: KeyId,
    inward: Inward<Port>,
    tally: Tally,
    tracer: Arc<Tracer>,
    shown: u64,
    inbox: Inbox<Note, ()>,
    confirmed: bool,
    told: Option<Time>,
    expected: Vec<(Reason, u64)>,
    /// The last frame of the hosts behind the other station.
    before: Vec<u8>,
}

impl Side {
    fn new(pair: &Pair, offloads: &Offloads, over_udp: bool, together: bool) -> Self {
        let west = pair.west();
        let remote = over_udp.then(|| Whereabouts::new(Published::new(None)));
        let tracer = Arc::new(Tracer::default());
        assert!(tracer.begin());
        Self {
            port: Port::new(west.port().clone(), remote.clone(), usize::MAX),
            west,
            remote,
            expected_remote: None,
            // What nobody vouches for is late or delivered: with many together that cannot be foretold.
            together: together && pair.settings.validate_frames == ValidateFrames::Strict,
            judge: pair.judge(),
            key: pair.key(),
            inward: Inward::new(offloads),
            tally: Tally::new(tracer.clone()),
            tracer,
            shown: 0,
            inbox: Inbox::default(),
            confirmed: false,
            told: None,
            expected: Reason::all().map(|reason| (reason, 0)).collect(),
            before: Vec::new(),
        }
    }

    /// What a carrier may bring, and where from.
    fn piece(&mut self, pair: &Pair, input: &mut Input<'_>, known: &mut Vec<Vec<u8>>) -> (Vec<u8>, Udp) {
        let remote: SocketAddr = ([192, 0, 2, 1 + input.byte() % 2], 1).into();
        let path = Udp { remote, local: None };
        let before = &mut self.before;
        let frame = draw(input, pair.east.port(), &mut self.judge, known, |input| clear(input, before));
        if self.remote.is_none() {
            return (frame, path);
        }
        let bytes = match input.byte() {
            0..=15 => {
                let len = input.one(&[message::INITIATION, message::RESPONSE, message::COOKIE_REPLY, 4, 3]);
                let mut bytes = vec![1 + input.byte() % 4, 0, 0, 0];
                bytes.resize(len, input.byte());
                bytes
            }
            16..=31 => frame,
            _ => [&message::FRAME[..], &frame].concat(),
        };
        (bytes, path)
    }

    /// Over UDP what is as long as what came before it, from the same place, is one train with it; unless each is looked at alone.
    fn trains(&self, pieces: Vec<(Vec<u8>, Udp)>) -> Vec<Train> {
        let mut trains: Vec<Train> = Vec::new();
        for (bytes, path) in pieces {
            match trains.last_mut() {
                Some(last)
                    if self.together
                        && self.remote.is_some()
                        && last.path == path
                        && !bytes.is_empty()
                        && bytes.len() <= last.stride
                        && last.bytes.len() % last.stride == 0
                        && last.bytes.len() + bytes.len() < 1 << 16 =>
                {
                    last.bytes.extend(bytes);
                }
                _ => trains.push(Train { stride: bytes.len().max(1), bytes, path }),
            }
        }
        trains
    }

    /// One round of a worker, beside what it should be.
    fn round(&mut self, trains: &[Train], now: Time) {
        let each = trains.iter().map(|train| (train.bytes.as_slice(), train.stride, train.path, Ecn::NotEct));
        let taken = self.inward.receive_from(each);
        assert_eq!(taken, trains.len(), "there is room for a round");
        let (mut handshakes, mut frames, mut heard) = (Vec::new(), Vec::new(), None);
        for train in trains {
            for datagram in datagrams(train) {
                match self.sort(datagram) {
                    Sorted::Control => handshakes.push(datagram.to_vec()),
                    Sorted::Frame(frame) => {
                        let Verdict { fate, authentic } = self.judge.judge(frame);
                        heard = authentic.then_some(train.path).or(heard);
                        match fate {
                            Ok(frame) => frames.push(frame),
                            Err(reason) => self.expect(Reason::Macsec(reason)),
                        }
                    }
                    Sorted::Stray => self.expect(Reason::NotMacsec),
                }
            }
        }
        frames.retain(|frame| !keepalive::is(frame));
        for frame in frames.iter_mut().filter(|frame| frame.len() <= SYN) {
            clamp_mss(frame, MTU);
        }
        let (framing, tally, inbox) = (&mut self.port, &self.tally, &self.inbox);
        let mut context = Context { framing, tally, inbox, mtu: MTU, now };
        self.inward.sort(&mut context);
        self.inward.open(&mut context);

        self.check_drops();
        let handed = self.inbox.take(usize::MAX, Some(Duration::ZERO));
        assert!(handed.handshakes.iter().map(|handshake| &handshake.message).eq(&handshakes));
        assert!(handed.notes.iter().eq(&self.notes(heard.is_some(), now)), "{:?}", handed.notes);
        if let Some(remote) = &self.remote {
            self.expected_remote = heard.or(self.expected_remote);
            assert_eq!(remote.get(), self.expected_remote, "only what is authentic moves the other station");
        }
        let mut written = Vec::new();
        for (header, pieces) in self.inward.writes() {
            // As many as one `writev` has vectors for.
            assert!(pieces.len() <= 128);
            written.extend(join::FRAMES.unjoin(&header, &pieces.concat(), join::LIMITS));
        }
        join::FRAMES.same(&frames, &written);
    }

    /// What the control thread is told in a round.
    fn notes(&mut self, heard: bool, now: Time) -> Vec<Note> {
        let mut notes = Vec::new();
        if heard {
            if !std::mem::replace(&mut self.confirmed, true) {
                notes.push(Note::Confirmed(self.key));
            }
            if self.told.is_none_or(|told| now.since(told) >= TOLD_EACH) {
                self.told = Some(now);
                notes.push(Note::Authentic);
            }
        }
        notes
    }

    fn expect(&mut self, reason: Reason) {
        let counter = self.expected.iter_mut().find(|(other, _)| *other == reason);
        counter.expect("every reason is listed").1 += 1;
    }

    /// Each drop was counted under its reason, and shown to who watches.
    fn check_drops(&mut self) {
        let either = [Reason::Macsec(Refused::Late), Reason::Macsec(Refused::NotValid)];
        let (mut counted, mut expected) = (0, 0);
        for (reason, count) in &self.expected {
            let found = self.tally.drops().of(*reason);
            if self.together && either.contains(reason) {
                (counted, expected) = (counted + found, expected + count);
            } else {
                assert_eq!(found, *count, "{}", reason.as_str());
            }
        }
        assert_eq!(counted, expected, "late or not valid");
        let (shown, missed) = self.tracer.take();
        self.shown += missed + shown.iter().map(|dropped| dropped.packets).sum::<u64>();
        assert_eq!(self.shown, self.expected.iter().map(|(_, count)| count).sum::<u64>());
    }

    /// What a datagram is, or a frame of a link.
    fn sort<'d>(&self, datagram: &'d [u8]) -> Sorted<'d> {
        if self.remote.is_none() {
            return Sorted::Frame(datagram);
        }
        match datagram.split_first_chunk::<4>() {
            Some(([16, 0, 0, 0], frame)) => Sorted::Frame(frame),
            Some(([1, 0, 0, 0], _)) if datagram.len() == message::INITIATION => Sorted::Control,
            Some(([2, 0, 0, 0], _)) if datagram.len() == message::RESPONSE => Sorted::Control,
            Some(([3, 0, 0, 0], _)) if datagram.len() == message::COOKIE_REPLY => Sorted::Control,
            _ => Sorted::Stray,
        }
    }
}

/// What a datagram is.
enum Sorted<'d> {
    Control,
    Frame(&'d [u8]),
    Stray,
}

/// The datagrams of a train; none at all is an empty one.
fn datagrams(train: &Train) -> impl Iterator<Item = &[u8]> {
    let empty = train.bytes.is_empty().then_some(&[][..]);
    train.bytes.chunks(train.stride).chain(empty)
}

/// A frame of the hosts behind the other station: mostly around IP, often one that follows `before` in its flow; or what says
/// that the station is there.
fn clear(input: &mut Input<'_>, before: &mut Vec<u8>) -> Vec<u8> {
    let choice = input.byte();
    if choice == 7 {
        return keepalive::frame(EAST);
    }
    if choice & 1 == 0 || before.is_empty() {
        let link = frame::link(input);
        let mut packet = packet::any(input);
        packet.truncate(LONGEST);
        *before = frame::around(&link, &packet, input);
        frame::pad(before, input);
    } else {
        let len = usize::from(input.byte()) * 4;
        *before = frame::follow(before, len, input);
    }
    before.clone()
}
