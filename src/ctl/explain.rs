//! Every reason to drop a packet, in words. `docs/operations.md` has the same ones.

/// Reasons by their names in the status and the metrics, in the order of [`crate::datapath::Reason::all`]. What tunnels of
/// different kinds have in common is there once.
pub const EXPLANATIONS: [(&str, &str); 60] = [
    ("malformed", "not an IP packet, or its lengths cannot be true"),
    ("no_route", "no peer has the destination among its allowed IPs"),
    ("loop", "a datagram of the tunnel itself: the way to the peer's endpoint leads through the peer"),
    ("no_carrier", "the interface has no UDP socket: it is down, or its port was taken"),
    ("unsent_queue_full", "too many packets wait for handshakes, of all peers together"),
    ("send_failed", "the kernel refused to send the datagram: no route, a firewall, or no buffers"),
    ("oversized", "a frame longer than its link carries"),
    ("receive_queue_full", "datagrams came faster than they could be read from the socket"),
    ("truncated", "a datagram longer than any that a tunnel sends"),
    ("not_wireguard", "a datagram that is no WireGuard message"),
    ("not_macsec", "a datagram that is neither a protected frame nor of its key agreement"),
    ("handshake_queue_full", "handshake messages came faster than they could be looked at: a flood"),
    (
        "unknown_session",
        "data for a session that does not exist: most often the peer has not yet noticed a restart",
    ),
    ("expired", "data for a session that is too old"),
    ("source", "a packet from an address that its peer may not use"),
    ("congestion", "marked by a congested router outside, but the packet inside cannot carry the mark"),
    ("deliver_failed", "the TUN device refused the packet: the interface is down or gone"),
    ("access", "a packet of a client for an address that clients may not reach"),
    ("auth", "does not decrypt: forged, or damaged on the way"),
    ("replay", "came twice, or so late that it cannot be told from a repeated one"),
    ("exhausted", "the session's key may encrypt no more packets"),
    ("length", "a message whose length does not fit its kind"),
    ("down", "came while the interface was down"),
    ("no_private_key", "the interface has no private key, so it can make no handshake"),
    ("bad_mac1", "a handshake message from somebody who does not know our public key"),
    ("other_cipher", "a handshake message made for us, but its sender's tunnel has another cipher"),
    ("under_load", "a handshake message under load; its sender was asked to prove its address"),
    ("rate_limited", "too many handshake messages from one address under load"),
    ("bad_handshake", "a handshake message that does not verify: a wrong preshared key, or forged"),
    ("timestamp_replayed", "a handshake that was seen before, or the peer's clock went back"),
    ("flood", "a peer began handshakes less than 20 ms apart"),
    ("unknown_index", "an answer to no handshake that is under way: late, or forged"),
    ("cookie_stale", "a cookie for no message that we sent last: late, or forged"),
    ("unknown_peer", "a handshake with a public key that no peer has"),
    ("no_endpoint", "nobody said where the peer is reached, and it has not called yet"),
    ("staging_full", "too many packets wait for this peer's handshake; the oldest went"),
    ("handshake_abandoned", "waited for a handshake that the peer never answered"),
    ("peer_gone", "waited for a peer that was removed, or for an interface that was set down"),
    ("no_entropy", "the system gave no random numbers"),
    ("sectag_version", "a SecTAG of a version that nobody knows"),
    ("sectag_sci_twice", "a SecTAG that names its channel twice"),
    ("sectag_changed_text", "a SecTAG that says changed but not encrypted, which no cipher suite here does"),
    ("sectag_reserved", "a SecTAG with a reserved bit"),
    ("sectag_short_length", "a SecTAG whose short length is not short"),
    ("sectag_pn_zero", "packet number 0, which is never sent"),
    ("sectag_truncated", "a frame shorter than its SecTAG says"),
    ("kay_frame", "a protected frame for a key agreement entity (802.1X)"),
    ("no_tag", "a frame without a SecTAG"),
    ("no_sci", "a protected frame from an unknown channel"),
    ("not_using_sa", "a protected frame under an association that has no key"),
    ("late", "a frame seen before, or behind the replay window"),
    ("not_valid", "a protected frame that does not verify"),
    ("frame_length", "shorter than an Ethernet frame"),
    ("too_long", "a frame too long for the link once it is protected"),
    ("foreign_source", "a frame of another station, where the channel is known by the source address"),
    ("no_transmit_sa", "no key to send with yet, or no longer"),
    ("pn_exhausted", "the key's packet numbers are used up"),
    ("pn_bound", "packet numbers waited to be written to disk before use"),
    ("bad_response", "an answer that does not verify: a wrong preshared key, or forged"),
    ("disagreement", "the other end of the link is configured otherwise"),
];

/// What a reason means, by its name; nothing for one that a newer daemon has.
#[must_use]
pub fn explain(reason: &str) -> Option<&'static str> {
    EXPLANATIONS.iter().find(|(name, _)| *name == reason).map(|(_, words)| *words)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::datapath::Reason;

    #[test]
    fn the_manual_has_each_reason_in_the_same_words_and_says_what_to_do() {
        let manual = include_str!("../../docs/operations.md");
        for (name, words) in EXPLANATIONS {
            let row = format!("| `{name}` | {words} | ");
            let rest = manual.split_once(&row).unwrap_or_else(|| panic!("docs/operations.md lacks: {row}")).1;
            assert!(rest.find(" |").is_some_and(|end| end > 5), "{name}: nothing to do");
        }
    }

    #[test]
    fn each_reason_is_explained_once_in_one_line_and_in_its_order() {
        let mut known = BTreeSet::new();
        let reasons: Vec<_> = Reason::all().map(Reason::as_str).filter(|name| known.insert(*name)).collect();
        let explained: Vec<_> = EXPLANATIONS.iter().map(|(name, _)| *name).collect();
        assert_eq!(explained, reasons);
        for (name, words) in EXPLANATIONS {
            assert!(!words.is_empty() && words.len() <= 100 && !words.contains('\n'), "{name}: {words}");
            assert_eq!(explain(name), Some(words));
        }
        let different: BTreeSet<_> = EXPLANATIONS.iter().map(|(_, words)| words).collect();
        assert_eq!(different.len(), EXPLANATIONS.len());
        assert_eq!(explain("of a newer daemon"), None);
    }
}
