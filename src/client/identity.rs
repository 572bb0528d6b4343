//! Who the client is to the gateway: a certificate and its key, each in a file or in a token.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use rustls::Error;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::sign::{CertifiedKey, SigningKey};

use super::holder::Holder;
use super::lease::Lease;
use super::token::{self, Module, Token};
use super::trust::{certificates, unreadable, wrong};

/// Who we are.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// Our certificate.
    pub(super) certificate: Holder,
    /// Its key.
    pub(super) key: Holder,
    /// The module of the token, where its URI names none.
    pub(super) module: Option<PathBuf>,
    /// Whether somebody is there who can be asked for a PIN.
    pub(super) attended: bool,
}

impl Identity {
    /// That of a lease; nobody is asked.
    #[must_use]
    pub(super) fn of(lease: &Lease) -> Option<Self> {
        let (certificate, key) = lease.certificate.clone().zip(lease.key.clone())?;
        Some(Self { certificate, key, module: lease.pkcs11_module.clone(), attended: false })
    }

    /// As TLS has it. A token is opened, and given its PIN.
    ///
    /// # Errors
    /// A file that is wrong, or what a token says, in words.
    pub(super) fn certified(&self, provider: &CryptoProvider) -> Result<CertifiedKey> {
        let (key, certificate) = (&self.key, &self.certificate);
        let module_path = self.module.as_deref().unwrap_or(Path::new(token::DEFAULT));
        let opened = match key.uri() {
            None => None,
            Some(uri) => {
                let module = Module::load(uri, module_path)?;
                let token = Token::open(&module, uri)?;
                token.log_in(uri, self.attended)?;
                Some((module, token, uri))
            }
        };
        let chain = match certificate {
            Holder::File(path) => certificates(path)?,
            Holder::Token(uri) => {
                // A module is loaded once: those who know the token are asked for both.
                let module = match &opened {
                    Some((module, _, other))
                        if uri.module.is_none()
                            || Module::path(uri, module_path) == Module::path(other, module_path) =>
                    {
                        module.clone()
                    }
                    _ => Module::load(uri, module_path)?,
                };
                vec![Token::open(&module, uri)?.certificate(uri)?]
            }
        };
        let signs: Arc<dyn SigningKey> = match (key, opened, chain.first()) {
            (Holder::File(path), ..) => {
                let read = provider.key_provider.load_private_key(private(path)?);
                read.map_err(|error| wrong(path, &error))?
            }
            (Holder::Token(_), Some((_, token, uri)), Some(first)) => Arc::new(token.key(uri, first)?),
            (Holder::Token(_), ..) => anyhow::bail!("there is no certificate"),
        };
        let certified = CertifiedKey::new(chain, signs);
        match (certified.keys_match(), key) {
            (Err(Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)), Holder::File(path)) => {
                Err(wrong(path, &format!("it is not the key of {certificate}")))
            }
            (Err(Error::InconsistentKeys(_)) | Ok(()), _) => Ok(certified),
            (Err(error), _) => Err(super::Wrong(format!("{certificate}: {error}")).into()),
        }
    }
}

fn private(file: &Path) -> Result<PrivateKeyDer<'static>> {
    let mode = File::open(file).and_then(|file| file.metadata()).map_or(0, |found| found.mode() & 0o777);
    if mode & 0o077 != 0 {
        let shown = file.display();
        return Err(wrong(
            file,
            &format!("mode {mode:04o}, so others can read the key: `chmod 600 {shown}`"),
        ));
    }
    PrivateKeyDer::from_pem_file(file).map_err(|error| {
        let none =
            "no private key in it; one in PEM without a passphrase is expected (`openssl pkey` takes it off)";
        if matches!(error, PemError::NoItemsFound) { wrong(file, &none) } else { unreadable(file, &error) }
    })
}
