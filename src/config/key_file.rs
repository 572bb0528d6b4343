//! Files with one key each, as `wg genkey` and `wg genpsk` print them or `ip macsec` takes them. Nobody but their owner may read them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use zeroize::Zeroizing;

use super::file::Context;
use super::load::Secret;
use super::table::Value;
use crate::privilege;

/// What a key file of key agreement may be.
pub(super) const ALLOWED: &str =
    "a file of mode 0600 with the 44 characters in base64 that `wg genkey` prints";
/// More than a key, line ends and a slip of the editor need, in bytes.
const LARGEST: usize = 256;
/// More than a private key in PEM with words around it needs, or keys for tickets, in bytes.
const LARGEST_PEM: usize = 64 << 10;

/// Reads the key in the file at `path`, which `value` names, with `parse`; `allowed` says what it takes.
pub(super) fn key<K>(
    value: &Value<'_>,
    path: &Path,
    context: &mut Context<'_>,
    allowed: &str,
    parse: impl FnOnce(&str) -> Option<K>,
) -> Option<K> {
    context.files.push(path.to_owned());
    let bytes = match (context.system.secret)(path, context.user) {
        Ok(bytes) => bytes,
        Err(error) => {
            value.refused(format!("{}: {error}", value.found()), allowed);
            return None;
        }
    };
    let key = str::from_utf8(&bytes).ok().and_then(|text| parse(text.trim_ascii()));
    if key.is_none() {
        value.refused(format!("{}, which holds no key", value.found()), allowed);
    }
    key
}

/// Reads a key file that is private to root, to this process' user or to `owner`.
///
/// # Errors
/// What is wrong with the file, and how to mend it.
pub(super) fn read(path: &Path, owner: &str) -> Secret {
    read_at_most(LARGEST, path, owner)
}

/// The same of a file in PEM, or of keys for tickets.
///
/// # Errors
/// What is wrong with the file, and how to mend it.
pub(super) fn read_pem(path: &Path, owner: &str) -> Secret {
    read_at_most(LARGEST_PEM, path, owner)
}

fn read_at_most(largest: usize, path: &Path, owner: &str) -> Secret {
    // A pipe would wait for its other end.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let file = open(path, flags, Mode::empty()).map_err(|error| format!("it cannot be opened: {error}"))?;
    // Of what was opened, not of what may have taken its place since.
    let stat = fstat(&file).map_err(|error| error.to_string())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err("it is no regular file".to_owned());
    }
    let (mode, shown) = (stat.st_mode & 0o7777, path.display());
    if mode & 0o077 != 0 {
        return Err(format!(
            "its mode is {mode:04o}, so others can read or change it; mend it with `chmod 600 {shown}`"
        ));
    }
    let ours = [0, rustix::process::geteuid().as_raw()];
    let theirs = || privilege::user(owner).ok().flatten().map(|entry| entry.uid);
    if !ours.contains(&stat.st_uid) && theirs() != Some(stat.st_uid) {
        let found = stat.st_uid;
        return Err(format!(
            "it belongs to user {found}, not to root or {owner}; mend it with `chown {owner} {shown}`"
        ));
    }
    // Room for all of it: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(largest + 1));
    let mut room = Zeroizing::new([0; LARGEST + 1]);
    let mut file = File::from(file);
    loop {
        let read = file.read(room.as_mut()).map_err(|error| format!("it cannot be read: {error}"))?;
        if read == 0 {
            return Ok(bytes);
        }
        if bytes.len() + read > largest {
            return Err(format!("it has more than {largest} bytes"));
        }
        bytes.extend_from_slice(room.get(..read).unwrap_or_default());
    }
}
