//! Both directions without devices: bytes from memory in place of a socket or a TUN queue. For the fuzz targets alone.

use adit_packet::{Ecn, VirtioNetHdr, virtio};
use adit_wireguard::Udp;

use super::{BATCH, Context, Framing, Inward, Outward, Path, READ};
use crate::net::udp::Received;

impl<F: Framing> Outward<F> {
    /// As [`Self::gather`]; each of `reads` is a virtio header and a packet. Takes them until the batch is full, and says
    /// how many it took.
    #[doc(hidden)]
    pub fn gather_from<C>(
        &mut self,
        reads: impl IntoIterator<Item = Vec<u8>>,
        context: &mut Context<'_, F, C>,
    ) -> usize {
        self.clear();
        self.take_own(context);
        let mut reads = reads.into_iter();
        let mut taken = 0;
        while self.has_room(context)
            && let Some(read) = reads.next()
        {
            let start = self.used + context.framing.head();
            let buffer = &mut self.arena[start - virtio::LEN..start + READ];
            let len = read.len().min(buffer.len());
            buffer[..len].copy_from_slice(&read[..len]);
            self.admit(start, len.saturating_sub(virtio::LEN), context);
            taken += 1;
        }
        taken
    }

    /// What [`Self::send`] would send, one by one, and where to.
    #[doc(hidden)]
    pub fn datagrams(&self) -> impl Iterator<Item = (Path, &[u8])> {
        let sealed = self.groups.iter().filter_map(|group| Some((group.path?, group.slots.clone())));
        sealed.flat_map(move |(to, slots)| {
            let kept = self.slots[slots].iter().filter(|slot| slot.kept);
            kept.map(move |slot| (to, &self.arena[slot.range()]))
        })
    }
}

impl<F: Framing> Inward<F> {
    /// As [`Self::receive`]; each train is its bytes, its stride, its path and its congestion mark. Takes them until the
    /// batch is full, and says how many it took.
    #[doc(hidden)]
    pub fn receive_from<'t>(
        &mut self,
        trains: impl IntoIterator<Item = (&'t [u8], usize, Udp, Ecn)>,
    ) -> usize {
        self.clear();
        let mut trains = trains.into_iter();
        let mut taken = 0;
        while self.used < BATCH
            && let Some((bytes, stride, path, ecn)) = trains.next()
        {
            let len = bytes.len().min(READ);
            self.arena[self.used..self.used + len].copy_from_slice(&bytes[..len]);
            self.admit(&Received { len, stride, path, ecn, truncated: false, lost: 0 });
            taken += 1;
        }
        taken
    }

    /// What [`Self::deliver`] would write: the header and the pieces of each packet or super-packet.
    #[doc(hidden)]
    pub fn writes(&mut self) -> impl Iterator<Item = (VirtioNetHdr, Vec<&[u8]>)> {
        self.joined.finish(&mut self.arena);
        let bytes = |piece| &self.arena[piece];
        self.joined.items().map(move |(header, pieces)| (header, pieces.map(bytes).collect()))
    }
}
