//! Where the plaintext goes, as text.

use std::net::SocketAddr;
use std::path::Path;

use crate::tls::choice::BackendAddress;
use crate::tls::routes::Target;

/// What a backend may be.
pub(super) const BACKEND: &str =
    "ADDRESS:PORT, as 127.0.0.1:8080 or [::1]:8080, or unix:/PATH; names are not looked up";

/// A backend; `None` if a text is none.
pub(super) fn backend(text: &str) -> Option<Target> {
    if let Some(path) = text.strip_prefix("unix:") {
        let sound = path.starts_with('/') && !path.chars().any(char::is_control);
        return sound.then(|| Target::Address(BackendAddress::Unix(Path::new(path).into())));
    }
    let address: SocketAddr = text.parse().ok()?;
    let nobody = address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast();
    (!nobody).then_some(Target::Address(BackendAddress::Tcp(address)))
}
