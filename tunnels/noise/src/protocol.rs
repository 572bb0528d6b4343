//! What distinguishes one use of the handshake from another.

/// The constants of one protocol. Two parties whose constants differ in any byte of the name or the
/// prologue cannot read each other's messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Protocol {
    /// The full Noise protocol name; its pattern must be IKpsk2 (Noise revision 34, section 8).
    pub noise: &'static str,
    /// The Noise prologue (section 5.3).
    pub prologue: &'static [u8],
    /// Goes ahead of the public key in the key of mac1.
    pub mac1_label: &'static [u8],
    /// Goes ahead of the public key in the key of cookie replies.
    pub cookie_label: &'static [u8],
}

/// WireGuard (whitepaper, section 5.4).
pub const WIREGUARD: Protocol = Protocol {
    noise: "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s",
    prologue: b"WireGuard v1 zx2c4 Jason@zx2c4.com",
    mac1_label: b"mac1----",
    cookie_label: b"cookie--",
};

/// Our own: messages laid out as WireGuard's, secured by AES-256-GCM and SHA-256. Every label
/// differs, so that a WireGuard peer refuses the first message at mac1, before any costly work. The
/// MACs and the cookies themselves remain BLAKE2s and XChaCha20-Poly1305: they keep floods away and
/// protect no data.
pub const AES_256_GCM: Protocol = Protocol {
    noise: "Noise_IKpsk2_25519_AESGCM_SHA256",
    prologue: b"adit v1 tunnel aes-256-gcm",
    mac1_label: b"adit-gcm-mac1---",
    cookie_label: b"adit-gcm-cookie-",
};

/// Our own: key agreement of a MACsec link between two gateways. WireGuard's primitives, and every label another.
pub const MACSEC: Protocol = Protocol {
    noise: WIREGUARD.noise,
    prologue: b"adit v1 macsec link",
    mac1_label: b"adit-sec-mac1---",
    cookie_label: b"adit-sec-cookie-",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_protocols_have_a_label_in_common() {
        let parts = |protocol: Protocol| {
            [protocol.prologue, protocol.mac1_label, protocol.cookie_label].map(<[u8]>::to_vec)
        };
        let mut all = [parts(WIREGUARD), parts(AES_256_GCM), parts(MACSEC)].concat();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 9);
        assert_ne!(WIREGUARD.noise, AES_256_GCM.noise);
    }
}
