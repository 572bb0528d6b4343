//! Packets as fields, written out plainly and slowly.

use adit_packet::VirtioNetHdr;
use proptest::prelude::*;

pub(crate) const FIN: u16 = 0x01;
pub(crate) const PSH: u16 = 0x08;
pub(crate) const ACK: u16 = 0x10;
pub(crate) const CWR: u16 = 0x80;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Family {
    V4,
    V6,
}

#[derive(Clone, Debug)]
pub(crate) struct Tcp {
    pub(crate) sequence: u32,
    pub(crate) ack: u32,
    /// Twelve bits: reserved ones and flags.
    pub(crate) flags: u16,
    pub(crate) window: u16,
    pub(crate) urgent: u16,
    pub(crate) options: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) enum Transport {
    Tcp(Tcp),
    Udp,
}

#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) family: Family,
    pub(crate) source: [u8; 16],
    pub(crate) destination: [u8; 16],
    pub(crate) tos: u8,
    pub(crate) ttl: u8,
    pub(crate) id: u16,
    /// The word of flags and fragment offset.
    pub(crate) fragment: u16,
    pub(crate) label: u32,
    /// Words of 4 bytes of IPv4 options, of 8 bytes of hop-by-hop header.
    pub(crate) options: usize,
    pub(crate) ports: [u16; 2],
    pub(crate) transport: Transport,
    pub(crate) payload: Vec<u8>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Checksum {
    Whole,
    /// As the kernel leaves it to the device: the pseudo-header's sum.
    Partial,
}

/// RFC 1071, word by word.
fn sum(data: &[u8]) -> u16 {
    let mut sum = 0_u64;
    for pair in data.chunks(2) {
        sum += u64::from(pair[0]) * 256 + pair.get(1).map_or(0, |&low| u64::from(low));
    }
    while sum > 0xffff {
        sum = sum % 65_536 + sum / 65_536;
    }
    sum as u16
}

impl Packet {
    pub(crate) fn ip_len(&self) -> usize {
        match self.family {
            Family::V4 => 20 + 4 * self.options,
            Family::V6 => 40 + 8 * self.options,
        }
    }

    pub(crate) fn is_udp(&self) -> bool {
        matches!(self.transport, Transport::Udp)
    }

    pub(crate) fn header_len(&self) -> usize {
        self.ip_len()
            + match &self.transport {
                Transport::Tcp(tcp) => 20 + tcp.options.len(),
                Transport::Udp => 8,
            }
    }

    fn addresses(&self) -> Vec<u8> {
        let len = match self.family {
            Family::V4 => 4,
            Family::V6 => 16,
        };
        [&self.source[..len], &self.destination[..len]].concat()
    }

    fn protocol(&self) -> u8 {
        if self.is_udp() { 17 } else { 6 }
    }

    pub(crate) fn bytes(&self, checksum: Checksum) -> Vec<u8> {
        let data = self.data(checksum);
        let mut packet = match self.family {
            Family::V4 => self.v4_header(data.len()),
            Family::V6 => self.v6_header(data.len()),
        };
        packet.extend(data);
        packet
    }

    fn v4_header(&self, data_len: usize) -> Vec<u8> {
        let words = 5 + self.options as u8;
        let total = (self.ip_len() + data_len) as u16;
        let mut header = vec![0x40 | words, self.tos];
        header.extend(total.to_be_bytes());
        header.extend(self.id.to_be_bytes());
        header.extend(self.fragment.to_be_bytes());
        header.extend([self.ttl, self.protocol(), 0, 0]);
        header.extend(self.addresses());
        header.extend(vec![1; 4 * self.options]);
        let checksum = !sum(&header);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        header
    }

    fn v6_header(&self, data_len: usize) -> Vec<u8> {
        let first = 6 << 28 | u32::from(self.tos) << 20 | self.label & 0xf_ffff;
        let payload = (8 * self.options + data_len) as u16;
        let mut header = first.to_be_bytes().to_vec();
        header.extend(payload.to_be_bytes());
        let next = if self.options > 0 { 0 } else { self.protocol() };
        header.extend([next, self.ttl]);
        header.extend(self.addresses());
        if self.options > 0 {
            let filler = 8 * self.options - 4;
            header.extend([self.protocol(), self.options as u8 - 1, 1, filler as u8]);
            header.extend(vec![0; filler]);
        }
        header
    }

    fn data(&self, checksum: Checksum) -> Vec<u8> {
        let mut data = Vec::new();
        data.extend(self.ports[0].to_be_bytes());
        data.extend(self.ports[1].to_be_bytes());
        let at = match &self.transport {
            Transport::Tcp(tcp) => {
                let words = 5 + tcp.options.len() as u16 / 4;
                data.extend(tcp.sequence.to_be_bytes());
                data.extend(tcp.ack.to_be_bytes());
                data.extend((words << 12 | tcp.flags).to_be_bytes());
                data.extend(tcp.window.to_be_bytes());
                data.extend([0, 0]);
                data.extend(tcp.urgent.to_be_bytes());
                data.extend(&tcp.options);
                16
            }
            Transport::Udp => {
                data.extend((8 + self.payload.len() as u16).to_be_bytes());
                data.extend([0, 0]);
                6
            }
        };
        data.extend(&self.payload);

        let mut pseudo = self.addresses();
        pseudo.extend([0, self.protocol()]);
        pseudo.extend((data.len() as u32).to_be_bytes());
        let value = match checksum {
            Checksum::Partial => sum(&pseudo),
            Checksum::Whole => {
                pseudo.extend(&data);
                match !sum(&pseudo) {
                    0 if self.is_udp() => 0xffff,
                    value => value,
                }
            }
        };
        data[at..at + 2].copy_from_slice(&value.to_be_bytes());
        data
    }

