//! Directories that have to be there before privileges are given up.

use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::process::geteuid;

use super::User;

/// Only the owner of an entry may remove it.
const STICKY: u32 = 0o1000;
/// Everybody may make and remove entries.
const OTHERS_WRITE: u32 = 0o002;

/// Makes a directory with this mode for `owner`, in one that exists. True if it was made. One that is there is left as it
/// is, but has to be safe: owned by root, `owner` or this process's user, and not for everybody to write to.
///
/// # Errors
/// What the system says, or what is wrong with the directory.
pub fn prepare_directory(path: &Path, mode: u32, owner: &User) -> io::Result<bool> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return safe(&fs::metadata(path)?, owner, geteuid().as_raw()).map(|()| false);
        }
        Err(error) => return Err(error),
    }
    // What was made may have been replaced if others can write to its parent; a symbolic link is not followed.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    std::os::unix::fs::fchown(directory.as_fd(), Some(owner.uid), Some(owner.gid))?;
    directory.set_permissions(Permissions::from_mode(mode))?;
    Ok(true)
}

/// `process`: the user of this process.
fn safe(found: &Metadata, owner: &User, process: u32) -> io::Result<()> {
    let mode = found.permissions().mode() & 0o7777;
    if !found.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
        return Err(refused(format!(
            "everybody may write to it (mode {mode:04o}); allowed is mode 0755 or less"
        )));
    }
    if ![0, owner.uid, process].contains(&found.uid()) {
        let (found, name) = (found.uid(), &owner.name);
        return Err(refused(format!("it belongs to user {found}; allowed is {name} or root")));
    }
    Ok(())
}

fn refused(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us() -> User {
        User { uid: geteuid().as_raw(), gid: rustix::process::getegid().as_raw(), name: "us".to_owned() }
    }

    /// A directory for a test, which is removed with what is in it.
    struct Scratch(std::path::PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("adit-{name}-{}", std::process::id()));
            DirBuilder::new().mode(0o700).create(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_missing_directory_is_made_with_its_mode_whatever_the_umask() {
        let scratch = Scratch::new("made");
        let path = scratch.0.join("run");
        assert!(prepare_directory(&path, 0o777, &us()).unwrap());
        let made = fs::metadata(&path).unwrap();
        assert_eq!((made.permissions().mode() & 0o7777, made.uid(), made.gid()), (0o777, us().uid, us().gid));
    }

    #[test]
    fn a_safe_directory_is_left_as_it_is() {
        let scratch = Scratch::new("safe");
        for mode in [0o711, 0o1777] {
            fs::set_permissions(&scratch.0, Permissions::from_mode(mode)).unwrap();
            assert!(!prepare_directory(&scratch.0, 0o750, &us()).unwrap());
            assert_eq!(fs::metadata(&scratch.0).unwrap().permissions().mode() & 0o7777, mode);
        }
    }

    #[test]
    fn a_directory_that_everybody_may_write_to_is_refused() {
        let scratch = Scratch::new("open");
        fs::set_permissions(&scratch.0, Permissions::from_mode(0o757)).unwrap();
        let error = prepare_directory(&scratch.0, 0o750, &us()).unwrap_err();
        assert_eq!(error.to_string(), "everybody may write to it (mode 0757); allowed is mode 0755 or less");
    }

    #[test]
    fn a_directory_of_another_user_is_refused() {
        let scratch = Scratch::new("foreign");
        let found = fs::metadata(&scratch.0).unwrap();
        safe(&found, &us(), found.uid() + 1).unwrap();
        let stranger = User { uid: found.uid() + 1, gid: 1, name: "stranger".to_owned() };
        let refused = safe(&found, &stranger, found.uid() + 2);
        // Root's are always fit.
        assert_eq!(refused.is_err(), found.uid() != 0);
    }

    #[test]
    fn a_file_in_its_place_is_refused() {
        let scratch = Scratch::new("file");
        let path = scratch.0.join("run");
        fs::write(&path, "").unwrap();
        let error = prepare_directory(&path, 0o750, &us()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
    }

    #[test]
    fn its_parent_has_to_exist() {
        let error = prepare_directory(Path::new("/proc/adit-none/run"), 0o750, &us()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
