//! Files that are either as they were or as they should be, whenever the process is killed or the power fails.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use zeroize::Zeroizing;

use super::Error;

/// What the names of files begin with that are not finished.
const UNFINISHED: &str = ".new-";
/// The largest file that is read, in bytes: a revocation list of a million entries.
const LARGEST: u64 = 64 << 20;

/// What to do with a file that is there already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Existing {
    /// It is replaced.
    Replace,
    /// It is left alone, and that is an error.
    Keep,
}

/// Makes the authority's folder. One that is there has to be closed to others; that which it is in has to be there, as it may
/// have to be somebody's: the daemon's.
pub(super) fn make_folder(path: &Path) -> Result<(), Error> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other.map_err(Error::file(path))?,
    }
    closed(path)?;
    sync(above(path))
}

/// The folder that a file or a folder is in.
fn above(path: &Path) -> &Path {
    path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Refuses a folder that others can look into.
pub(super) fn closed(path: &Path) -> Result<(), Error> {
    let mode = fs::metadata(path).map_err(Error::file(path))?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Error::Open { path: path.to_owned(), mode });
    }
    Ok(())
}

/// The right to change something in a folder, until it is dropped. What a crash left unfinished is swept away.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "the lock ends with its file")] File);

impl Lock {
    /// Waits for its turn.
    pub(super) fn take(folder: &Path, others: &[&Path]) -> Result<Self, Error> {
        let path = folder.join("lock");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let file = options.open(&path).map_err(Error::file(&path))?;
        flock(&file, FlockOperation::LockExclusive).map_err(Error::call(&path))?;
        for folder in [folder].iter().chain(others) {
            sweep(folder)?;
        }
        Ok(Self(file))
    }
}

fn sweep(folder: &Path) -> Result<(), Error> {
    for path in list(folder)? {
        if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes())) {
            fs::remove_file(&path).map_err(Error::file(&path))?;
        }
    }
    Ok(())
}

/// What is in a folder. One that is not there is empty.
pub(super) fn list(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(Error::file(folder))?,
    };
    entries.map(|entry| Ok(entry.map_err(Error::file(folder))?.path())).collect()
}

/// Writes a file that is there with all of its bytes, on the disk, or not at all. Its mode is 0600.
pub(super) fn write(path: &Path, bytes: &[u8], existing: Existing) -> Result<(), Error> {
    write_as(path, bytes, existing, 0o600)
}

/// Writes a file that everybody may read, whole or not at all, in the place of one that is there.
///
/// # Errors
/// What the system says.
pub fn write_public(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_as(path, bytes, Existing::Replace, 0o644)
}

fn write_as(path: &Path, bytes: &[u8], existing: Existing, mode: u32) -> Result<(), Error> {
    let folder = above(path);
    let mut name = std::ffi::OsString::from(UNFINISHED);
    name.push(format!("{}-", std::process::id()));
    name.push(path.file_name().unwrap_or_default());
    let unfinished = folder.join(name);
    let written = (|| {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(mode).custom_flags(libc::O_NOFOLLOW);
        let mut file = options.open(&unfinished).map_err(Error::file(&unfinished))?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::file(&unfinished))?;
        let flags = match existing {
            Existing::Replace => RenameFlags::empty(),
            Existing::Keep => RenameFlags::NOREPLACE,
        };
        renameat_with(CWD, &unfinished, CWD, path, flags).map_err(Error::call(path))
    })();
    if written.is_err() {
        // The error that matters is the first.
        let _ = fs::remove_file(&unfinished);
    }
    written?;
    sync(folder)
}

/// Writes a new file of mode 0600, whole or not at all.
///
/// # Errors
/// There is one of that name, or what the system says.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write(path, bytes, Existing::Keep)
}

fn sync(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::file(folder))
}

/// Reads a file of a bounded size; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(Error::file(path))?,
    };
    let length = file.metadata().map_err(Error::file(path))?.len();
    let mut bytes = Zeroizing::new(Vec::with_capacity(length.min(LARGEST) as usize + 1));
    let read = (&mut file).take(LARGEST + 1).read_to_end(&mut bytes).map_err(Error::file(path))?;
    if read as u64 > LARGEST {
        return Err(Error::file(path)(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::test_folder::Folder;

    #[test]
    fn a_file_is_replaced_only_where_that_is_meant() {
        let folder = Folder::new();
        let path = folder.path().join("file");
        write_new(&path, b"one").unwrap();
        assert!(write_new(&path, b"two").unwrap_err().to_string().contains("exists"));
        assert_eq!(fs::read(&path).unwrap(), b"one");
        write(&path, b"three", Existing::Replace).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(list(folder.path()).unwrap(), [path]);
    }

    #[test]
    fn what_a_crash_left_is_swept_away_and_nothing_else() {
        let folder = Folder::new();
        fs::write(folder.path().join(".new-7-crl.pem"), "half").unwrap();
        fs::write(folder.path().join("crl.pem"), "whole").unwrap();
        drop(Lock::take(folder.path(), &[]).unwrap());
        let mut names = list(folder.path()).unwrap();
        names.sort();
        assert_eq!(names, [folder.path().join("crl.pem"), folder.path().join("lock")]);
    }

    #[test]
    fn a_folder_that_others_can_look_into_is_refused() {
        let folder = Folder::new();
        let path = folder.path().join("pki");
        make_folder(&path).unwrap();
        make_folder(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o710)).unwrap();
        let error = make_folder(&path).unwrap_err().to_string();
        assert!(error.contains("0710") && error.contains("chmod 700"), "{error}");
    }
}
