//! One gateway for each network namespace: two would take each other's guards and rules for stray ones.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

/// Where only root can make files, so that nobody else can keep a gateway from starting.
const FOLDER: &str = "/run";
/// What the files' names begin and end with; the number of the namespace is between.
const BEFORE: &str = "aditd-net-";
const AFTER: &str = ".lock";
/// How often the lock is asked for, and how long after each.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(20);

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
    let Some(file) = wait(&path).with_context(|| path.display().to_string())? else {
        bail!("another aditd runs in this network namespace ({})", path.display());
    };
    Ok(Some(file))
}

/// `None` if somebody keeps it: one that starts in another namespace has it for a moment, to see whether it is left over.
fn wait(path: &Path) -> io::Result<Option<File>> {
    for _ in 1..TRIES {
        if let Some(file) = take(path)? {
            return Ok(Some(file));
        }
        thread::sleep(PAUSE);
    }
    take(path)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_folder::Folder;

    #[test]
    fn who_tries_the_lock_for_a_moment_keeps_nobody_from_it_and_who_keeps_it_does() {
        let folder = Folder::new();
        let path = folder.path().join("one.lock");
        let held = take(&path).unwrap();
        assert!(held.is_some() && wait(&path).unwrap().is_none());
        let moment = thread::spawn(move || {
            thread::sleep(PAUSE * 3);
            drop(held);
        });
        assert!(wait(&path).unwrap().is_some());
        moment.join().unwrap();
    }
}
