//! What is taken for a ClientHello, and what is read from it.

use proptest::prelude::*;

use super::*;

/// Published captures with their fingerprints.
fn captures() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let lines = include_str!("../vectors/ja4.txt").lines().filter(|line| !line.starts_with('#'));
    let capture = |line: &'static str| {
        let [name, ja4, hex] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (name, ja4, (0..hex.len()).step_by(2).map(byte).collect())
    };
    lines.map(capture).collect()
}

/// A vector behind a length of so many bytes.
fn vector(length: usize, bytes: &[u8]) -> Vec<u8> {
    [&bytes.len().to_be_bytes()[8 - length..], bytes].concat()
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector(2, body)].concat()
}

fn name(name: &str) -> Vec<u8> {
    extension(SERVER_NAME, &vector(2, &[&[0][..], &vector(2, name.as_bytes())].concat()))
}

fn alpn(names: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = names.iter().flat_map(|name| vector(1, name)).collect();
    extension(ALPN, &vector(2, &list))
}

/// A message with these suites and extensions.
fn message(suites: &[u8], extensions: &[Vec<u8>]) -> Vec<u8> {
    let body = [
        &[3, 3][..],
        &[7; 32],
        &vector(1, &[]),
        &vector(2, suites),
        &vector(1, &[0]),
        &vector(2, &extensions.concat()),
    ];
    [&[CLIENT_HELLO][..], &vector(3, &body.concat())].concat()
}

fn with(extensions: &[Vec<u8>]) -> Vec<u8> {
    message(&[0x13, 0x01], extensions)
}

/// The same in records of at most so many bytes.
fn records(message: &[u8], most: usize) -> Vec<u8> {
    message.chunks(most).flat_map(|part| [&[22, 3, 1][..], &vector(2, part)].concat()).collect()
}

fn assembled(bytes: &[u8]) -> Result<Option<Vec<u8>>, HelloError> {
    Assembly::new().message(bytes).map(|message| message.map(<[u8]>::to_vec))
}

#[test]
fn fingerprints_are_those_that_were_published_for_the_same_captures() {
    assert_eq!(captures().len(), 5);
    for (name, ja4, record) in captures() {
        let message = assembled(&record).unwrap().unwrap();
        assert_eq!(ClientHello::parse(&message).unwrap().ja4().to_string(), ja4, "{name}");
    }
}

/// The table in technical_details/JA4.md.
#[test]
fn a_protocol_that_is_no_text_is_told_by_its_bytes_in_hex() {
    for (protocol, told) in [
        (&b"h2"[..], "h2"),
        (b"http/1.1", "h1"),
        (b"x", "xx"),
        (&[0xab], "ab"),
        (&[0x20], "20"),
        (&[0xab, 0xcd], "ad"),
        (&[0x20, 0x61], "21"),
        (&[0x30, 0xab], "3b"),
        (&[0x61, 0x20], "60"),
        (&[0x30, 0x31, 0xab, 0xcd], "3d"),
        (&[0x30, 0xab, 0xcd, 0x31], "01"),
    ] {
        let message = with(&[alpn(&[protocol])]);
        assert_eq!(&ClientHello::parse(&message).unwrap().ja4().as_str()[8..10], told);
    }
}

#[test]
fn grease_counts_for_nothing_and_empty_lists_are_zeros() {
    let plain = message(&[0x13, 0x01], &[]);
    assert_eq!(ClientHello::parse(&plain).unwrap().ja4().as_str(), "t12i010000_0f2cb44170f4_000000000000");
    let grease = message(&[0x0a, 0x0a, 0x13, 0x01, 0xfa, 0xfa], &[extension(0x3a3a, &[])]);
    assert_eq!(ClientHello::parse(&grease).unwrap().ja4(), ClientHello::parse(&plain).unwrap().ja4());
    let only = message(&[0x0a, 0x0a], &[name("a.example")]);
    assert_eq!(ClientHello::parse(&only).unwrap().ja4().as_str(), "t12d000100_000000000000_000000000000");
    let many =
        message(&[0x13, 0x01].repeat(120), &(100..250).map(|kind| extension(kind, &[])).collect::<Vec<_>>());
    assert!(ClientHello::parse(&many).unwrap().ja4().as_str().starts_with("t12i999900_"));
}

