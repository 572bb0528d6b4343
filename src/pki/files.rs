//! Files that are either as they were or as they should be, whenever the process is killed or the power fails.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
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
        give(&file, owner(folder)).map_err(Error::file(&path))?;
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
    write_as(path, bytes, existing, 0o600, None)
}

/// Writes a file without secrets where none is, whole or not at all, for whom the folder belongs to.
pub(super) fn place(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_as(path, bytes, Existing::Keep, 0o600, owner(above(path)))
}

/// Writes a file without secrets in the place of one that is there, whole or not at all. Whoever could read that can read it.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    replace_as(path, bytes, 0o600)
}

/// Writes a file that everybody may read, whole or not at all, in the place of one that is there.
///
/// # Errors
/// What the system says.
pub fn write_public(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    replace_as(path, bytes, 0o644)
}

/// The mode counts if there is none to take the place of.
fn replace_as(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let owner = owner(path).or_else(|| owner(above(path)));
    write_as(path, bytes, Existing::Replace, self::mode(path).unwrap_or(mode), owner)
}

/// The mode of a file, without what makes programs of it. A link is none.
fn mode(path: &Path) -> Option<u32> {
    let found = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some(found.mode() & 0o666)
}

/// Whose a file is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Owner {
    user: u32,
    group: u32,
}

/// Whose something is, links not followed; nobody's if there is nothing.
fn owner(path: &Path) -> Option<Owner> {
    let found = fs::symlink_metadata(path).ok().filter(|found| !found.is_symlink())?;
    Some(Owner { user: found.uid(), group: found.gid() })
}

/// Gives a file away if we may: what root writes for the daemon has to be the daemon's.
fn give(file: &File, owner: Option<Owner>) -> io::Result<()> {
    let found = file.metadata()?;
    let ours = Owner { user: found.uid(), group: found.gid() };
    match owner {
        Some(owner) if owner != ours && rustix::process::geteuid().is_root() => {
            fchown(file, Some(owner.user), Some(owner.group))
        }
        Some(_) | None => Ok(()),
    }
}

fn write_as(
    path: &Path,
    bytes: &[u8],
    existing: Existing,
    mode: u32,
    owner: Option<Owner>,
) -> Result<(), Error> {
    let folder = above(path);
    let mut name = std::ffi::OsString::from(UNFINISHED);
    name.push(format!("{}-", std::process::id()));
    name.push(path.file_name().unwrap_or_default());
    let unfinished = folder.join(name);
    let written = (|| {
        // One of this name is from a crash, or was put there: nothing is written through a link to elsewhere.
        let _ = fs::remove_file(&unfinished);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let mut file = options.open(&unfinished).map_err(Error::file(&unfinished))?;
        let written = file.write_all(bytes).and_then(|()| give(&file, owner));
        let written = written.and_then(|()| file.set_permissions(fs::Permissions::from_mode(mode)));
        written.and_then(|()| file.sync_all()).map_err(Error::file(&unfinished))?;
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
    use super::*;
    use crate::test_folder::Folder;

    #[test]
    fn what_others_could_read_they_can_read_when_it_was_replaced() {
        let folder = Folder::new();
        let path = folder.path().join("crl.pem");
        replace(&path, b"one").unwrap();
        assert_eq!(mode(&path), Some(0o600));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)).unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o644, "and it is no program");
        write_public(&path, b"three").unwrap();
        assert_eq!(mode(&path), Some(0o644));
    }

    #[test]
    fn what_root_writes_belongs_to_whom_the_file_or_the_folder_does() {
        // The gate runs as root; others cannot give anything away.
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let (folder, daemon) = (Folder::new(), Owner { user: 65_534, group: 65_534 });
        let give =
            |path: &Path, owner: Owner| std::os::unix::fs::chown(path, Some(owner.user), Some(owner.group));
        let (kept, new) = (folder.path().join("crl.pem"), folder.path().join("ca.pem"));
        replace(&kept, b"one").unwrap();
        give(&kept, daemon).unwrap();
        replace(&kept, b"two").unwrap();
        assert_eq!(owner(&kept), Some(daemon));
        give(folder.path(), daemon).unwrap();
        place(&new, b"one").unwrap();
        drop(Lock::take(folder.path(), &[]).unwrap());
        assert_eq!((owner(&new), owner(&folder.path().join("lock"))), (Some(daemon), Some(daemon)));
        let key = folder.path().join("alice.key");
        write_new(&key, b"secret").unwrap();
        assert_ne!(owner(&key), Some(daemon), "a key is given to nobody");
    }

    #[test]
    fn nothing_is_written_through_a_link_that_lies_in_wait() {
        let folder = Folder::new();
        let (path, elsewhere) = (folder.path().join("crl.pem"), folder.path().join("elsewhere"));
        fs::write(&elsewhere, "mine").unwrap();
        let unfinished = folder.path().join(format!("{UNFINISHED}{}-crl.pem", std::process::id()));
        fs::hard_link(&elsewhere, unfinished).unwrap();
        replace(&path, b"list").unwrap();
        assert_eq!(fs::read(&elsewhere).unwrap(), b"mine");
        assert_eq!(fs::read(&path).unwrap(), b"list");
    }

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
