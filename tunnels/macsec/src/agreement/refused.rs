//! Why a message was refused.

crate::refused::reasons! {
    #![doc = "Why a message of the key agreement was refused. The names are those of WireGuard's where the reason is the same."]

    /// Too short or too long for what it says it is, or no message at all.
    Length = "length", "wrong length";
    /// The first MAC is wrong: the sender does not know our public key, or speaks another protocol.
    BadMac1 = "bad_mac1", "mac1 does not verify";
    /// Without a proof of the source address, under load; a cookie was sent, if there were not too many to send.
    UnderLoad = "under_load", "under load, cookie sent";
    /// Too many messages from one source under load.
    RateLimited = "rate_limited", "too many handshake messages from this source";
    /// An initiation that does not decrypt, or holds a point of low order, or what it says is not laid out as it must be.
    BadHandshake = "bad_handshake", "handshake does not verify";
    /// A response that does not decrypt: a forgery, or the preshared keys differ.
    BadResponse = "bad_response", "response does not verify: is the preshared key the same?";
    /// An initiation of somebody else than the peer.
    UnknownPeer = "unknown_peer", "not the peer of this link";
    /// An initiation whose time stamp is not above the greatest seen.
    TimestampReplayed = "timestamp_replayed", "initiation replayed";
    /// An initiation within 20 ms of the last one.
    Flood = "flood", "too many initiations from the peer";
    /// An answer to nothing that we wait for.
    UnknownIndex = "unknown_index", "unknown index";
    /// A cookie reply to a message that was not the last we sent, or that does not decrypt.
    CookieStale = "cookie_stale", "cookie reply does not match";
    /// The peer is configured otherwise: [`Output::Disagreed`](super::Output::Disagreed) says how.
    Disagreement = "disagreement", "the peer is configured otherwise";
    /// The system gave no random numbers.
    NoEntropy = "no_entropy", "no random numbers";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_their_own_names_and_positions() {
        let mut names: Vec<_> = Refused::ALL.iter().map(|reason| reason.as_str()).collect();
        assert!(Refused::ALL.iter().enumerate().all(|(at, reason)| *reason as usize == at));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Refused::ALL.len());
    }
}
