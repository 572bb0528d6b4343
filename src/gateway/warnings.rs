//! What is wrong, in words for the person who looks.

pub(super) mod link;
pub(super) mod tls;

use std::net::SocketAddr;

use adit_wireguard::Cipher;

use crate::config::Wireguard;
use crate::status::{self, State};

/// A handshake without an answer for so many seconds is no accident any more: two initiations.
const UNANSWERED: f64 = 10.0;
/// Bytes that IP, UDP and WireGuard add to a packet of the full size.
const OVERHEAD_V4: u32 = 20 + 8 + 32;
const OVERHEAD_V6: u32 = 40 + 8 + 32;

/// Of the configuration in use.
pub(super) fn of_history(history: &status::Configuration) -> Option<String> {
    let error = history.error.as_deref()?;
    Some(format!("the last reload was refused, what was in use before still is: {error}"))
}

/// Of a tunnel.
pub(super) fn of_tunnel(config: &Wireguard, report: &status::Wireguard) -> Vec<String> {
    let mut warnings = Vec::new();
    if report.state == State::Down {
        warnings.push("the interface is set down: ip link set up brings it back".to_owned());
    }
    if report.listen_port == 0 {
        warnings.push("no UDP port is open: another program has it".to_owned());
    }
    if let (Some(other), Some(ours)) = (&report.other_cipher, &report.cipher) {
        warnings.push(other.told(ours));
    }
    if config.allow_fail_open {
        warnings.push("allow_fail_open: traffic leaves in clear while the tunnel is gone".to_owned());
    }
    warnings
}

/// Of a peer of a tunnel with this MTU and this cipher.
pub(super) fn of_peer(
    peer: &status::Peer,
    (mtu, cipher): (u32, Cipher),
    endpoint: Option<SocketAddr>,
    unresolved: Option<&str>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(error) = unresolved {
        let name = peer.endpoint_name.as_deref().unwrap_or_default();
        warnings.push(format!("the endpoint {name} cannot be resolved: {error}"));
    }
    if let Some(seconds) = peer.trying_for.filter(|seconds| *seconds >= UNANSWERED) {
        let other = match cipher {
            Cipher::ChaCha20Poly1305 => String::new(),
            // A peer that is WireGuard's says nothing at all.
            Cipher::Aes256Gcm => format!(" Is it an adit with cipher = \"{cipher}\"?"),
        };
        warnings.push(format!(
            "no answer to handshakes for {seconds:.0} s: is the endpoint right and reachable by UDP, are the keys right, \
             is the clock?{other}"
        ));
    }
    if let (Some(path), Some(endpoint)) = (peer.path_mtu, endpoint) {
        let overhead = if endpoint.is_ipv4() { OVERHEAD_V4 } else { OVERHEAD_V6 };
        if mtu + overhead > path {
            let fits = path.saturating_sub(overhead) & !15;
            warnings.push(format!(
                "packets of the full size are sent in fragments, since the path takes {path} bytes: mtu = {fits} fits"
            ));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Cipher = Cipher::ChaCha20Poly1305;

    fn peer() -> status::Peer {
        status::Peer { path_mtu: Some(1_500), trying_for: Some(9.9), ..status::Peer::default() }
    }

    fn at(address: &str) -> Option<SocketAddr> {
        Some(address.parse().unwrap())
    }

    #[test]
    fn nothing_is_said_of_a_peer_that_is_well() {
        assert!(of_peer(&peer(), (1_420, PLAIN), at("192.0.2.1:1"), None).is_empty());
        assert!(of_peer(&peer(), (1_420, PLAIN), at("[2001:db8::1]:1"), None).is_empty());
        assert!(of_peer(&peer(), (1_440, PLAIN), at("192.0.2.1:1"), None).is_empty());
        assert!(of_peer(&status::Peer::default(), (9_000, PLAIN), None, None).is_empty());
    }

    #[test]
    fn an_mtu_that_does_not_fit_the_path_is_told_with_one_that_does() {
        let said = of_peer(&peer(), (1_441, PLAIN), at("192.0.2.1:1"), None);
        assert!(said[0].contains("takes 1500 bytes: mtu = 1440"), "{said:?}");
        let said = of_peer(&peer(), (1_421, PLAIN), at("[2001:db8::1]:1"), None);
        assert!(said[0].ends_with("mtu = 1408 fits"), "{said:?}");
    }

    /// Every warning of this file.
    fn all() -> Vec<String> {
        let key = adit_noise::PrivateKey::from_bytes([9; 32]).to_base64();
        let secret = |_: &std::path::Path| Ok(zeroize::Zeroizing::new(key.as_bytes().to_vec()));
        let text =
            "[gateway]\nuser = \"root\"\n[wireguard.wg0]\nprivate_key_file = \"/k\"\nallow_fail_open = true";
        let config = crate::config::parse("test.toml", text, &secret).unwrap();
        let other = status::OtherCipher {
            endpoint: "192.0.2.9:4711".into(),
            cipher: "chacha20-poly1305".into(),
            age: 1.0,
        };
        let down = status::Wireguard {
            state: State::Down,
            cipher: Some("aes-256-gcm".into()),
            other_cipher: Some(other),
            ..status::Wireguard::default()
        };
        let refused = status::Configuration { error: Some("x".into()), ..status::Configuration::default() };
        let silent = status::Peer { trying_for: Some(10.0), ..peer() };
        let mut all = of_tunnel(&config.wireguard["wg0"], &down);
        all.extend(of_history(&refused));
        all.extend(of_peer(&silent, (9_000, PLAIN), at("192.0.2.1:1"), Some("no such name")));
        all
    }

    #[test]
    fn the_manual_has_each_warning() {
        let manual = include_str!("../../docs/operations.md");
        let all = all();
        assert_eq!(all.len(), 8, "{all:?}");
        for warning in all {
            let start = warning.split(' ').take(2).collect::<Vec<_>>().join(" ");
            assert!(manual.contains(&format!("\n| {start}")), "docs/operations.md lacks: {warning}");
        }
    }

    #[test]
    fn another_cipher_is_told_with_ours() {
        let told = "somebody at 192.0.2.9:4711 speaks chacha20-poly1305; this tunnel is set to aes-256-gcm";
        assert!(all().contains(&told.to_owned()), "{:?}", all());
    }

    #[test]
    fn silence_and_names_without_an_address_are_told() {
        let silent = status::Peer { trying_for: Some(10.0), endpoint_name: Some("x:1".into()), ..peer() };
        let said = of_peer(&silent, (1_420, PLAIN), None, Some("no such name"));
        assert_eq!(said[0], "the endpoint x:1 cannot be resolved: no such name");
        assert!(said[1].starts_with("no answer to handshakes for 10 s"), "{said:?}");
        assert!(said[1].ends_with("is the clock?"), "{said:?}");
        let said = of_peer(&silent, (1_420, Cipher::Aes256Gcm), None, None);
        assert!(said[0].ends_with(" Is it an adit with cipher = \"aes-256-gcm\"?"), "{said:?}");
    }
}