    /// The TCP header, if it is one.
    pub(crate) fn tcp(&mut self) -> Option<&mut Tcp> {
        match &mut self.transport {
            Transport::Tcp(tcp) => Some(tcp),
            Transport::Udp => None,
        }
    }

    /// Goes on behind its payload, which took `count` packets.
    pub(crate) fn advance(&mut self, count: usize) {
        self.id = self.id.wrapping_add(count as u16);
        let ahead = self.payload.len() as u32;
        if let Some(tcp) = self.tcp() {
            tcp.sequence = tcp.sequence.wrapping_add(ahead);
        }
    }

    /// The header that the kernel gives with this packet as a super-packet.
    pub(crate) fn virtio(&self, gso_size: u16) -> VirtioNetHdr {
        VirtioNetHdr {
            flags: 1,
            gso_type: match (&self.transport, self.family) {
                (Transport::Tcp(_), Family::V4) => 1,
                (Transport::Tcp(_), Family::V6) => 4,
                (Transport::Udp, _) => 5,
            },
            hdr_len: self.header_len() as u16,
            gso_size,
            csum_start: self.ip_len() as u16,
            csum_offset: if self.is_udp() { 6 } else { 16 },
        }
    }

    /// The packets that this super-packet stands for.
    pub(crate) fn cut(&self, gso_size: u16) -> Vec<Self> {
        let mut packets: Vec<Self> = Vec::new();
        let mut payload = self.payload.as_slice();
        loop {
            let (chunk, rest) = payload.split_at(payload.len().min(gso_size.into()));
            let mut packet = self.clone();
            packet.payload = chunk.to_vec();
            packet.id = self.id.wrapping_add(packets.len() as u16);
            if let Transport::Tcp(tcp) = &mut packet.transport {
                let ahead = packets.len() * usize::from(gso_size);
                tcp.sequence = tcp.sequence.wrapping_add(ahead as u32);
                if !packets.is_empty() {
                    tcp.flags &= !CWR;
                }
                if !rest.is_empty() {
                    tcp.flags &= !(FIN | PSH);
                }
            }
            packets.push(packet);
            if rest.is_empty() {
                return packets;
            }
            payload = rest;
        }
    }
}

/// What a super-packet of the kernel may look like.
pub(crate) fn any_super() -> impl Strategy<Value = (Packet, u16)> {
    (any_packet(0..4, any_flags()), 1_u16..1500, 0_usize..40).prop_flat_map(|(packet, gso_size, segments)| {
        let room = 65_535 - packet.header_len();
        let most = (segments * usize::from(gso_size)).min(room);
        (payload(0..=most), Just((packet, gso_size)))
            .prop_map(|(payload, (packet, size))| (Packet { payload, ..packet }, size))
    })
}

/// A super-packet that comes out of the coalescer again.
pub(crate) fn joinable_super() -> impl Strategy<Value = (Packet, u16)> {
    let flags = prop_oneof![Just(ACK), Just(ACK | PSH)];
    (any_packet(0..1, flags), 1_u16..1500, 1_usize..40).prop_flat_map(|(packet, gso_size, segments)| {
        let room = 65_535 - packet.header_len();
        let most = (segments * usize::from(gso_size)).min(room);
        (payload(1..=most), Just((packet, gso_size)))
            .prop_map(|(payload, (packet, size))| (Packet { payload, ..packet }, size))
    })
}

/// Bytes that do not cost a random number each.
pub(crate) fn payload(len: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Vec<u8>> {
    let len = len.into();
    (len.start()..len.end_excl(), any::<u64>()).prop_map(|(len, seed)| {
        let mut state = seed;
        (0..len)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect()
    })
}

fn any_flags() -> impl Strategy<Value = u16> {
    (0_u16..0x1000).prop_map(|flags| flags & !0x02 | ACK)
}

fn any_transport(flags: impl Strategy<Value = u16>) -> impl Strategy<Value = Transport> {
    let options = proptest::collection::vec(any::<[u8; 4]>(), 0..=10);
    let tcp = (any::<(u32, u32, u16, u16)>(), flags, options).prop_map(
        |((sequence, ack, window, urgent), flags, options)| {
            Transport::Tcp(Tcp { sequence, ack, flags, window, urgent, options: options.concat() })
        },
    );
    prop_oneof![tcp, Just(Transport::Udp)]
}

/// A packet without payload.
pub(crate) fn any_packet(
    options: core::ops::Range<usize>,
    flags: impl Strategy<Value = u16>,
) -> impl Strategy<Value = Packet> {
    (
        prop_oneof![Just(Family::V4), Just(Family::V6)],
        any::<([u8; 16], [u8; 16])>(),
        any::<(u8, u8, u16, u32)>(),
        prop_oneof![Just(0_u16), Just(0x4000), Just(0x8000)],
        options,
        any::<[u16; 2]>(),
        any_transport(flags),
    )
        .prop_map(|(family, addresses, octets, fragment, options, ports, transport)| Packet {
            family,
            source: addresses.0,
            destination: addresses.1,
            tos: octets.0,
            ttl: octets.1,
            id: octets.2,
            fragment,
            label: octets.3,
            options,
            ports,
            transport,
            payload: Vec::new(),
        })
}
