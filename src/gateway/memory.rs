//! Where peers were found last, in the folder for the daemon's state.
//!
//! After a crash the guards of a default route may keep the daemon from its resolver, which is behind the very tunnel that
//! waits for the answer. Then a peer is looked for where it was.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The file's name.
const NAME: &str = "endpoints.json";

/// Addresses by `host:port`, kept in a file.
#[derive(Debug, Default)]
pub(super) struct Memory {
    path: Option<PathBuf>,
    known: BTreeMap<String, Vec<SocketAddr>>,
}

impl Memory {
    /// What is remembered in the folder `state`. A file that cannot be read is as good as none.
    pub(super) fn load(state: &Path) -> Self {
        let path = state.join(NAME);
        let known =
            fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self { path: Some(path), known }
    }

    /// Where a name led when it was last resolved.
    pub(super) fn of(&self, host: &str, port: u16) -> Option<&[SocketAddr]> {
        self.known.get(&key(host, port)).map(Vec::as_slice)
    }

    /// Remembers where a name leads, in the place of what was known of names that are not `wanted` any more.
    pub(super) fn keep(
        &mut self,
        host: &str,
        port: u16,
        addresses: &[SocketAddr],
        wanted: impl Fn(&str) -> bool,
    ) -> io::Result<()> {
        self.known.retain(|name, _| wanted(name));
        self.known.insert(key(host, port), addresses.to_vec());
        let Some(path) = &self.path else { return Ok(()) };
        // Whole or not at all: the old file stays until the new one is written.
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_vec(&self.known)?)?;
        fs::rename(&new, path)
    }
}

/// A name as it is remembered.
pub(super) fn key(host: &str, port: u16) -> String {
    format!("{host}:{port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_there_after_a_restart_and_what_is_not_wanted_goes() {
        let folder = std::env::temp_dir().join(format!("adit-memory-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let addresses: Vec<SocketAddr> =
            vec!["192.0.2.1:1".parse().unwrap(), "[2001:db8::1]:1".parse().unwrap()];
        let mut memory = Memory::load(&folder);
        assert_eq!(memory.of("x", 1), None);
        memory.keep("x", 1, &addresses, |_| true).unwrap();
        let mut memory = Memory::load(&folder);
        assert_eq!(memory.of("x", 1), Some(addresses.as_slice()));
        assert_eq!(memory.of("x", 2), None);
        memory.keep("y", 1, &addresses, |name| name != "x:1").unwrap();
        assert_eq!(Memory::load(&folder).of("x", 1), None);
        fs::write(folder.join(NAME), b"{").unwrap();
        assert_eq!(Memory::load(&folder).of("y", 1), None);
        fs::remove_dir_all(&folder).unwrap();
    }
}
