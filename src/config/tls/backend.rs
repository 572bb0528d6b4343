//! Where the plaintext goes, as text.

use std::path::Path;

use super::super::EndpointName;
use crate::tls::choice::BackendAddress;
use crate::tls::routes::Target;

/// What a backend may be.
pub(super) const BACKEND: &str =
    "ADDRESS:PORT or NAME:PORT, as 127.0.0.1:8080, [::1]:8080 or app.internal:8080, or unix:/PATH";

/// A backend; `None` if a text is none.
pub(super) fn backend(text: &str) -> Option<Target> {
    if let Some(path) = text.strip_prefix("unix:") {
        let sound = path.starts_with('/') && !path.chars().any(char::is_control);
        return sound.then(|| Target::Address(BackendAddress::Unix(Path::new(path).into())));
    }
    match text.parse().ok()? {
        EndpointName::Address(address) => Some(Target::Address(BackendAddress::Tcp(address))),
        EndpointName::Dns { host, port } => Some(Target::Name { host, port }),
    }
}
