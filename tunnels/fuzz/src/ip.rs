//! Reading IP, and carrying a congestion mark over.

use adit_packet::{Ecn, IpHeader, Sum, Version, checksum, ecn, ip};

use crate::packet;

/// One packet, perhaps padded. The parsers agree with one another, and a mark changes the mark alone.
pub fn packet_ip(data: &[u8]) {
    let trimmed = ip::trim(data);
    if let Some(len) = trimmed {
        assert!(len <= data.len());
        assert_eq!(ip::trim(&data[..len]), Some(len), "trimmed is trimmed");
        assert_eq!(len == 0 || ip::trim(&data[..len - 1]).is_none(), len != 0, "nothing shorter is whole");
        assert!(Version::of(data).is_some());
    }
    if let Some(header) = IpHeader::parse(data) {
        assert!(header.header_len <= header.total_len);
        assert_eq!(Some(header.total_len), trimmed);
        assert_eq!(Some(header.version), Version::of(data));
        assert_eq!(IpHeader::parse(&data[..header.total_len]), Some(header), "padding is not looked at");
        assert!(ip::source(data).is_some() && ip::destination(data).is_some());
    }
    addresses(data);
    assert_eq!(Sum::of(data).fold(), naive(data));
    let mut mended = data.to_vec();
    packet::mend(&mut mended);
    for outer in [Ecn::NotEct, Ecn::Ect1, Ecn::Ect0, Ecn::Ce] {
        marked(data, outer);
        marked(&mended, outer);
    }
}

fn addresses(data: &[u8]) {
    let (source, destination) = (ip::source(data), ip::destination(data));
    if let (Some(source), Some(destination)) = (source, destination) {
        assert_eq!(source.is_ipv4(), destination.is_ipv4());
        let octets = |address| match address {
            std::net::IpAddr::V4(v4) => v4.octets().to_vec(),
            std::net::IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        assert_eq!(ip::addresses(data), Some([octets(source), octets(destination)].concat().as_slice()));
    } else {
        assert_eq!(ip::addresses(data), None);
    }
}

fn marked(data: &[u8], outer: Ecn) {
    let mut inner = data.to_vec();
    let before = Ecn::of(data);
    let result = ecn::decapsulate(&mut inner, outer);
    match before.decapsulated(outer) {
        Err(dropped) => {
            assert_eq!(result, Err(dropped));
            assert_eq!(inner, data, "what is dropped is not changed");
        }
        // Too short for a mark, or for the checksum that has to be mended with it.
        Ok(after) if Ecn::of(&inner) != after => assert!(data.len() < 12),
        Ok(_) => {
            let v4 = data.first().is_some_and(|first| first >> 4 == 4);
            let mark = if v4 { [0, 0b11] } else { [0, 0b11 << 4] };
            for (at, (old, new)) in data.iter().zip(&inner).enumerate() {
                let may =
                    mark.get(at).copied().unwrap_or(if v4 && (10..12).contains(&at) { 0xff } else { 0 });
                assert_eq!(old & !may, new & !may, "octet {at}");
            }
            if v4 && IpHeader::parse(data).is_some() {
                let header = usize::from(data[0] & 15) * 4;
                assert_eq!(naive(&data[..header]) == 0xffff, naive(&inner[..header]) == 0xffff);
            }
        }
    }
    assert_eq!(checksum::update(0x1234, 7, 7), 0x1234);
}

/// RFC 1071, word by word.
fn naive(data: &[u8]) -> u16 {
    let mut sum = 0_u64;
    for pair in data.chunks(2) {
        sum += u64::from(pair[0]) * 256 + pair.get(1).map_or(0, |low| u64::from(*low));
    }
    while sum > 0xffff {
        sum = sum % 65_536 + sum / 65_536;
    }
    sum as u16
}
