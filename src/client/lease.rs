//! What a gateway has granted, and how that is prolonged.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

use super::holder::Holder;
use crate::enrolment::Fingerprint;
use crate::store::Wall;

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
    pub(super) certificate: Option<Holder>,
    /// The key of that.
    pub(super) key: Option<Holder>,
    /// The PKCS#11 module, where no URI of them names one.
    pub(super) pkcs11_module: Option<PathBuf>,
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
    /// Whether a token has to be asked to prolong it.
    #[must_use]
    pub(super) fn is_by_token(&self) -> bool {
        [&self.key, &self.certificate].into_iter().flatten().any(|holder| holder.uri().is_some())
    }

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
