//! The first message of a TLS connection.

use adit::tls::hello::{Assembly, ClientHello, HelloError, LARGEST};

use crate::Input;

/// What a stranger sends first. It is taken or refused alike however it is cut into segments, no later than it must be; what
/// is read from it lies in it; and a fingerprint has its form.
pub fn tls_client_hello(data: &[u8]) {
    let mut input = Input::new(data);
    let step = 1 + usize::from(input.byte());
    let bytes = input.rest();
    let mut whole = Assembly::new();
    let expected = whole.message(bytes).map(|message| message.map(<[u8]>::to_vec));
    let mut parts = Assembly::new();
    let mut end = 0;
    let found = loop {
        end = bytes.len().min(end + step);
        match parts.message(&bytes[..end]) {
            Ok(None) if end < bytes.len() => (),
            other => break other.map(|message| message.map(<[u8]>::to_vec)),
        }
    };
    assert_eq!(found, expected, "in segments of {step}");
    match expected {
        Ok(Some(message)) => {
            assert!(message.len() < LARGEST && bytes.len() >= message.len() + 5);
            if let Ok(hello) = ClientHello::parse(&message) {
                sound(&hello);
            }
        }
        Ok(None) => assert!(bytes.len() < LARGEST),
        Err(error) => assert_ne!(error, HelloError::Name, "nobody has read a name yet"),
    }
}

fn sound(hello: &ClientHello<'_>) {
    if let Some(name) = hello.server_name() {
        assert!((1..=253).contains(&name.len()) && name.is_ascii() && !name.ends_with('.'));
        assert!(name.parse::<std::net::IpAddr>().is_err(), "{name}");
    }
    assert!(hello.alpn().all(|protocol| !protocol.is_empty()));
    assert!(hello.cipher_suites().next().is_some());
    assert_eq!(hello.offers_tls13(), hello.versions().any(|version| version == 0x0304));
    let lists = [hello.groups().count(), hello.signature_schemes().count(), hello.versions().count()];
    assert!(lists.iter().all(|count| 2 * count < hello.raw().len()));
    let ja4 = hello.ja4();
    let [a, b, c] = ja4.as_str().split('_').collect::<Vec<_>>().try_into().expect("three parts");
    assert!((a.len(), b.len(), c.len()) == (10, 12, 12) && a.starts_with('t'), "{ja4}");
    assert!(b.bytes().chain(c.bytes()).all(|byte| byte.is_ascii_hexdigit()), "{ja4}");
    let extensions =
        hello.extensions().filter(|kind| kind & 0x0f0f != 0x0a0a || kind >> 8 != kind & 0xff).count();
    assert_eq!(a[6..8].parse(), Ok(extensions.min(99)), "{ja4}");
}
