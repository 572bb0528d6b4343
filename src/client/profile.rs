//! A profile: which gateway, what is reached through it, and the lease that says for how long.

mod file;

use std::net::IpAddr;

use adit_noise::{PresharedKey, PrivateKey, PublicKey};
use adit_wireguard::Prefix;
use zeroize::Zeroizing;

use super::lease::Lease;
use crate::config::{EndpointName, InterfaceAddress};

/// A profile whose every value can be used.
#[derive(Debug)]
pub(super) struct Profile {
    /// Our private key.
    pub(super) private_key: PrivateKey,
    /// Addresses of the interface.
    pub(super) addresses: Vec<InterfaceAddress>,
    /// The site's name servers.
    pub(super) dns: Vec<IpAddr>,
    /// The domains that are asked of them.
    pub(super) search: Vec<String>,
    /// The MTU inside, in bytes.
    pub(super) mtu: Option<usize>,
    /// The UDP port; 0 lets the system choose.
    pub(super) listen_port: u16,
    /// The gateways, each with its own routes.
    pub(super) gateways: Vec<Gateway>,
    /// What the gateway has granted, if this profile is from there.
    pub(super) lease: Option<Lease>,
}

/// A gateway.
#[derive(Debug)]
pub(super) struct Gateway {
    /// Its public key.
    pub(super) public_key: PublicKey,
    /// All zero if there is none.
    pub(super) preshared_key: PresharedKey,
    /// Where it is reached: each is tried in its turn.
    pub(super) endpoints: Vec<EndpointName>,
    /// What is reached through it.
    pub(super) routes: Vec<Prefix>,
    /// Seconds between keepalives; 0 for none.
    pub(super) keepalive: u16,
}

/// Seconds between keepalives where a profile says nothing: a NAT keeps the way open, and it is known whether the gateway is
/// there.
pub(super) const KEEPALIVE: u16 = 25;

impl Profile {
    /// As wg-quick and the apps of phones read it.
    #[must_use]
    pub(super) fn to_quick(&self) -> Zeroizing<String> {
        // Room for all of it: a text that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(64 << 10));
        let mut line = |key: &str, value: &str| {
            for part in [key, " = ", value, "\n"] {
                text.push_str(part);
            }
        };
        line("[Interface]\nPrivateKey", &self.private_key.to_base64());
        line("Address", &texts(&self.addresses).join(", "));
        let dns: Vec<_> = texts(&self.dns).into_iter().chain(self.search.iter().cloned()).collect();
        if !dns.is_empty() {
            line("DNS", &dns.join(", "));
        }
        if let Some(mtu) = self.mtu {
            line("MTU", &mtu.to_string());
        }
        for gateway in &self.gateways {
            line("\n[Peer]\nPublicKey", &gateway.public_key.to_base64());
            if !gateway.preshared_key.is_none() {
                line("PresharedKey", &gateway.preshared_key.to_base64());
            }
            line("AllowedIPs", &texts(&gateway.routes).join(", "));
            if let Some(endpoint) = gateway.endpoints.first() {
                line("Endpoint", &endpoint.to_string());
            }
            if gateway.keepalive != 0 {
                line("PersistentKeepalive", &gateway.keepalive.to_string());
            }
        }
        text
    }

    /// Sends everything through the tunnel.
    ///
    /// # Errors
    /// There are several gateways, and nobody says through which.
    pub(super) fn fill(&mut self) -> Result<(), String> {
        let [gateway] = self.gateways.as_mut_slice() else {
            let found = self.gateways.len();
            return Err(format!("a full tunnel has one gateway, and this profile has {found}"));
        };
        gateway.routes = [IpAddr::from([0; 4]), IpAddr::from([0; 16])]
            .into_iter()
            .filter_map(|any| Prefix::new(any, 0).ok())
            .collect();
        Ok(())
    }
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

/// Whether a text is a domain's name: what cannot be anything else in a file of a resolver.
pub(super) fn is_domain(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=253).contains(&text.len()) && text.bytes().all(known) && !text.starts_with(['-', '.'])
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::client) fn sample() -> Profile {
        Profile {
            private_key: PrivateKey::from_bytes([7; 32]),
            addresses: vec!["10.9.0.2/32".parse().unwrap(), "fd09::2/128".parse().unwrap()],
            dns: vec!["10.9.0.1".parse().unwrap()],
            search: vec!["corp.example".into()],
            mtu: Some(1_380),
            listen_port: 0,
            gateways: vec![Gateway {
                public_key: PrivateKey::from_bytes([9; 32]).public(),
                preshared_key: PresharedKey::from_bytes([5; 32]),
                endpoints: vec!["192.0.2.1:51820".parse().unwrap(), "gate.example:51820".parse().unwrap()],
                routes: vec!["10.0.0.0/8".parse().unwrap()],
                keepalive: 25,
            }],
            lease: Some(Lease {
                url: "https://gate.example".into(),
                identity: "alice".into(),
                renewal: Some("adit-secret".into()),
                certificate: None,
                key: None,
                pkcs11_module: None,
                ca: None,
                pin: None,
                begin: 1_000,
                until: 2_000,
            }),
        }
    }

    #[test]
    fn a_full_tunnel_takes_both_families_through_the_one_gateway() {
        let mut profile = sample();
        profile.fill().unwrap();
        assert_eq!(texts(&profile.gateways[0].routes), ["0.0.0.0/0", "::/0"]);
        let second = sample().gateways.remove(0);
        profile.gateways.push(second);
        assert!(profile.fill().unwrap_err().contains("this profile has 2"));
    }

    #[test]
    fn a_profile_as_wg_quick_reads_it_comes_back_by_import() {
        let imported = crate::client::import::profile("office", &sample().to_quick()).unwrap().0;
        let (mut first, mut second) = (imported, sample());
        (first.lease, second.lease) = (None, None);
        second.gateways[0].endpoints.truncate(1);
        assert_eq!(*first.to_toml().unwrap(), *second.to_toml().unwrap());
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?}", sample());
        assert!(!shown.contains("secret") && !shown.contains(&*sample().private_key.to_base64()), "{shown}");
    }
}
