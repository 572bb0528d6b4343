//! MACsec: Ethernet frames in protected frames, between two stations of a link.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use adit_macsec::agreement::{keepalive, message};
use adit_macsec::{ControlledPort, KeyId};
use adit_noise::Time;
use adit_packet::{
    Coalescer, Ecn, Error, Refused, Segments, Slot, VirtioNetHdr, clamp_mss, ethernet, virtio,
};
use adit_wireguard::{Published, Udp, View};

use super::framing::{Framing, Path, Sealed, Sorted};
use super::{Context, Reason};

/// How often the control thread is told that authentic frames come.
const TOLD_EACH: Duration = Duration::from_secs(1);
/// Octets of the longest frame that is looked at for what a TCP connection begins with: headers, tags and options at their
/// longest, and some data.
const SYN: usize = 256;

/// A change to what a worker knows of its link.
#[derive(Clone, Debug)]
pub enum Change {
    /// Frames are sealed and opened with these keys.
    Port(Arc<ControlledPort>),
    /// Octets that a protected frame may have at most.
    Longest(usize),
    /// The other station is to be told that we are there.
    Keepalive,
}

/// What a worker has to say. Few: each is said once, or once a second.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Note {
    /// The first authentic frame came under a key.
    Confirmed(KeyId),
    /// Authentic frames come.
    Authentic,
    /// Three quarters of the packet numbers of the key that is sent with are used.
    Rekey(KeyId),
}

/// Where the other station is reached over UDP, for all threads of a link.
pub type Whereabouts = Arc<Published<Option<Udp>>>;

/// What a worker knows of its link.
#[derive(Debug)]
pub struct Port {
    keys: Arc<ControlledPort>,
    /// Over UDP; on a link of its own there is no other station.
    remote: Option<(Whereabouts, View<Option<Udp>>)>,
    longest: usize,
    /// When the control thread was told last that frames come.
    told: Option<Time>,
    keepalive: bool,
}

impl Port {
    /// A port of a link, over UDP if there is somewhere to keep the address of the other station.
    #[must_use]
    pub fn new(keys: Arc<ControlledPort>, remote: Option<Whereabouts>, longest: usize) -> Self {
        let remote = remote.map(|remote| {
            let view = remote.view();
            (remote, view)
        });
        Self { keys, remote, longest, told: None, keepalive: false }
    }

    /// Octets of what comes before a frame in a datagram.
    fn lead(&self) -> usize {
        if self.remote.is_some() { message::FRAME.len() } else { 0 }
    }

    /// The way to the other station, if that is known.
    fn path(&mut self) -> Option<Path> {
        match &mut self.remote {
            Some((remote, view)) => view.read(remote).map(Path::Udp),
            None => Some(Path::Link),
        }
    }

    /// An authentic frame came from here: what is sent goes there from now on.
    fn roam(&mut self, to: Path) {
        if let (Some((remote, view)), Path::Udp(to)) = (&mut self.remote, to)
            && view.read(remote) != Some(to)
        {
            remote.set(Some(to));
        }
    }
}

impl Framing for Port {
    /// There is one other station.
    type To = ();
    type Source = ();
    type Change = Change;
    type Note = Note;

    const TAIL: usize = ControlledPort::TAIL;

    fn head(&self) -> usize {
        (self.lead() + self.keys.overhead() - Self::TAIL).max(virtio::LEN)
    }

