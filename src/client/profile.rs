//! A profile: which gateway, what is reached through it, and the lease that says for how long.

use std::fmt::Display;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use adit_noise::{PresharedKey, PrivateKey, PublicKey};
use adit_wireguard::Prefix;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::config::{EndpointName, InterfaceAddress};
use crate::enrolment::Fingerprint;
use crate::store::Wall;

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

/// What a gateway has granted, and how that is prolonged.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lease {
    /// Where it is from: `https://HOST:PORT`.
    pub(super) url: String,
    /// The name under which the gateway knows us.
    pub(super) identity: String,
    /// The secret that prolongs it; none if the certificate does.
    pub(super) renewal: Option<String>,
    /// The client's certificate.
    pub(super) certificate: Option<PathBuf>,
    /// The key of that.
    pub(super) key: Option<PathBuf>,
    /// Whom the gateway's own certificate has to be from; the system's roots if that is nobody.
    pub(super) ca: Option<PathBuf>,
    /// The fingerprint of the one authority that it has to be from.
    pub(super) pin: Option<String>,
    /// When it was granted, in seconds since 1970.
    pub(super) begin: Wall,
    /// When it ends.
    pub(super) until: Wall,
}

impl Lease {
    /// The one authority that may have signed the gateway's certificate.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn pin(&self) -> anyhow::Result<Option<Fingerprint>> {
        self.pin.as_deref().map(str::parse).transpose().map_err(anyhow::Error::msg)
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("url", &self.url).field("until", &self.until).finish_non_exhaustive()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewal.zeroize();
    }
}

/// A profile as it is written.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    private_key: String,
    addresses: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dns: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    search: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listen_port: Option<u16>,
    gateway: Vec<FileGateway>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<Lease>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct FileGateway {
    public_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    preshared_key: Option<String>,
    endpoints: Vec<String>,
    routes: Vec<String>,
    keepalive: Option<u16>,
}

impl Drop for File {
    fn drop(&mut self) {
        self.private_key.zeroize();
    }
}

impl Drop for FileGateway {
    fn drop(&mut self) {
        self.preshared_key.zeroize();
    }
}

/// Seconds between keepalives where a profile says nothing: a NAT keeps the way open, and it is known whether the gateway is
/// there.
pub(super) const KEEPALIVE: u16 = 25;

impl Profile {
    /// Reads what [`Self::to_toml`] writes.
    ///
    /// # Errors
    /// What is wrong, in words, and never a key.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| place(text, &error))?;
        let private_key = PrivateKey::from_base64(&file.private_key)
            .map_err(|_| "private_key: the 44 characters that `wg genkey` prints are expected".to_owned())?;
        let mtu = file.mtu.map(|mtu| match mtu {
            576..=65_535 => Ok(mtu),
            _ => Err(format!("mtu: {mtu}; allowed are 576 to 65535")),
        });
        if file.gateway.is_empty() || file.addresses.is_empty() {
            return Err("a profile has at least one address and one gateway".into());
        }
        if let Some(domain) = file.search.iter().find(|domain| !is_domain(domain)) {
            return Err(format!("search: {domain:?} is no domain"));
        }
        if let Some(Err(error)) = file.lease.as_ref().map(Lease::pin) {
            return Err(format!("lease.pin: {error}"));
        }
        Ok(Self {
            private_key,
            addresses: list("addresses", &file.addresses)?,
            dns: list("dns", &file.dns)?,
            search: file.search.clone(),
            mtu: mtu.transpose()?,
            listen_port: file.listen_port.unwrap_or(0),
            gateways: file.gateway.iter().map(gateway).collect::<Result<_, _>>()?,
            lease: file.lease.clone(),
        })
    }

    /// As it is written to its file.
    ///
    /// # Errors
    /// What TOML cannot say.
    pub(super) fn to_toml(&self) -> Result<Zeroizing<String>, String> {
        let file = File {
            private_key: self.private_key.to_base64().to_string(),
            addresses: texts(&self.addresses),
            dns: texts(&self.dns),
            search: self.search.clone(),
            mtu: self.mtu,
            listen_port: Some(self.listen_port).filter(|port| *port != 0),
            gateway: self.gateways.iter().map(FileGateway::from).collect(),
            lease: self.lease.clone(),
        };
        toml::to_string(&file).map(Zeroizing::new).map_err(|error| error.to_string())
    }

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

