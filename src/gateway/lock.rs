//! One gateway for each network namespace: two would take each other's guards and rules for stray ones.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

/// Takes the lock of this network namespace, for as long as the file is kept. It lies where only root can make files, so
/// that nobody else can keep a gateway from starting; a daemon that is not started by root goes without.
///
/// # Errors
/// Another daemon has it, or what the system says.
pub(super) fn this_namespace() -> Result<Option<File>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let namespace = std::fs::metadata("/proc/self/ns/net").context("/proc/self/ns/net")?.ino();
    let path = format!("/run/aditd-net-{namespace}.lock");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let file = options.open(&path).context(path.clone())?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => bail!("another aditd runs in this network namespace ({path})"),
        Err(error) => Err(error).context(path),
    }
}
