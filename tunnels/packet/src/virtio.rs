//! The virtio network header before each packet of a TUN device opened with `IFF_VNET_HDR`
//! (Virtio 1.2, section 5.1.6; the legacy form, without `num_buffers`).

/// Bytes of the header on the device (`TUNSETVNETHDRSZ`).
pub const LEN: usize = 10;

/// `flags`: the checksum is partial and has to be completed from `csum_start` on.
pub const NEEDS_CSUM: u8 = 1;
/// `flags`: the checksum was verified.
pub const DATA_VALID: u8 = 2;

/// `gso_type`: one packet.
pub const GSO_NONE: u8 = 0;
/// `gso_type`: TCP over IPv4.
pub const GSO_TCPV4: u8 = 1;
/// `gso_type`: TCP over IPv6.
pub const GSO_TCPV6: u8 = 4;
/// `gso_type`: UDP datagrams of equal length, over either family (Linux 6.2).
pub const GSO_UDP_L4: u8 = 5;
/// Bit of `gso_type`: the TCP header carries CWR, which only the first segment may keep.
pub const GSO_ECN: u8 = 0x80;

/// A virtio network header. All zero means one whole packet with a whole checksum.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct VirtioNetHdr {
    /// [`NEEDS_CSUM`], [`DATA_VALID`].
    pub flags: u8,
    /// One of the `GSO_` types, perhaps with [`GSO_ECN`].
    pub gso_type: u8,
    /// Bytes of all headers of the packet. Linux has been seen to set more than that.
    pub hdr_len: u16,
    /// Bytes of payload in each segment but the last.
    pub gso_size: u16,
    /// Where the checksum begins to count: the offset of the transport header.
    pub csum_start: u16,
    /// Where the checksum lies, from `csum_start`.
    pub csum_offset: u16,
}

impl VirtioNetHdr {
    /// Reads the header from the first [`LEN`] bytes; `None` if there are fewer.
    ///
    /// The integers are in the byte order of the host, as the legacy interface has it.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let &[flags, gso_type, h0, h1, g0, g1, s0, s1, o0, o1] = data.first_chunk::<LEN>()?;
        Some(Self {
            flags,
            gso_type,
            hdr_len: u16::from_ne_bytes([h0, h1]),
            gso_size: u16::from_ne_bytes([g0, g1]),
            csum_start: u16::from_ne_bytes([s0, s1]),
            csum_offset: u16::from_ne_bytes([o0, o1]),
        })
    }

    /// Writes the header over the first [`LEN`] bytes; `None`, and nothing written, if there are
    /// fewer.
    pub fn emit(&self, out: &mut [u8]) -> Option<()> {
        *out.first_chunk_mut()? = self.to_bytes();
        Some(())
    }

    /// The header as the device wants it.
    pub const fn to_bytes(&self) -> [u8; LEN] {
        let [h0, h1] = self.hdr_len.to_ne_bytes();
        let [g0, g1] = self.gso_size.to_ne_bytes();
        let [s0, s1] = self.csum_start.to_ne_bytes();
        let [o0, o1] = self.csum_offset.to_ne_bytes();
        [self.flags, self.gso_type, h0, h1, g0, g1, s0, s1, o0, o1]
    }

    /// The `GSO_` type without [`GSO_ECN`].
    pub const fn gso(&self) -> u8 {
        self.gso_type & !GSO_ECN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn fields_lie_where_the_kernel_puts_them() {
        let bytes = [1, 0x84, 0x34, 0x12, 0x58, 0x05, 40, 0, 16, 0];
        let hdr = VirtioNetHdr {
            flags: NEEDS_CSUM,
            gso_type: GSO_TCPV6 | GSO_ECN,
            hdr_len: 0x1234,
            gso_size: 1368,
            csum_start: 40,
            csum_offset: 16,
        };
        assert_eq!(VirtioNetHdr::parse(&bytes), Some(hdr));
        assert_eq!(hdr.to_bytes(), bytes);
        assert_eq!(hdr.gso(), GSO_TCPV6);
    }

    #[test]
    fn short_buffers_are_refused_and_left_alone() {
        assert_eq!(VirtioNetHdr::parse(&[0; LEN - 1]), None);
        let mut out = [7; LEN - 1];
        assert_eq!(VirtioNetHdr::default().emit(&mut out), None);
        assert_eq!(out, [7; LEN - 1]);
    }
}
