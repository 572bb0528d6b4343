//! Why something was refused.

/// Lists the variants once, so that the counters, their names and their explanations cannot drift apart.
macro_rules! refused {
    ($($(#[$doc:meta])* $variant:ident $name:literal $text:literal,)*) => {
        /// Why a datagram or a packet was refused. Each variant is one drop counter.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, thiserror::Error)]
        #[non_exhaustive]
        pub enum Refused {
            $($(#[$doc])* #[error($text)] $variant,)*
        }

        impl Refused {
            /// Every reason, in the order of the variants: `Refused::ALL[reason as usize] == reason`.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The counter's name: snake case, and it stays what it is.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

refused! {
    /// The authentication tag did not verify.
    Auth "auth" "authentication failed",
    /// The counter was seen before, or lies behind the window.
    Replay "replay" "replayed",
    /// The key has reached its limit of messages.
    Exhausted "exhausted" "key exhausted",
    /// Too short or too long for what it says it is.
    Length "length" "wrong length",
    /// The interface is down.
    Down "down" "interface down",
    /// There is no private key to make handshakes with.
    NoPrivateKey "no_private_key" "no private key",
    /// A handshake message whose first MAC is wrong: its sender does not know our public key.
    BadMac1 "bad_mac1" "mac1 does not verify",
    /// A handshake message that was made for us under the other [`Cipher`](crate::Cipher).
    OtherCipher "other_cipher" "the sender's tunnel has another cipher",
    /// A handshake message without a proof of its source address came under load; a cookie was sent instead of an
    /// answer, if there were not too many to send.
    UnderLoad "under_load" "under load, cookie sent",
    /// Too many handshake messages from one source under load.
    RateLimited "rate_limited" "too many handshake messages from this source",
    /// A handshake message that does not decrypt, or holds a point of low order.
    BadHandshake "bad_handshake" "handshake does not verify",
    /// An initiation whose time stamp is not above the greatest seen from its peer.
    TimestampReplayed "timestamp_replayed" "initiation replayed",
    /// An initiation within 20 ms of the last one from its peer.
    Flood "flood" "too many initiations from this peer",
    /// No handshake and no session has this index.
    UnknownIndex "unknown_index" "unknown index",
    /// A cookie reply to a message that was not the last we sent, or that does not decrypt.
    CookieStale "cookie_stale" "cookie reply does not match",
    /// No peer has this public key, or this number.
    UnknownPeer "unknown_peer" "unknown peer",
    /// It is not known where the peer is reached.
    NoEndpoint "no_endpoint" "peer has no known endpoint",
    /// Too many packets wait for a handshake: the oldest was dropped.
    StagingFull "staging_full" "too many packets wait for a handshake",
    /// The packet waited for a handshake that was given up.
    HandshakeAbandoned "handshake_abandoned" "handshake given up",
    /// The packet waited for a peer that was removed, or when the interface went down.
    PeerGone "peer_gone" "peer removed or interface down",
    /// The system gave no random numbers.
    NoEntropy "no_entropy" "no random numbers",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_snake_case_and_differ() {
        let mut names: Vec<_> = Refused::ALL.iter().map(|reason| reason.as_str()).collect();
        assert!(names.iter().all(|name| name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Refused::ALL.len());
    }

    #[test]
    fn reasons_are_their_own_positions() {
        for (at, reason) in Refused::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, at);
        }
    }
}
