//! A configuration from a file, or from a text.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::file::{self, System};
use super::{Config, Errors, Mistake, Place, key_file};
use crate::privilege;

/// More than a file with 100,000 peers needs, in bytes.
const LARGEST: u64 = 64 << 20;

/// What a key file holds, or what is wrong with it.
pub type Secret = Result<Zeroizing<Vec<u8>>, String>;

/// Reads a configuration file, and the key files that it names.
///
/// # Errors
/// Everything that is wrong with them.
pub fn load(path: &Path) -> Result<Config, Errors> {
    let name = path.to_string_lossy();
    let unread = |error: &dyn std::fmt::Display| {
        Errors::whole(&name, format!("a file that cannot be read: {error}"), "a configuration file")
    };
    // A reload may come after the working folder has changed.
    let path = std::path::absolute(path).map_err(|error| unread(&error))?;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(&path).map_err(|error| unread(&error))?;
    let found = file.metadata().map_err(|error| unread(&error))?;
    // Whoever can write it can have commands run, as hooks.
    let (mode, group) = (found.mode() & 0o7777, found.gid());
    if mode & 0o002 != 0 || (mode & 0o020 != 0 && group != 0) {
        let found = format!("a file that others can write (mode {mode:04o})");
        return Err(Errors::whole(&name, found, format!("one that they cannot: `chmod go-w {name}`")));
    }
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| unread(&error))?;
    if bytes.len() as u64 > LARGEST {
        return Err(Errors::whole(&name, "a larger file", format!("a file of at most {LARGEST} bytes")));
    }
    let text = str::from_utf8(&bytes).map_err(|error| not_text(&name, &bytes, error))?;
    let exists = |found: std::io::Result<bool>| found.map_err(|error| error.to_string());
    let system = System {
        secret: &key_file::read,
        #[cfg(not(loom))]
        private: &key_file::read_pem,
        #[cfg(not(loom))]
        public: &super::tls::read_public,
        user: &|name| exists(privilege::user(name).map(|user| user.is_some())),
        group: &|name| exists(privilege::group(name).map(|group| group.is_some())),
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut config = file::read(&name, folder, text, &system)?;
    config.files.insert(0, path);
    Ok(config)
}

/// Reads the text of a configuration file of this name. `secrets` reads a key file, or any other; relative paths are put
/// behind the name's folder. Users and groups are taken to exist.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(name: &str, text: &str, secrets: &dyn Fn(&Path) -> Secret) -> Result<Config, Errors> {
    let secret = |path: &Path, _: &str| secrets(path);
    let system = System {
        secret: &secret,
        #[cfg(not(loom))]
        private: &secret,
        #[cfg(not(loom))]
        public: &|path| secrets(path).map(|bytes| bytes.to_vec()),
        user: &|_| Ok(true),
        group: &|_| Ok(true),
    };
    let folder = Path::new(name).parent().unwrap_or(Path::new(""));
    file::read(name, folder, text, &system)
}

fn not_text(name: &str, bytes: &[u8], error: std::str::Utf8Error) -> Errors {
    let (before, rest) = bytes.split_at(error.valid_up_to());
    let place = Place::end(&String::from_utf8_lossy(before));
    let byte = rest.first().copied().unwrap_or_default();
    Errors::one(Mistake {
        file: name.to_owned(),
        place: Some(place),
        key: String::new(),
        found: format!("the byte 0x{byte:02x}"),
        allowed: "text in UTF-8".to_owned(),
    })
}
