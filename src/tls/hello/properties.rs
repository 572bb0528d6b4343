//! Hellos that are put together of what they are made of, and damaged where it matters: at lengths and borders.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// An extension, as it is meant.
#[derive(Clone, Debug)]
enum Meant {
    Name(String),
    Alpn(Vec<Vec<u8>>),
    Versions(Vec<u16>),
    Groups(Vec<u16>),
    Schemes(Vec<u16>),
    Other(u16, Vec<u8>),
}

fn vector(length: usize, bytes: &[u8]) -> Vec<u8> {
    [&bytes.len().to_be_bytes()[8 - length..], bytes].concat()
}

fn numbers(list: &[u16]) -> Vec<u8> {
    list.iter().flat_map(|number| number.to_be_bytes()).collect()
}

impl Meant {
    fn kind(&self) -> u16 {
        match self {
            Self::Name(_) => SERVER_NAME,
            Self::Alpn(_) => ALPN,
            Self::Versions(_) => SUPPORTED_VERSIONS,
            Self::Groups(_) => SUPPORTED_GROUPS,
            Self::Schemes(_) => SIGNATURE_ALGORITHMS,
            Self::Other(kind, _) => *kind,
        }
    }

    fn emit(&self) -> Vec<u8> {
        let body = match self {
            Self::Name(name) => vector(2, &[&[0][..], &vector(2, name.as_bytes())].concat()),
            Self::Alpn(names) => {
                vector(2, &names.iter().flat_map(|name| vector(1, name)).collect::<Vec<_>>())
            }
            Self::Versions(list) => vector(1, &numbers(list)),
            Self::Groups(list) | Self::Schemes(list) => vector(2, &numbers(list)),
            Self::Other(_, body) => body.clone(),
        };
        [&self.kind().to_be_bytes()[..], &vector(2, &body)].concat()
    }
}

fn number() -> impl Strategy<Value = u16> {
    prop_oneof![any::<u16>(), Just(TLS13), Just(0x0a0a), Just(0xfafa), Just(0x1301)]
}

fn extension() -> impl Strategy<Value = Meant> {
    let list = || vec(number(), 1..20);
    let known = [SERVER_NAME, ALPN, SUPPORTED_VERSIONS, SUPPORTED_GROUPS, SIGNATURE_ALGORITHMS];
    prop_oneof![
        "[a-z][a-z0-9]{0,8}(\\.[a-z_][a-z0-9-]{0,9}[a-z0-9]){0,4}".prop_map(Meant::Name),
        vec(vec(any::<u8>(), 1..12), 1..5).prop_map(Meant::Alpn),
        list().prop_map(Meant::Versions),
        list().prop_map(Meant::Groups),
        list().prop_map(Meant::Schemes),
        (any::<u16>(), vec(any::<u8>(), 0..60))
            .prop_filter("one that is read", move |(kind, _)| !known.contains(kind))
            .prop_map(|(kind, body)| Meant::Other(kind, body)),
    ]
}

fn built(suites: &[u16], session: &[u8], extensions: &[Meant]) -> Vec<u8> {
    let extensions: Vec<u8> = extensions.iter().flat_map(Meant::emit).collect();
    let body = [
        &[3, 3][..],
        &[9; 32],
        &vector(1, session),
        &vector(2, &numbers(suites)),
        &vector(1, &[0]),
        &vector(2, &extensions),
    ];
    [&[CLIENT_HELLO][..], &vector(3, &body.concat())].concat()
}

/// Whether a number is one of GREASE (RFC 8701).
fn grease(number: u16) -> bool {
    number & 0x0f0f == 0x0a0a && number >> 8 == number & 0xff
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_was_put_in_is_read(
        suites in vec(number(), 1..40), session in vec(any::<u8>(), 0..=32), mut extensions in vec(extension(), 0..8),
    ) {
        let mut seen = std::collections::BTreeSet::new();
        extensions.retain(|one| seen.insert(one.kind()));
        let message = built(&suites, &session, &extensions);
        let hello = ClientHello::parse(&message).unwrap();
        prop_assert!(hello.cipher_suites().eq(suites.iter().copied()));
        prop_assert!(hello.extensions().eq(extensions.iter().map(Meant::kind)));
        let mut named = false;
        for one in &extensions {
            match one {
                Meant::Name(name) => {
                    named = true;
                    prop_assert_eq!(hello.server_name(), Some(name.as_str()));
                }
                Meant::Alpn(names) => prop_assert!(hello.alpn().eq(names.iter().map(Vec::as_slice))),
                Meant::Versions(list) => {
                    prop_assert!(hello.versions().eq(list.iter().copied()));
                    prop_assert_eq!(hello.offers_tls13(), list.contains(&TLS13));
                }
                Meant::Groups(list) => prop_assert!(hello.groups().eq(list.iter().copied())),
                Meant::Schemes(list) => prop_assert!(hello.signature_schemes().eq(list.iter().copied())),
                Meant::Other(..) => {}
            }
        }
        prop_assert_eq!(hello.server_name().is_some(), named);
        let ja4 = hello.ja4();
        let count = |list: &mut dyn Iterator<Item = u16>| list.filter(|number| !grease(*number)).count().min(99);
        prop_assert_eq!(&ja4.as_str()[3..4], if named { "d" } else { "i" });
        prop_assert_eq!(ja4.as_str()[4..6].parse(), Ok(count(&mut suites.iter().copied())));
        prop_assert_eq!(ja4.as_str()[6..8].parse(), Ok(count(&mut extensions.iter().map(Meant::kind))));
        // The order of suites and extensions is no part of it.
        let (mut suites, mut turned) = (suites, extensions.clone());
        suites.reverse();
        turned.reverse();
        let version_of = |list: &[Meant]| list.iter().any(|one| matches!(one, Meant::Versions(_)));
        let turned = built(&suites, &session, &turned);
        prop_assert_eq!(version_of(&extensions), ClientHello::parse(&turned).unwrap().versions().next().is_some());
        prop_assert_eq!(ClientHello::parse(&turned).unwrap().ja4(), ja4);
    }

    /// One byte more or less, a length that lies, two messages joined in the middle.
    #[test]
    fn what_was_damaged_is_refused_or_read_soundly(
        suites in vec(number(), 1..9), extensions in vec(extension(), 1..8), at in any::<Index>(), byte in any::<u8>(),
        way in 0_u8..4, records in 1_usize..300,
    ) {
        let mut message = built(&suites, &[], &extensions);
        let at = at.index(message.len());
        match way {
            0 => message[at] = byte,
            1 => drop(message.remove(at)),
            2 => message.insert(at, byte),
            _ => message.truncate(at),
        }
        if let Ok(hello) = ClientHello::parse(&message) {
            prop_assert!(hello.server_name().is_none_or(is_host_name));
            prop_assert!(hello.alpn().all(|name| !name.is_empty()));
            prop_assert!(hello.cipher_suites().next().is_some());
            prop_assert_eq!(hello.ja4().as_str().len(), 36);
            prop_assert_eq!(hello.raw(), &message[..]);
        }
        let bytes: Vec<u8> =
            message.chunks(records).flat_map(|part| [&[22, 3, 1][..], &vector(2, part)].concat()).collect();
        let mut assembly = Assembly::new();
        for end in 0..=bytes.len() {
            match assembly.message(&bytes[..end]) {
                Ok(None) => {}
                Ok(Some(whole)) => {
                    prop_assert!(message.starts_with(whole));
                    break;
                }
                Err(_) => break,
            }
        }
    }
}
