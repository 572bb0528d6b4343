//! What versions and suites are called, as OpenSSL has it: for logs, and for backends.

use rustls::{CipherSuite, ProtocolVersion};

use super::probe::SUITES;

/// A version, as `TLSv1.3`.
pub(super) fn version(version: ProtocolVersion) -> Option<&'static str> {
    // Nothing else is ever negotiated.
    let names = [(ProtocolVersion::TLSv1_3, "TLSv1.3"), (ProtocolVersion::TLSv1_2, "TLSv1.2")];
    names.iter().find(|(known, _)| *known == version).map(|(_, name)| *name)
}

/// A suite, as `ECDHE-ECDSA-AES128-GCM-SHA256`.
pub(super) fn name(suite: CipherSuite) -> Option<&'static str> {
    let number = u16::from(suite);
    SUITES.iter().find(|known| known.number == number).map(|known| known.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::policy::Policy;

    #[test]
    fn whatever_may_be_negotiated_has_a_name() {
        for suite in &Policy::Intermediate.provider().cipher_suites {
            assert!(name(suite.suite()).is_some() && version(suite.version().version).is_some(), "{suite:?}");
        }
        assert_eq!(
            name(CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
            Some("ECDHE-RSA-CHACHA20-POLY1305")
        );
    }
}
