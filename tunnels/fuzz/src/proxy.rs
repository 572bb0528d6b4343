//! What whoever passes a connection on says of it.

use adit::tls::proxy::{Header, LARGEST, Passed, Version};

/// What comes ahead of a connection. Whatever is said of a part holds for the whole, no more is waited for than a header may
/// have, and what it says can be passed on.
pub fn tls_proxy(data: &[u8]) {
    let whole = Header::parse(data);
    let step = 1 + data.len() / 16;
    for end in (0..data.len()).step_by(step) {
        match Header::parse(&data[..end]) {
            Ok(None) => assert!(end < LARGEST),
            said => assert_eq!(said, whole, "{end} bytes of it"),
        }
    }
    let Ok(Some((header, taken))) = whole else { return };
    assert!(taken <= data.len() && taken <= LARGEST);
    assert_eq!(Header::parse(&data[..taken]), whole);
    let Header::Proxied { source, destination } = header else { return };
    for version in [Version::V1, Version::V2] {
        let passed = Passed { source, destination, tls: None, alpn: None, authority: None };
        let mut bytes = Vec::new();
        passed.emit(version, &mut bytes);
        let Ok(Some((Header::Proxied { source: from, destination: to }, length))) = Header::parse(&bytes)
        else {
            panic!("{bytes:?} is none");
        };
        assert_eq!(length, bytes.len());
        let ends = [from, to].map(|end| (end.ip().to_canonical(), end.port()));
        assert_eq!(ends, [source, destination].map(|end| (end.ip().to_canonical(), end.port())));
    }
}
