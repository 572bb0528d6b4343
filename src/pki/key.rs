//! Private keys, and how an authority's is kept: under a passphrase (age, <https://c2sp.org/age>), or in a file of mode
//! 0600 that is somewhere else.

use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use age::secrecy::SecretString;
use age::{Decryptor, Encryptor, scrypt};
use rcgen::{KeyPair, PublicKeyData, RsaKeySize, SigningKey};
use zeroize::{Zeroize, Zeroizing};

use super::{Error, files};

/// What a file of age begins with.
const AGE: &[u8] = b"age-encryption.org/v1";
/// The logarithm of scrypt's cost: 256 MiB and half a second, as the reference implementation of age has it.
const WORK: u8 = 18;
/// The largest cost that is paid for a file of somebody else: 4 GiB.
const MOST_WORK: u8 = 22;
/// The shortest passphrase, in characters.
const SHORTEST: usize = 12;

/// The kind of a private key.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Algorithm {
    /// ECDSA with P-256 and SHA-256.
    #[default]
    EcdsaP256,
    /// RSA with 3072 bits and SHA-256.
    Rsa3072,
    /// RSA with 4096 bits and SHA-256.
    Rsa4096,
}

/// What an authority's key is encrypted with.
pub struct Passphrase(SecretString);

impl Passphrase {
    /// Takes what somebody typed.
    #[must_use]
    pub fn new(text: Zeroizing<String>) -> Self {
        Self(SecretString::from(text.as_str()))
    }

    /// Takes one that is to protect something new.
    ///
    /// # Errors
    /// It is too short.
    pub fn chosen(text: Zeroizing<String>) -> Result<Self, Error> {
        let found = text.chars().count();
        if found < SHORTEST {
            return Err(Error::Short { what: "passphrase", found, least: SHORTEST });
        }
        Ok(Self::new(text))
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// A private key. Its encoded form is zeroised on drop; what AWS-LC holds is its own business.
#[derive(Debug)]
pub struct Key(KeyPair);

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Key {
    /// Makes a new key.
    ///
    /// # Errors
    /// What the library says.
    pub fn generate(algorithm: Algorithm) -> Result<Self, Error> {
        let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size);
        let key = match algorithm {
            Algorithm::EcdsaP256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            Algorithm::Rsa3072 => rsa(RsaKeySize::_3072),
            Algorithm::Rsa4096 => rsa(RsaKeySize::_4096),
        };
        key.map(Self).map_err(Error::make("private key"))
    }

    /// Reads a key that nobody else may read. `passphrase` is asked for if it is encrypted.
    ///
    /// # Errors
    /// There is none, others may read it, the passphrase is wrong, or it is of a kind that is not known.
    pub fn read(path: &Path, passphrase: impl FnOnce() -> Result<Passphrase, Error>) -> Result<Self, Error> {
        let bytes = files::read(path)?.ok_or_else(|| Error::NoKey(path.to_owned()))?;
        let mode = std::fs::metadata(path).map_err(Error::file(path))?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(Error::OpenKey { path: path.to_owned(), mode });
        }
        let bytes = if bytes.starts_with(AGE) { decrypt(path, &bytes, &passphrase()?)? } else { bytes };
        let text = str::from_utf8(&bytes).map_err(|_| Error::NotAKey(path.to_owned()))?;
        if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(Error::Foreign(path.to_owned()));
        }
        let from = text.find("PRIVATE KEY-----").and_then(|at| text.get(..at)?.rfind("-----BEGIN "));
        let pem = from.and_then(|from| text.get(from..)).ok_or_else(|| Error::NotAKey(path.to_owned()))?;
        KeyPair::from_pem(pem).map(Self).map_err(|_| Error::NotAKey(path.to_owned()))
    }

    /// The key in PEM (PKCS#8).
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.serialize_pem())
    }

    /// The key in PEM under a passphrase, as a file of age.
    ///
    /// # Errors
    /// What the library says.
    pub fn encrypt(&self, passphrase: &Passphrase) -> Result<Vec<u8>, Error> {
        let make = || Error::make::<String>("encrypted key");
        let mut recipient = scrypt::Recipient::new(passphrase.0.clone());
        recipient.set_work_factor(WORK);
        let encryptor = Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient));
        let encryptor = encryptor.map_err(|error| make()(error.to_string()))?;
        let mut bytes = Vec::new();
        let written = encryptor.wrap_output(&mut bytes).and_then(|mut writer| {
            writer.write_all(self.to_pem().as_bytes())?;
            writer.finish()
        });
        written.map_err(|error| make()(error.to_string()))?;
        Ok(bytes)
    }

    /// The key as PKCS#8 in DER.
    pub(super) fn der(&self) -> &[u8] {
        self.0.serialized_der()
    }

    /// Whether a public key, as a certificate has it, is its own.
    pub(super) fn is_of(&self, subject_public_key: &[u8]) -> bool {
        self.0.der_bytes() == subject_public_key
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        PublicKeyData::algorithm(&self.0)
    }
}

