//! Which certificate a client gets: that of the exact name, then of a wildcard, then the default; of several, the first that
//! the client can check, ECDSA before RSA, for it costs us a tenth.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::certificate::Certificate;
use super::names::{Names, Pattern};

/// The certificates of one listener, all of them.
#[derive(Debug, Default)]
pub struct Certificates {
    names: Names<Vec<Arc<CertifiedKey>>>,
    loaded: Vec<Certificate>,
}

impl Certificates {
    /// These, each for the names in it. The first one's name is the default: what clients get that ask for no name or an
    /// unknown one. Of two for the same name and of the same kind, the first is taken.
    #[must_use]
    pub fn new(loaded: Vec<Certificate>) -> Self {
        let mut names = Names::<Vec<Arc<CertifiedKey>>>::default();
        for certificate in &loaded {
            for pattern in certificate.patterns() {
                add(names.entry(pattern.clone()).or_default(), &certificate.certified);
            }
        }
        if let Some(first) = loaded.first() {
            // ECDSA and RSA for one name are a default together.
            let same = |other: &&Certificate| other.patterns() == first.patterns();
            let default = names.default_mut().get_or_insert_default();
            loaded.iter().filter(same).for_each(|certificate| add(default, &certificate.certified));
        }
        Self { names, loaded }
    }

    /// Those that were loaded, with what is to be known of them.
    #[must_use]
    pub fn loaded(&self) -> &[Certificate] {
        &self.loaded
    }

    /// Names that have a certificate of their own.
    pub fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.loaded.iter().flat_map(Certificate::patterns)
    }

    /// rustls shows no scheme if the client has no suite of ours, and takes no certificate for a denial of access. With any it
    /// looks on, and says what is missing.
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let usable = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        let all = || self.names.candidates(name).flatten();
        all().find(usable).or_else(|| all().next()).cloned()
    }
}

/// Adds a key where those before it are no dearer.
fn add(keys: &mut Vec<Arc<CertifiedKey>>, key: &Arc<CertifiedKey>) {
    let dear = |key: &Arc<CertifiedKey>| key.key.algorithm() == SignatureAlgorithm::RSA;
    let at = keys.partition_point(|other| dear(other) <= dear(key));
    keys.insert(at, key.clone());
}

/// Certificates that can be replaced while connections come: a connection gets all of the old ones or all of the new.
#[derive(Debug, Default)]
pub struct Resolver {
    current: ArcSwap<Certificates>,
}

impl Resolver {
    /// A resolver with these.
    #[must_use]
    pub fn new(certificates: Certificates) -> Self {
        Self { current: ArcSwap::from_pointee(certificates) }
    }

    /// Shows others from now on.
    pub fn replace(&self, certificates: Certificates) {
        self.current.store(Arc::new(certificates));
    }

    /// Those that are shown.
    #[must_use]
    pub fn current(&self) -> Arc<Certificates> {
        self.current.load_full()
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.load().choose(hello.server_name(), hello.signature_schemes())
    }
}

#[cfg(test)]
mod tests;
