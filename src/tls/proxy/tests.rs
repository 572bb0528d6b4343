//! What is taken for a header, what is not, and that both sides agree.

use proptest::prelude::*;

use super::*;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn proxied(source: &str, destination: &str) -> Header {
    Header::Proxied { source: address(source), destination: address(destination) }
}

/// A header of version 2 with this command, family, and what follows its length.
fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = v2::SIGNATURE.to_vec();
    bytes.extend_from_slice(&[command, family]);
    bytes.extend_from_slice(&(body.len() as u16).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// 192.0.2.1:4660 to 198.51.100.2:443, and these fields.
fn ipv4(fields: &[u8]) -> Vec<u8> {
    let ends = [192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x34, 0x01, 0xbb];
    binary(0x21, 0x11, &[&ends, fields].concat())
}

#[test]
fn lines_of_version_1_are_read() {
    for (line, header) in [
        ("PROXY TCP4 192.0.2.1 198.51.100.2 4660 443\r\n", proxied("192.0.2.1:4660", "198.51.100.2:443")),
        ("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", proxied("[2001:db8::1]:1", "[::1]:65535")),
        ("PROXY UNKNOWN\r\n", Header::Local),
        ("PROXY UNKNOWN ffff:f...f:ffff whatever 1\r\n", Header::Local),
    ] {
        let received = [line.as_bytes(), b"\x16\x03\x01"].concat();
        assert_eq!(Header::parse(&received), Ok(Some((header, line.len()))), "{line}");
        for end in 0..line.len() {
            assert_eq!(Header::parse(&received[..end]), Ok(None), "{line}: {end} bytes of it");
        }
    }
}

#[test]
fn what_is_no_line_of_version_1_is_refused() {
    use ProxyError::{Family, Malformed, NoHeader, TooLong};
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
    assert_eq!(long.len(), 108);
    for (line, error) in [
        ("GET / HTTP/1.1\r\n", NoHeader),
        ("proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n", NoHeader),
        ("\x16\x03\x01\x02\x00", NoHeader),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", Malformed),
        ("PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", Malformed),
        ("PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n", Malformed),
        ("PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", Malformed),
        ("PROXY TCP4 ::1 ::1 1 2\r\n", Malformed),
        ("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", Malformed),
        ("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", Malformed),
        ("PROXY \r\n", Family),
        ("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", Family),
        (&long, TooLong),
    ] {
        assert_eq!(Header::parse(line.as_bytes()), Err(error), "{line:?}");
    }
    assert_eq!(Header::parse(b"PROXY TCP4 \xff\r\n"), Err(Malformed));
    assert_eq!(Header::parse(&[b"PROXY ".as_slice(), &[b'A'; 200]].concat()), Err(TooLong));
}

#[test]
fn headers_of_version_2_are_read() {
    let ipv6 = [[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], [0; 16]].concat();
    for (bytes, header) in [
        (ipv4(&[]), proxied("192.0.2.1:4660", "198.51.100.2:443")),
        (ipv4(&[4, 0, 0]), proxied("192.0.2.1:4660", "198.51.100.2:443")),
        (ipv4(&[4, 0, 1, 9, 0xee, 0, 2, 7, 7]), proxied("192.0.2.1:4660", "198.51.100.2:443")),
        (binary(0x21, 0x21, &[&ipv6[..], &[0, 1, 0, 2]].concat()), proxied("[2001:db8::1]:1", "[::]:2")),
        (binary(0x20, 0, &[]), Header::Local),
        // A check of the sender's own may carry what it likes.
        (binary(0x20, 0x11, &[1, 2, 3]), Header::Local),
        (binary(0x20, 0xff, &[0; 300]), Header::Local),
        (binary(0x21, 0, &[7; 9]), Header::Local),
        (binary(0x21, 0x31, &[7; 216]), Header::Local),
    ] {
        let received = [&bytes[..], b"\x16\x03\x01"].concat();
        assert_eq!(Header::parse(&received), Ok(Some((header, bytes.len()))), "{bytes:?}");
        for end in 0..bytes.len() {
            assert_eq!(Header::parse(&received[..end]), Ok(None), "{bytes:?}: {end} bytes of it");
        }
    }
}

#[test]
fn what_is_no_header_of_version_2_is_refused() {
    use ProxyError::{Checksum, Family, Malformed, NoHeader, TooLong};
    let mut other = ipv4(&[]);
    other[11] = b'\r';
    for (bytes, error) in [
        (other, NoHeader),
        (binary(0x11, 0x11, &[0; 12]), Malformed),
        (binary(0x22, 0x11, &[0; 12]), Malformed),
        (binary(0x21, 0x11, &[0; 11]), Malformed),
        (binary(0x21, 0x21, &[0; 35]), Malformed),
        (binary(0x21, 0x31, &[0; 215]), Malformed),
        (binary(0x21, 0x12, &[0; 12]), Family),
        (binary(0x21, 0x32, &[0; 216]), Family),
        (binary(0x21, 0x41, &[0; 12]), Family),
        (ipv4(&[4]), Malformed),
        (ipv4(&[4, 0]), Malformed),
        (ipv4(&[4, 0, 2, 1]), Malformed),
        (ipv4(&[4, 0xff, 0xff, 1]), Malformed),
        (ipv4(&[3, 0, 3, 1, 2, 3]), Malformed),
        (ipv4(&[3, 0, 4, 1, 2, 3, 4]), Checksum),
        (binary(0x21, 0x11, &[0; LARGEST - 15]), TooLong),
        (binary(0x20, 0, &[0; 65_535]), TooLong),
    ] {
        assert_eq!(Header::parse(&bytes), Err(error), "{:?}", &bytes[..bytes.len().min(64)]);
    }
}

#[test]
fn a_checksum_is_that_of_the_header_without_it() {
    // RFC 9260 has none; this is the check value of CRC-32C in every catalogue.
    assert_eq!(v2::crc32c(b"123456789".iter().copied()), 0xe306_9283);
    let mut bytes = ipv4(&[3, 0, 4, 0, 0, 0, 0, 4, 0, 1, 9]);
    let sum = v2::crc32c(bytes.iter().copied()).to_be_bytes();
    let at = bytes.len() - 8;
    bytes[at..at + 4].copy_from_slice(&sum);
    assert!(matches!(Header::parse(&bytes), Ok(Some((Header::Proxied { .. }, _)))));
    bytes[17] ^= 1;
    assert_eq!(Header::parse(&bytes), Err(ProxyError::Checksum));
}

#[test]
fn version_2_tells_of_tls_as_haproxy_does() {
    let tls = Tls {
        version: "TLSv1.3",
        cipher: "TLS_AES_128_GCM_SHA256",
        certificate: true,
        common_name: Some("bob"),
    };
    let passed = Passed {
        source: address("192.0.2.1:4660"),
        destination: address("198.51.100.2:443"),
        tls: Some(tls),
        alpn: Some(b"h2"),
        authority: Some("www.example.com"),
    };
    let mut bytes = Vec::new();
    passed.emit(Version::V2, &mut bytes);
    let ssl = [
        &[7, 0, 0, 0, 0][..],
        &[0x21, 0, 7],
        b"TLSv1.3",
        &[0x23, 0, 22],
        b"TLS_AES_128_GCM_SHA256",
        &[0x22, 0, 3],
        b"bob",
    ]
    .concat();
    let fields =
        [&[1, 0, 2][..], b"h2", &[2, 0, 15], b"www.example.com", &[0x20, 0, ssl.len() as u8], &ssl].concat();
    assert_eq!(bytes, ipv4(&fields));
    assert!(matches!(Header::parse(&bytes), Ok(Some((Header::Proxied { .. }, _)))));
    let mut bare = Vec::new();
    let tls = Tls { version: "", cipher: "", certificate: false, common_name: None };
    Passed { tls: Some(tls), alpn: None, authority: None, ..passed }.emit(Version::V2, &mut bare);
    assert_eq!(bare, ipv4(&[0x20, 0, 11, 1, 0, 0, 0, 1, 0x21, 0, 0, 0x23, 0, 0]));
}

#[test]
fn what_says_nothing_of_a_client_is_read_as_that() {
    for version in [Version::V1, Version::V2] {
        let mut bytes = Vec::new();
        emit_local(version, &mut bytes);
        assert_eq!(Header::parse(&bytes), Ok(Some((Header::Local, bytes.len()))));
    }
}

fn any_address() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

proptest! {
    #[test]
    fn what_is_emitted_is_read(
        source in any_address(),
        destination in any_address(),
        version in prop_oneof![Just(Version::V1), Just(Version::V2)],
        alpn in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..600)),
        more in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let passed = Passed { source, destination, tls: None, alpn: alpn.as_deref(), authority: None };
        let mut bytes = Vec::new();
        passed.emit(version, &mut bytes);
        let length = bytes.len();
        bytes.extend_from_slice(&more);
        let (header, taken) = Header::parse(&bytes).unwrap().unwrap();
        prop_assert_eq!(taken, length);
        let Header::Proxied { source: from, destination: to } = header else { panic!("{header:?}") };
        prop_assert_eq!((canonical(from), canonical(to)), (canonical(source), canonical(destination)));
    }

    #[test]
    fn no_bytes_are_too_much_for_it(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for begin in [&[][..], v1::BEGIN, v2::SIGNATURE] {
            let received = [begin, &bytes].concat();
            // Whatever is said of a part holds for the whole.
            for end in 0..received.len() {
                match Header::parse(&received[..end]) {
                    Ok(None) => {}
                    said => prop_assert_eq!(said, Header::parse(&received)),
                }
            }
        }
    }
}
