//! Files that a `[tls.NAME]` names: what is in them, and whether it has changed.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context as Digest, SHA256};
use rustix::fs::{Mode, OFlags, open};
use zeroize::Zeroizing;

use super::super::file::{Context, path};
use super::super::table::Value;

/// More than the revocation list of a large CA needs, in bytes.
const LARGEST: u64 = 32 << 20;

/// Where a file is, and what is in it.
pub(super) struct Contents {
    pub(super) path: PathBuf,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

/// The private file that `value` names: nobody but its owner may read it. `allowed` says what it is to hold.
pub(super) fn private(value: &Value<'_>, allowed: &str, context: &mut Context<'_>) -> Option<Contents> {
    let path = path(value, context.folder)?;
    context.files.push(path.clone());
    let read = (context.system.private)(&path, context.user);
    told(value, allowed, path, read)
}

/// A file that everybody may read, but not everybody write.
pub(super) fn of(value: &Value<'_>, allowed: &str, context: &mut Context<'_>) -> Option<Contents> {
    let path = path(value, context.folder)?;
    context.files.push(path.clone());
    let read = (context.system.public)(&path).map(Zeroizing::new);
    told(value, allowed, path, read)
}

fn told(
    value: &Value<'_>,
    allowed: &str,
    path: PathBuf,
    read: Result<Zeroizing<Vec<u8>>, String>,
) -> Option<Contents> {
    match read {
        Ok(bytes) => Some(Contents { path, bytes }),
        Err(error) => {
            value.refused(format!("{}: {error}", value.found()), allowed);
            None
        }
    }
}

/// One number for the contents of several files.
pub(super) fn digest<'a>(all: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut digest = Digest::new(&SHA256);
    for bytes in all {
        digest.update(&(bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    }
    let mut contents = [0; 32];
    contents.copy_from_slice(digest.finish().as_ref());
    contents
}

/// Reads a file that everybody may read, but not everybody write: what is in it is trusted.
///
/// # Errors
/// What is wrong with the file, and how to mend it.
pub(in crate::config) fn public(path: &Path) -> Result<Vec<u8>, String> {
    // A pipe would wait for its other end.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let file = open(path, flags, Mode::empty()).map_err(|error| format!("it cannot be opened: {error}"))?;
    let file = File::from(file);
    let found = file.metadata().map_err(|error| error.to_string())?;
    if !found.is_file() {
        return Err("it is no regular file".to_owned());
    }
    if found.mode() & 0o002 != 0 {
        let (mode, shown) = (found.mode() & 0o7777, path.display());
        return Err(format!(
            "its mode is {mode:04o}, so everybody can change it; mend it with `chmod o-w {shown}`"
        ));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| format!("it cannot be read: {error}"))?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!("it has more than {LARGEST} bytes"));
    }
    Ok(bytes)
}
