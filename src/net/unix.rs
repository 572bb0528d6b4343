//! Unix sockets that are nobody else's from their first moment.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, socket_with};

/// A socket that nobody but this user can connect to, and nobody at all before it listens. It does not block. Its
/// permissions are set before it has a name: unlike the process's umask they are no other thread's.
///
/// # Errors
/// What the system says; `AddrInUse` if there is a file of this name.
pub fn bind_private(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    let found = fs::symlink_metadata(path)?;
    Ok((socket.into(), SocketFile { path: path.to_owned(), inode: (found.dev(), found.ino()) }))
}

/// A socket's file, removed on drop if it is still that one.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode: no other file has them while the socket is open.
    inode: (u64, u64),
}

impl SocketFile {
    /// Where it was made.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it was removed, moved or replaced. What cannot be looked at is not gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        match fs::symlink_metadata(&self.path) {
            Ok(found) => (found.dev(), found.ino()) != self.inode,
            Err(error) => matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
        }
    }

    /// Removes it, unless it is gone.
    pub fn remove(&self) {
        if !self.is_gone() {
            // Failure leaves a stale socket, which the next process replaces.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::unix::fs::OpenOptionsExt;
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;
    use crate::test_folder::Folder;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_socket_is_private_from_its_first_moment() {
        let folder = Folder::new();
        // Whatever the umask is, the mode is not wider: this one is the widest that a shell's child has.
        let path = folder.path().join("private");
        let (_listener, file) = bind_private(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn files_that_are_made_meanwhile_have_the_modes_that_they_ask_for() {
        let folder = Folder::new();
        let make = |name: String| {
            let path = folder.path().join(name);
            OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path).unwrap();
            mode(&path)
        };
        let usual = make("before".into());
        thread::scope(|scope| {
            scope.spawn(|| {
                for at in 0..2_000 {
                    drop(bind_private(&folder.path().join(format!("socket-{at}"))).unwrap());
                }
            });
            for at in 0..2_000 {
                assert_eq!(make(format!("file-{at}")), usual);
            }
        });
    }

    #[test]
    fn a_file_is_gone_once_it_is_removed_or_another() {
        let folder = Folder::new();
        let path = folder.path().join("socket");
        let (_listener, file) = bind_private(&path).unwrap();
        assert!(!file.is_gone());
        fs::rename(&path, folder.path().join("moved")).unwrap();
        assert!(file.is_gone());
        fs::write(&path, "").unwrap();
        assert!(file.is_gone());
        drop(file);
        assert!(path.exists(), "somebody else's file was removed");
    }
}