impl SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message)
    }
}

fn decrypt(path: &Path, bytes: &[u8], passphrase: &Passphrase) -> Result<Zeroizing<Vec<u8>>, Error> {
    let wrong = || Error::Passphrase(path.to_owned());
    let mut identity = scrypt::Identity::new(passphrase.0.clone());
    identity.set_max_work_factor(MOST_WORK);
    let decryptor = Decryptor::new(bytes).map_err(|_| wrong())?;
    let mut reader =
        decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)).map_err(|_| wrong())?;
    // It is shorter than what it came from; a buffer that grows leaves copies behind.
    let mut plain = Zeroizing::new(Vec::with_capacity(bytes.len()));
    reader.read_to_end(&mut plain).map_err(|_| wrong())?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::test_folder::Folder;

    fn passphrase(text: &str) -> Result<Passphrase, Error> {
        Passphrase::chosen(Zeroizing::new(text.to_owned()))
    }

    fn unasked() -> Result<Passphrase, Error> {
        panic!("nobody needs a passphrase here")
    }

    #[test]
    fn a_key_comes_back_with_its_passphrase_alone() {
        let folder = Folder::new();
        let path = folder.path().join("ca.key.age");
        let key = Key::generate(Algorithm::EcdsaP256).unwrap();
        let encrypted = key.encrypt(&passphrase("correct horse").unwrap()).unwrap();
        assert!(encrypted.starts_with(b"age-encryption.org/v1\n-> scrypt "), "{encrypted:?}");
        files::write_new(&path, &encrypted).unwrap();
        let back = Key::read(&path, || passphrase("correct horse")).unwrap();
        assert_eq!(back.der(), key.der());
        let error = Key::read(&path, || passphrase("correct house")).unwrap_err();
        assert!(matches!(error, Error::Passphrase(_)), "{error}");
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_none_is_refused() {
        let folder = Folder::new();
        let path = folder.path().join("key.pem");
        assert!(matches!(Key::read(&path, unasked), Err(Error::NoKey(_))));
        let key = Key::generate(Algorithm::EcdsaP256).unwrap();
        files::write_new(&path, key.to_pem().as_bytes()).unwrap();
        assert_eq!(Key::read(&path, unasked).unwrap().der(), key.der());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Key::read(&path, unasked), Err(Error::OpenKey { mode: 0o640, .. })));
        for (name, text) in [
            ("empty", ""),
            ("other", "-----BEGIN CERTIFICATE-----\n"),
            ("half", "-----BEGIN PRIVATE KEY-----"),
        ] {
            let path = folder.path().join(name);
            files::write_new(&path, text.as_bytes()).unwrap();
            assert!(matches!(Key::read(&path, unasked), Err(Error::NotAKey(_))), "{name}");
        }
    }

    #[test]
    fn a_short_passphrase_is_refused_and_none_is_ever_shown() {
        let error = passphrase("eleven char").unwrap_err();
        assert_eq!(error.to_string(), "the passphrase has 11 characters; at least 12 are needed");
        assert_eq!(format!("{:?}", passphrase("correct horse").unwrap()), "Passphrase(..)");
        let key = Key::generate(Algorithm::EcdsaP256).unwrap();
        assert!(!format!("{key:?}").contains("PRIVATE"), "{key:?}");
    }
}
