//! A profile as its file has it: TOML.

use std::fmt::Display;
use std::str::FromStr;

use adit_noise::{PresharedKey, PrivateKey, PublicKey};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::{Gateway, KEEPALIVE, Profile, is_domain, texts};
use crate::client::lease::Lease;

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

impl Profile {
    /// Reads what [`Self::to_toml`] writes.
    ///
    /// # Errors
    /// What is wrong, in words, and never a key.
    pub(in crate::client) fn parse(text: &str) -> Result<Self, String> {
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
    pub(in crate::client) fn to_toml(&self) -> Result<Zeroizing<String>, String> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::client::holder::Holder;
    use crate::client::profile::tests::sample;

    #[test]
    fn a_profile_comes_back_as_it_was_written() {
        let text = sample().to_toml().unwrap();
        let again = Profile::parse(&text).unwrap().to_toml().unwrap();
        assert_eq!(*text, *again);
        assert!(text.contains("renewal = \"adit-secret\"") && text.contains("keepalive = 25"));
    }

    #[test]
    fn files_and_tokens_of_a_certificate_come_back_and_a_pin_is_not_taken() {
        let mut profile = sample();
        let uri = "pkcs11:token=alice;type=private?pin-source=/etc/adit/pin";
        let lease = profile.lease.as_mut().unwrap();
        let held = |text: &str| Some(Holder::try_from(text.to_owned()).unwrap());
        (lease.certificate, lease.key) = (held("/etc/adit/alice.pem"), held(uri));
        lease.pkcs11_module = Some("/usr/lib/opensc-pkcs11.so".into());
        let text = profile.to_toml().unwrap();
        let again = Profile::parse(&text).unwrap();
        assert_eq!(*text, *again.to_toml().unwrap());
        let lease = again.lease.as_ref().unwrap();
        assert!(lease.key.as_ref().and_then(Holder::uri).is_some());
        assert_eq!(lease.certificate, Some(Holder::File("/etc/adit/alice.pem".into())));
        let error =
            Profile::parse(&text.replace("pin-source=/etc/adit/pin", "pin-value=473913")).unwrap_err();
        assert!(error.contains("pin-source=file:/PATH") && !error.contains("473913"), "{error}");
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
