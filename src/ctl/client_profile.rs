//! A lease as the profile that wg-quick and the WireGuard apps read.

use adit_noise::PrivateKey;
use serde::Deserialize;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// What of the enrolment API's answer a profile has.
#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
pub(super) struct Lease {
    addresses: Vec<String>,
    routes: Vec<String>,
    dns: Vec<String>,
    search: Vec<String>,
    gateway: Gateway,
    preshared_key: String,
    pub(super) until: u64,
}

#[derive(Deserialize, Zeroize)]
struct Gateway {
    public_key: String,
    endpoints: Vec<String>,
}

/// Seconds between keepalives: a phone is behind a NAT.
const KEEPALIVE: u16 = 25;

impl Lease {
    /// The profile, with the private key if it was made here.
    pub(super) fn profile(&self, key: Option<&PrivateKey>) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(2_048));
        text.push_str("[Interface]\nPrivateKey = ");
        match key {
            Some(key) => text.push_str(&key.to_base64()),
            None => text.push_str("(the device's own)"),
        }
        let mut line = |key: &str, value: &str| {
            for part in ["\n", key, " = ", value] {
                text.push_str(part);
            }
        };
        line("Address", &self.addresses.join(", "));
        let dns: Vec<_> = self.dns.iter().chain(&self.search).map(String::as_str).collect();
        if !self.dns.is_empty() {
            line("DNS", &dns.join(", "));
        }
        text.push_str("\n\n[Peer]");
        let mut line = |key: &str, value: &str| {
            for part in ["\n", key, " = ", value] {
                text.push_str(part);
            }
        };
        line("PublicKey", &self.gateway.public_key);
        line("PresharedKey", &self.preshared_key);
        line("AllowedIPs", &self.routes.join(", "));
        if let Some(endpoint) = self.gateway.endpoints.first() {
            line("Endpoint", endpoint);
        }
        line("PersistentKeepalive", &KEEPALIVE.to_string());
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_has_what_wg_quick_wants_and_a_key_only_if_one_was_made() {
        let lease: Lease = serde_json::from_value(serde_json::json!({
            "identity": "alice", "addresses": ["10.9.0.2", "fd09::2"], "routes": ["10.20.0.0/16", "fd20::/48"],
            "dns": ["10.20.0.53"], "search": ["example.org"], "preshared_key": "psk", "renewal": "adit-1",
            "gateway": { "public_key": "gw", "endpoints": ["vpn.example.org:51820", "other:1"] }, "until": 7, "now": 1,
        }))
        .unwrap();
        let profile = lease.profile(None);
        let expected = "[Interface]\nPrivateKey = (the device's own)\nAddress = 10.9.0.2, fd09::2\nDNS = 10.20.0.53, \
            example.org\n\n[Peer]\nPublicKey = gw\nPresharedKey = psk\nAllowedIPs = 10.20.0.0/16, fd20::/48\n\
            Endpoint = vpn.example.org:51820\nPersistentKeepalive = 25\n";
        assert_eq!(*profile, expected);
        let key = PrivateKey::generate();
        assert!(lease.profile(Some(&key)).contains(key.to_base64().as_str()));
    }
}
