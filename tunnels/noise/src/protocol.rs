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
