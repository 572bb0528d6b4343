//! What a tunnel is secured with.

use core::fmt;
use core::str::FromStr;

use adit_aead::{Algorithm, Nonce};
use adit_noise::{AES_256_GCM, Protocol, WIREGUARD};

use crate::timers;

/// The cipher of a tunnel, in its handshakes and for its data. Both ends must have the same.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Cipher {
    /// ChaCha20-Poly1305: WireGuard.
    #[default]
    ChaCha20Poly1305,
    /// AES-256-GCM: between two adits. No WireGuard peer takes it for its own.
    Aes256Gcm,
}

impl Cipher {
    /// Every cipher.
    pub const ALL: [Self; 2] = [Self::ChaCha20Poly1305, Self::Aes256Gcm];

    /// Its name in a configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChaCha20Poly1305 => "chacha20-poly1305",
            Self::Aes256Gcm => "aes-256-gcm",
        }
    }

    /// What its handshakes are.
    #[must_use]
    pub const fn protocol(self) -> &'static Protocol {
        match self {
            Self::ChaCha20Poly1305 => &WIREGUARD,
            Self::Aes256Gcm => &AES_256_GCM,
        }
    }

    /// What seals its data; with the feature `null` nothing, to measure the path alone.
    pub(crate) const fn algorithm(self) -> Algorithm {
        #[cfg(feature = "null")]
        {
            let _ = self;
            Algorithm::Null
        }
        #[cfg(not(feature = "null"))]
        match self {
            Self::ChaCha20Poly1305 => Algorithm::ChaCha20Poly1305,
            Self::Aes256Gcm => Algorithm::Aes256Gcm,
        }
    }

    /// The one that a peer may have by mistake.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::ChaCha20Poly1305 => Self::Aes256Gcm,
            Self::Aes256Gcm => Self::ChaCha20Poly1305,
        }
    }
}

impl fmt::Display for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// There is no cipher of this name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected chacha20-poly1305 or aes-256-gcm")]
pub struct UnknownCipher;

impl FromStr for Cipher {
    type Err = UnknownCipher;

    fn from_str(name: &str) -> Result<Self, UnknownCipher> {
        Self::ALL.into_iter().find(|cipher| cipher.as_str() == name).ok_or(UnknownCipher)
    }
}

/// How an algorithm is used in data messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Messages after which a session is renewed.
    pub(crate) rekey_after: u64,
    /// Messages after which it is not used any more.
    pub(crate) reject_after: u64,
    /// Whether the number in the nonce has its highest byte first.
    big_endian: bool,
}

impl Usage {
    pub(crate) fn of(algorithm: Algorithm) -> Self {
        if algorithm == Algorithm::Aes256Gcm {
            Self {
                rekey_after: timers::GCM_REKEY_AFTER_MESSAGES,
                reject_after: timers::GCM_REJECT_AFTER_MESSAGES,
                big_endian: true,
            }
        } else {
            Self {
                rekey_after: timers::REKEY_AFTER_MESSAGES,
                reject_after: timers::REJECT_AFTER_MESSAGES,
                big_endian: false,
            }
        }
    }

    /// Four zero bytes, then the message's number: little-endian in WireGuard (section 5.4.6), big-endian for AES-GCM (Noise
    /// revision 34, section 12.4).
    pub(crate) fn nonce(&self, number: u64) -> Nonce {
        let number = if self.big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
        let [a, b, c, d, e, f, g, h] = number;
        [0, 0, 0, 0, a, b, c, d, e, f, g, h]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written_and_no_other() {
        for cipher in Cipher::ALL {
            assert_eq!(cipher.to_string().parse(), Ok(cipher));
            assert_ne!(cipher.other(), cipher);
            assert_eq!(cipher.other().other(), cipher);
            assert!(UnknownCipher.to_string().contains(cipher.as_str()));
        }
        for name in ["", "AES-256-GCM", "aes-128-gcm", "aes-256-gcm ", "null"] {
            assert_eq!(name.parse::<Cipher>(), Err(UnknownCipher));
        }
    }

    #[test]
    fn the_number_stands_in_the_nonce_as_each_standard_has_it() {
        let nonce = |algorithm| Usage::of(algorithm).nonce(0x0102_0304_0506_0708);
        assert_eq!(nonce(Algorithm::ChaCha20Poly1305), [0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(nonce(Algorithm::Aes256Gcm), [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }

    /// What somebody who sees everything gains at most over guessing: blocks squared over 2^129, here as a power of two.
    fn gain(messages: u64, blocks: f64) -> f64 {
        2.0 * (messages as f64 * blocks).log2() - 129.0
    }

    #[test]
    fn gcm_is_renewed_where_tls_would_and_ended_before_the_limit_of_the_standard() {
        let usage = Usage::of(Algorithm::Aes256Gcm);
        // 1,424 bytes are 89 blocks, and the tag takes one more.
        assert!(gain(usage.rekey_after, 90.0) <= -60.0);
        assert!(gain(usage.reject_after, 90.0) <= -56.0);
        // NIST SP 800-38D, section 8.3, though for nonces that are not counted.
        assert!(usage.reject_after < 1 << 32);
        // Room for a handshake that is tried for its whole time, at 100 Gbit/s.
        let seconds = (usage.reject_after - usage.rekey_after) as f64 * 1424.0 * 8.0 / 100e9;
        assert!(seconds > timers::REKEY_ATTEMPT_TIME.as_secs_f64(), "{seconds}");
    }
}
