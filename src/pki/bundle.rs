//! A certificate with its key in one file under a password: PKCS#12 (RFC 7292), encrypted by PBES2 with AES-256 and
//! HMAC-SHA-256, as openssl 3 does.

use aws_lc_rs::rand;
use p12_keystore::{EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, PrivateKey, PrivateKeyChain};
use zeroize::Zeroizing;

use super::{Certificate, Error, Issued, Key};

/// What a password costs to try (PBKDF2).
const ITERATIONS: u32 = 600_000;
/// The shortest password, in characters.
const SHORTEST: usize = 8;
/// What a password is made of that nobody chose: 32 characters that are hard to mistake, five bits each.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// What a bundle is encrypted with.
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes what somebody chose.
    ///
    /// # Errors
    /// It is too short.
    pub fn chosen(text: Zeroizing<String>) -> Result<Self, Error> {
        let found = text.chars().count();
        if found < SHORTEST {
            return Err(Error::Short { what: "password", found, least: SHORTEST });
        }
        Ok(Self(text))
    }

    /// Makes one of 120 bits: six groups of four characters.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn generate() -> Result<Self, Error> {
        let mut bytes = Zeroizing::new([0; 24]);
        rand::fill(&mut *bytes).map_err(Error::make("password"))?;
        let mut text = Zeroizing::new(String::with_capacity(30));
        for (at, byte) in bytes.iter().enumerate() {
            if at > 0 && at % 4 == 0 {
                text.push('-');
            }
            text.push(char::from(ALPHABET.get(usize::from(byte & 31)).copied().unwrap_or(b'a')));
        }
        Ok(Self(text))
    }

    /// The password, to be shown once.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Puts a certificate, its key and the certificates above it into one file.
///
/// # Errors
/// The key is that of another certificate, or what the library says.
pub fn pkcs12(
    issued: &Issued,
    key: &Key,
    above: &[Certificate],
    password: &Password,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let make = || Error::make::<p12_keystore::error::Error>("PKCS#12 file");
    if !key.is_of(&issued.certificate.public_key) {
        return Err(Error::OtherKey(Issued::file(&issued.name, &issued.certificate.serial).into()));
    }
    let private = PrivateKey::from_der(key.der()).map_err(make())?;
    let chain = std::iter::once(&issued.certificate).chain(above);
    let chain = chain.map(|certificate| p12_keystore::Certificate::from_der(certificate.der()));
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(make())?;
    let chain = PrivateKeyChain::new(issued.certificate.serial.as_bytes(), private, chain);
    let mut store = KeyStore::new();
    store.add_entry(issued.name.as_str(), KeyStoreEntry::PrivateKeyChain(chain));
    let writer = store.writer(&password.0);
    let writer = writer.encryption_algorithm(EncryptionAlgorithm::PbeWithHmacSha256AndAes256);
    let writer = writer.encryption_iterations(ITERATIONS);
    let writer = writer.mac_algorithm(MacAlgorithm::HmacSha256).mac_iterations(ITERATIONS);
    writer.write().map(Zeroizing::new).map_err(make())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_nobody_chose_is_long_and_new() {
        let one = Password::generate().unwrap();
        assert_eq!(one.expose().len(), 29);
        assert_eq!(one.expose().split('-').count(), 6);
        assert_ne!(Password::generate().unwrap().expose(), one.expose());
        assert_eq!(format!("{one:?}"), "Password(..)");
    }

    #[test]
    fn a_short_password_is_refused() {
        let error = Password::chosen(Zeroizing::new("sevenly".to_owned())).unwrap_err();
        assert_eq!(error.to_string(), "the password has 7 characters; at least 8 are needed");
    }
}