impl From<&Gateway> for FileGateway {
    fn from(gateway: &Gateway) -> Self {
        let psk = &gateway.preshared_key;
        Self {
            public_key: gateway.public_key.to_base64(),
            preshared_key: (!psk.is_none()).then(|| psk.to_base64().to_string()),
            endpoints: texts(&gateway.endpoints),
            routes: texts(&gateway.routes),
            keepalive: Some(gateway.keepalive),
        }
    }
}

fn gateway(file: &FileGateway) -> Result<Gateway, String> {
    let public_key = PublicKey::from_base64(&file.public_key).ok().filter(|key| !key.is_zero());
    let preshared_key = file.preshared_key.as_deref().map(PresharedKey::from_base64).transpose();
    Ok(Gateway {
        public_key: public_key.ok_or("public_key: the 44 characters that `wg pubkey` prints are expected")?,
        preshared_key: preshared_key
            .map_err(|_| "preshared_key: the 44 characters that `wg genpsk` prints are expected")?
            .unwrap_or_default(),
        endpoints: list("endpoints", &file.endpoints)?,
        routes: list("routes", &file.routes)?,
        keepalive: file.keepalive.unwrap_or(KEEPALIVE),
    })
}

/// Where a text is wrong. The words of the parser show the line, in which may be a key.
fn place(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    format!("line {}: {}", before.matches('\n').count() + 1, error.message())
}

fn list<T: FromStr<Err: Display>>(key: &str, values: &[String]) -> Result<Vec<T>, String> {
    values.iter().map(|value| value.parse().map_err(|error| format!("{key}: {value:?}: {error}"))).collect()
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
    use proptest::prelude::*;

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
                ca: None,
                pin: None,
                begin: 1_000,
                until: 2_000,
            }),
        }
    }

    #[test]
    fn a_profile_comes_back_as_it_was_written() {
        let text = sample().to_toml().unwrap();
        let again = Profile::parse(&text).unwrap().to_toml().unwrap();
        assert_eq!(*text, *again);
        assert!(text.contains("renewal = \"adit-secret\"") && text.contains("keepalive = 25"));
    }

    #[test]
    fn what_is_wrong_is_told_by_its_line_or_key_and_no_key_is_repeated() {
        let text = sample().to_toml().unwrap();
        let key = sample().private_key.to_base64();
        for (from, to, says) in [
            ("addresses = ", "adresses = ", "line 2: unknown field"),
            ("\"10.0.0.0/8\"", "\"10.0.0.0/33\"", "routes: \"10.0.0.0/33\""),
            ("mtu = 1380", "mtu = 80", "mtu: 80; allowed are 576 to 65535"),
            ("corp.example", "corp\\nnameserver", "search:"),
            ("10.9.0.1\"", "10.9.0.1\\nx\"", "dns:"),
            (&key[..10], "x", "private_key: the 44 characters"),
        ] {
            let wrong = text.replacen(from, to, 1);
            let error = Profile::parse(&wrong).expect_err(to);
            assert!(error.contains(says), "{error}");
            assert!(!error.contains(&key[10..]), "{error}");
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

    proptest! {
        /// Whatever stands in the file, it is an error that repeats no key, or a profile that comes back as it was.
        #[test]
        fn whatever_stands_in_a_profile_is_told_or_comes_back(
            at in 0_usize..900,
            length in 0_usize..40,
            put in "[-a-z0-9=\"\\\\.:/\\[\\]\\n\u{e9}]{0,30}",
        ) {
            let mut text = sample().to_toml().unwrap().to_string();
            let at = at % text.len();
            text.replace_range(at..(at + length).min(text.len()), &put);
            match Profile::parse(&text) {
                Ok(profile) => {
                    let written = profile.to_toml().unwrap();
                    prop_assert_eq!(&*Profile::parse(&written).unwrap().to_toml().unwrap(), &*written);
                    prop_assert!(!profile.gateways.is_empty() && !profile.addresses.is_empty());
                    let _ = profile.to_quick();
                }
                Err(error) => {
                    let key = sample().private_key.to_base64();
                    prop_assert!(!error.contains(&key[12..32]), "{}", error);
                }
            }
        }

        #[test]
        fn what_is_no_profile_is_told(text in "\\PC{0,200}") {
            prop_assert!(Profile::parse(&text).is_err());
        }
    }
}
