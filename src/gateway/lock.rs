//! One gateway for each network namespace: two would take each other's guards and rules for stray ones.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

/// Where only root can make files, so that nobody else can keep a gateway from starting.
const FOLDER: &str = "/run";
/// What the files' names begin and end with; the number of the namespace is between.
const BEFORE: &str = "aditd-net-";
const AFTER: &str = ".lock";

/// Takes the lock of this network namespace, for as long as the file is kept. A daemon that is not started by root goes
/// without. Files that are left of namespaces without a daemon are removed: who has given its privileges up cannot do that
/// in the end.
///
/// # Errors
/// Another daemon has it, or what the system says.
pub(super) fn this_namespace() -> Result<Option<File>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let namespace = fs::metadata("/proc/self/ns/net").context("/proc/self/ns/net")?.ino();
    let path = Path::new(FOLDER).join(format!("{BEFORE}{namespace}{AFTER}"));
    sweep(&path);
    let Some(file) = take(&path).with_context(|| path.display().to_string())? else {
        bail!("another aditd runs in this network namespace ({})", path.display());
    };
    Ok(Some(file))
}

/// `None` if somebody has it.
fn take(path: &Path) -> io::Result<Option<File>> {
    loop {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let file = options.open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // Unless it was swept away in between.
            Ok(())
                if fs::metadata(path)
                    .is_ok_and(|now| file.metadata().is_ok_and(|ours| now.ino() == ours.ino())) =>
            {
                return Ok(Some(file));
            }
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes the files that nobody holds, but for `ours`.
fn sweep(ours: &Path) {
    let names = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(BEFORE) && name.ends_with(AFTER))
    };
    let entries = fs::read_dir(FOLDER).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in entries.filter(names).filter(|path| path != ours) {
        if let Ok(Some(_held)) = take(&path) {
            // It is only tidiness: another start does it as well.
            let _ = fs::remove_file(&path);
        }
    }
}