#[test]
fn what_a_client_wants_is_read_from_its_hello() {
    let message = message(
        &[0x13, 0x01, 0xc0, 0x2b],
        &[
            name("WWW.example.com"),
            alpn(&[b"h2", b"http/1.1"]),
            extension(SUPPORTED_VERSIONS, &vector(1, &[0x7a, 0x7a, 3, 4, 3, 3])),
            extension(SUPPORTED_GROUPS, &vector(2, &[0x11, 0xec, 0, 29])),
            extension(SIGNATURE_ALGORITHMS, &vector(2, &[4, 3, 8, 4])),
        ],
    );
    let hello = ClientHello::parse(&message).unwrap();
    assert_eq!((hello.raw(), hello.server_name()), (&message[..], Some("WWW.example.com")));
    assert!(hello.alpn().eq([&b"h2"[..], b"http/1.1"]));
    assert!(hello.cipher_suites().eq([0x1301, 0xc02b]));
    assert!(hello.extensions().eq([0, 16, 43, 10, 13]));
    assert!(hello.groups().eq([0x11ec, 29]) && hello.signature_schemes().eq([0x0403, 0x0804]));
    assert!(hello.versions().eq([0x7a7a, 0x0304, 0x0303]) && hello.offers_tls13());
    assert_eq!(hello.legacy_version(), 0x0303);
}

#[test]
fn a_hello_of_tls_1_2_may_do_without_extensions() {
    let whole = with(&[]);
    let mut bare = whole[..whole.len() - 2].to_vec();
    bare[3] -= 2;
    let hello = ClientHello::parse(&bare).unwrap();
    assert!(!hello.offers_tls13() && hello.server_name().is_none() && hello.alpn().next().is_none());
}

#[test]
fn names_that_no_host_can_have_are_refused_and_addresses_name_nobody() {
    for wrong in [
        "a b",
        "a..b",
        "a.",
        ".",
        "-a",
        "a-",
        "a/b",
        "é",
        "a\0b",
        "1.2.3",
        &"a".repeat(64),
        &"a.".repeat(127),
    ] {
        assert_eq!(ClientHello::parse(&with(&[name(wrong)])), Err(HelloError::Name), "{wrong}");
    }
    for address in ["192.0.2.1", "2001:db8::1"] {
        let message = with(&[name(address)]);
        let hello = ClientHello::parse(&message).unwrap();
        assert_eq!(hello.server_name(), None);
        assert!(hello.ja4().as_str().starts_with("t12d"));
    }
    for right in ["a", "_x.example", "xn--bcher-kva.example", "1.example", "2-3.example"] {
        assert_eq!(ClientHello::parse(&with(&[name(right)])).unwrap().server_name(), Some(right));
    }
}

#[test]
fn extensions_that_come_twice_or_are_not_whole_are_refused() {
    let versions = extension(SUPPORTED_VERSIONS, &vector(1, &[3, 4]));
    let groups = extension(SUPPORTED_GROUPS, &vector(2, &[0, 29]));
    let schemes = extension(SIGNATURE_ALGORITHMS, &vector(2, &[4, 3]));
    for twice in [name("a.example"), alpn(&[b"h2"]), versions, groups, schemes] {
        ClientHello::parse(&with(std::slice::from_ref(&twice))).unwrap();
        assert_eq!(ClientHello::parse(&with(&[twice.clone(), twice.clone()])), Err(HelloError::Malformed));
        let more = [&twice[..2], &vector(2, &[&twice[4..], &[0]].concat())].concat();
        assert_eq!(ClientHello::parse(&with(&[more])), Err(HelloError::Malformed), "something behind it");
        let less = [&twice[..2], &vector(2, &twice[4..twice.len() - 1])].concat();
        assert_eq!(ClientHello::parse(&with(&[less])), Err(HelloError::Malformed), "one byte lacks");
    }
    let two = [&[0][..], &vector(2, b"a.example")].concat().repeat(2);
    for wrong in [
        extension(SERVER_NAME, &vector(2, &two)),
        extension(SERVER_NAME, &vector(2, &[])),
        extension(SERVER_NAME, &[]),
        alpn(&[]),
        alpn(&[b"h2", b""]),
        extension(SUPPORTED_VERSIONS, &vector(1, &[])),
        extension(SUPPORTED_GROUPS, &vector(2, &[29])),
    ] {
        assert_eq!(
            ClientHello::parse(&with(std::slice::from_ref(&wrong))),
            Err(HelloError::Malformed),
            "{wrong:?}"
        );
    }
    assert_eq!(ClientHello::parse(&message(&[], &[])), Err(HelloError::Malformed), "no suite");
    assert_eq!(ClientHello::parse(&message(&[0x13], &[])), Err(HelloError::Malformed), "half a suite");
}