    fn sealed_len(&self, len: usize, _: usize) -> usize {
        self.lead() + len + self.keys.overhead()
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Port(keys) => self.keys = keys,
            Change::Longest(longest) => self.longest = longest,
            Change::Keepalive => self.keepalive = true,
        }
    }

    fn route(&self, packet: &[u8]) -> Result<(), Reason> {
        if packet.len() < ethernet::LEN { Err(Reason::Malformed) } else { Ok(()) }
    }

    fn cut(
        bytes: &mut [u8],
        len: usize,
        header: &VirtioNetHdr,
        stride: impl FnOnce(usize) -> usize,
    ) -> Result<Segments, Error> {
        adit_packet::segment_frame(bytes, len, header, stride)
    }

    /// What a frame carries need not be IP, and must not show: the datagram cannot be marked on its way.
    fn ecn(_: &[u8]) -> Ecn {
        Ecn::NotEct
    }

    fn seal<C>((): (), arena: &mut [u8], slots: &mut [Slot], context: &mut Context<'_, Self, C>) -> Sealed {
        let path = context.framing.path();
        clamp(arena, slots, context.mtu);
        let port = &*context.framing;
        port.keys.seal(arena, slots, port.longest, |refused, frame| {
            context.drop(Reason::Macsec(refused), frame);
        });
        if let Some(key) = port.keys.tell_rekey() {
            context.inbox.note(Note::Rekey(key));
        }
        if port.remote.is_some() {
            for slot in slots.iter_mut().filter(|slot| slot.kept) {
                prepend(&message::FRAME, arena, slot);
            }
        }
        path.map_or_else(
            || {
                context.drop_kept(Reason::NoRoute, arena, slots);
                Sealed::Nowhere
            },
            Sealed::To,
        )
    }

    fn forget_local(&mut self, (): (), gone: Udp) {
        if let Some((remote, _)) = &self.remote {
            // The other station may have moved since: that stays.
            let without = Udp { local: None, ..gone };
            remote.update(|now| if now == Some(gone) { Some(without) } else { now });
        }
    }

    /// Whoever sends numbers the frames: this one must not overtake others, which would be too late then.
    fn own(&mut self) -> Option<Vec<u8>> {
        std::mem::take(&mut self.keepalive).then(|| keepalive::frame(self.keys.settings().sci))
    }

    fn sort(&self, datagram: &[u8]) -> Sorted<()> {
        if self.remote.is_none() {
            return Sorted::Data { source: (), lead: 0, number: 0 };
        }
        match message::Message::parse(datagram) {
            Some(message::Message::Frame) => {
                Sorted::Data { source: (), lead: message::FRAME.len(), number: 0 }
            }
            Some(
                message::Message::Initiation | message::Message::Response | message::Message::CookieReply,
            ) => Sorted::Handshake,
            None => Sorted::Refused(Reason::NotMacsec),
        }
    }

    fn open<C>(
        (): (),
        path: Path,
        arena: &mut [u8],
        slots: &mut [Slot],
        context: &mut Context<'_, Self, C>,
    ) -> Option<Change> {
        let opened = context.framing.keys.open(arena, slots, |refused, frame| {
            context.drop(Reason::Macsec(refused), frame);
        });
        if let Some(key) = opened.confirmed {
            context.inbox.note(Note::Confirmed(key));
        }
        if opened.authentic > 0 {
            context.framing.roam(path);
            if context.framing.told.is_none_or(|told| context.now.since(told) >= TOLD_EACH) {
                context.framing.told = Some(context.now);
                context.inbox.note(Note::Authentic);
            }
        }
        for slot in slots.iter_mut().filter(|slot| slot.kept) {
            slot.kept = !keepalive::is(&arena[slot.range()]);
        }
        clamp(arena, slots, context.mtu);
        None
    }

    fn join(joined: &mut Coalescer, arena: &[u8], packet: Range<usize>) -> Result<(), Refused> {
        joined.push_frame(arena, packet)
    }
}

/// Has the TCP connections that begin in these frames keep to the MTU of the device.
fn clamp(arena: &mut [u8], slots: &[Slot], mtu: usize) {
    for slot in slots.iter().filter(|slot| slot.kept && slot.len <= SYN) {
        clamp_mss(&mut arena[slot.range()], mtu);
    }
}

/// Puts `bytes` ahead of a slot. There is room for them.
fn prepend(bytes: &[u8], arena: &mut [u8], slot: &mut Slot) {
    slot.start -= bytes.len();
    slot.len += bytes.len();
    arena[slot.start..slot.start + bytes.len()].copy_from_slice(bytes);
}