#[test]
fn other_bytes_are_refused_as_soon_as_they_can_be_told() {
    for (bytes, error) in [
        (&b"G"[..], HelloError::NotTls),
        (&[22, 2], HelloError::NotTls),
        (&[23, 3, 3, 0, 5], HelloError::NotTls),
        (&[22, 3, 1, 0, 0], HelloError::Record),
        (&[22, 3, 1, 0x40, 1], HelloError::Record),
        (&[22, 3, 1, 0, 9, 2], HelloError::NotHello),
        (&[22, 3, 1, 0, 4, 1, 0, 0xff, 0xff], HelloError::TooLarge),
        (&[22, 3, 1, 0, 5, 1, 0, 0, 0, 0], HelloError::Malformed),
    ] {
        assert_eq!(assembled(bytes), Err(error), "{bytes:?}");
    }
    for prefix in [&[][..], &[22], &[22, 3], &[22, 3, 9, 0x40, 0], &[22, 3, 1, 0, 9, 1]] {
        assert_eq!(assembled(prefix), Ok(None), "{prefix:?}");
    }
}

#[test]
fn a_hello_may_fill_64_kib_and_no_more() {
    let fill = |room: usize| with(&[extension(21, &vec![0; room])]);
    let empty = fill(0).len();
    // Four records hold it.
    let most = LARGEST - 4 * 5 - empty;
    let whole = fill(most);
    let bytes = records(&whole, 1 << 14);
    assert_eq!(bytes.len(), LARGEST);
    assert_eq!(assembled(&bytes), Ok(Some(whole.clone())));
    assert_eq!(ClientHello::parse(&whole).unwrap().extensions().count(), 1);
    assert_eq!(assembled(&records(&fill(most + 1), 1 << 14)), Err(HelloError::TooLarge));
    // A flood of small records ends there too.
    let flood = records(&whole, 1);
    assert_eq!(assembled(&flood[..LARGEST - 1]), Ok(None));
    assert_eq!(assembled(&flood), Err(HelloError::TooLarge));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_hello_is_the_same_however_it_is_cut(at in 0_usize..5, record in 1_usize..600, segment in 1_usize..700) {
        let (_, ja4, bytes) = captures().swap_remove(at);
        let whole = &bytes[5..];
        let bytes = records(whole, record);
        let mut assembly = Assembly::new();
        let mut end = 0;
        while end + segment < bytes.len() {
            end += segment;
            prop_assert_eq!(assembly.message(&bytes[..end]), Ok(None));
        }
        let message = assembly.message(&bytes).unwrap().unwrap();
        prop_assert_eq!(message, whole);
        let parsed = ClientHello::parse(message).unwrap();
        prop_assert_eq!(parsed.ja4().to_string(), ja4);
    }

    #[test]
    fn a_damaged_hello_is_refused_or_read_and_nothing_else(at in 0_usize..5, where_ in 0_usize..600, byte in 0_u8..) {
        let (_, _, mut bytes) = captures().swap_remove(at);
        let len = bytes.len();
        bytes[where_ % len] = byte;
        if let Ok(Some(message)) = assembled(&bytes) && let Ok(hello) = ClientHello::parse(&message) {
            prop_assert_eq!(hello.ja4().as_str().len(), 36);
        }
    }
}
