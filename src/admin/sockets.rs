//! The admin sockets' files: who may connect is who may write to the file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::net::listen;

use crate::net::unix::{SocketFile, bind_private};
use crate::{config, privilege};

/// The socket for those who may read.
pub(super) const READ: &str = "read.sock";
/// The socket for those who may change something.
pub(super) const WRITE: &str = "write.sock";
/// Held for as long as the daemon lives, for its user alone.
const LOCK: &str = "lock";
/// Clients that wait to be accepted at most.
const BACKLOG: i32 = 128;

/// Both sockets, listening. Dropping it removes them.
#[derive(Debug)]
pub struct Sockets {
    pub(super) read: UnixListener,
    pub(super) write: UnixListener,
    pub(super) files: Files,
}

/// The sockets' files, removed on drop, and the lock that says that they are ours.
#[derive(Debug)]
pub(super) struct Files {
    _sockets: [SocketFile; 2],
    _lock: File,
}

impl Sockets {
    /// Makes `read.sock` and `write.sock`, and their directory if it is missing. To be called with the privileges that
    /// giving a file to another group takes. The sockets belong to whom the directory belongs to: the daemon's user.
    ///
    /// # Errors
    /// Another daemon serves the directory, a group does not exist, everybody may write to the directory, or what the
    /// system says.
    pub fn bind(config: &config::Admin) -> Result<Self> {
        let directory = &config.directory;
        if !directory.exists() {
            make_directory(directory).with_context(|| format!("{}: cannot be made", directory.display()))?;
        }
        let found = fs::metadata(directory).with_context(|| format!("{}", directory.display()))?;
        if found.mode() & 0o1002 == 0o002 {
            bail!(
                "{}: everybody may write to it (mode {:o}), and so replace the sockets; 755 is usual",
                directory.display(),
                found.mode() & 0o7777
            );
        }
        let lock = lock(directory)?;
        let read_group = group("read_group", config.read_group.as_deref())?;
        let write_group = group("write_group", config.write_group.as_deref())?;
        let (read, read_file) = make(&directory.join(READ), found.uid(), read_group)?;
        let (write, write_file) = make(&directory.join(WRITE), found.uid(), write_group)?;
        Ok(Self { read, write, files: Files { _sockets: [read_file, write_file], _lock: lock } })
    }
}

/// Whatever the umask is, the groups have to reach the sockets.
fn make_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// Takes the lock of the directory. Unlike a look at whether the socket answers, it decides between two daemons that start
/// at once, and does not wait for one that hangs.
fn lock(directory: &Path) -> Result<File> {
    let path = directory.join(LOCK);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&path)
        .with_context(|| format!("{}", path.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => bail!("another aditd serves {}", directory.display()),
        Err(error) => Err(error).with_context(|| format!("{}", path.display())),
    }
}

fn group(key: &str, name: Option<&str>) -> Result<Option<u32>> {
    let Some(name) = name else { return Ok(None) };
    let found = privilege::group(name).with_context(|| format!("admin.{key}: {name:?}"))?;
    found.map(Some).with_context(|| format!("admin.{key}: there is no group {name:?}"))
}

/// Makes one socket. At no moment may more people connect than in the end.
fn make(path: &Path, owner: u32, group: Option<u32>) -> Result<(UnixListener, SocketFile)> {
    let context = |what: &'static str| move || format!("{}: {what}", path.display());
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(context("what is there cannot be removed"));
        }
        _ => {}
    }
    let (listener, file) = bind_private(path).with_context(context("cannot be made"))?;
    let found = fs::symlink_metadata(path).with_context(context("was taken away"))?;
    let owner = (found.uid() != owner && rustix::process::geteuid().is_root()).then_some(owner);
    if owner.is_some() || group.is_some() {
        std::os::unix::fs::lchown(path, owner, group)
            .with_context(context("cannot be given to its user and group"))?;
    }
    if group.is_some() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o660))
            .with_context(context("cannot be opened to its group"))?;
    }
    // Last: whoever connects before is refused, and not even queued.
    listen(&listener, BACKLOG).with_context(context("cannot be listened on"))?;
    Ok((listener, file))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::admin::tests::Folder;

    fn admin(folder: &Folder) -> config::Admin {
        config::Admin { directory: folder.path().join("run"), read_group: None, write_group: None }
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn without_groups_the_sockets_are_for_their_user_alone() {
        let folder = Folder::new();
        let config = admin(&folder);
        let sockets = Sockets::bind(&config).unwrap();
        assert_eq!(mode(&config.directory), 0o755);
        for name in [READ, WRITE, LOCK] {
            assert_eq!(mode(&config.directory.join(name)), 0o600, "{name}");
        }
        drop(sockets);
        assert!(!config.directory.join(READ).exists());
        assert!(!config.directory.join(WRITE).exists());
    }

    #[test]
    fn each_socket_is_for_its_own_group() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("giving a socket to another group is tested as root only");
        }
        let folder = Folder::new();
        let config = config::Admin {
            read_group: Some("daemon".to_owned()),
            write_group: Some("bin".to_owned()),
            ..admin(&folder)
        };
        let _sockets = Sockets::bind(&config).unwrap();
        for (name, group) in [(READ, "daemon"), (WRITE, "bin")] {
            let path = config.directory.join(name);
            assert_eq!(mode(&path), 0o660);
            assert_eq!(Some(fs::metadata(path).unwrap().gid()), privilege::group(group).unwrap());
        }
    }

    #[test]
    fn the_sockets_belong_to_whom_the_directory_belongs_to() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("giving a socket to another user is tested as root only");
        }
        let folder = Folder::new();
        let config = admin(&folder);
        fs::create_dir(&config.directory).unwrap();
        std::os::unix::fs::chown(&config.directory, Some(1), Some(1)).unwrap();
        let _sockets = Sockets::bind(&config).unwrap();
        let found = fs::metadata(config.directory.join(READ)).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o7777), (1, 0o600));
    }

    #[test]
    fn a_group_that_does_not_exist_is_named() {
        let folder = Folder::new();
        let config = config::Admin { write_group: Some("adit-no-such".to_owned()), ..admin(&folder) };
        let error = Sockets::bind(&config).unwrap_err().to_string();
        assert_eq!(error, "admin.write_group: there is no group \"adit-no-such\"");
        assert!(!config.directory.join(READ).exists());
    }

    #[test]
    fn a_second_daemon_is_refused_and_a_stale_socket_is_replaced() {
        let folder = Folder::new();
        let config = admin(&folder);
        let first = Sockets::bind(&config).unwrap();
        let error = Sockets::bind(&config).unwrap_err().to_string();
        assert!(error.starts_with("another aditd serves "), "{error}");
        UnixStream::connect(config.directory.join(READ)).unwrap();
        drop(first);
        drop(UnixListener::bind(config.directory.join(READ)).unwrap());
        let _second = Sockets::bind(&config).unwrap();
        UnixStream::connect(config.directory.join(READ)).unwrap();
    }

    #[test]
    fn somebody_elses_socket_is_not_removed() {
        let folder = Folder::new();
        let config = admin(&folder);
        let sockets = Sockets::bind(&config).unwrap();
        let path = config.directory.join(READ);
        fs::rename(&path, folder.path().join("moved")).unwrap();
        fs::write(&path, "").unwrap();
        drop(sockets);
        assert!(path.exists());
    }

    #[test]
    fn a_directory_that_everybody_may_write_to_is_refused() {
        let folder = Folder::new();
        let config = admin(&folder);
        fs::create_dir(&config.directory).unwrap();
        fs::set_permissions(&config.directory, fs::Permissions::from_mode(0o777)).unwrap();
        let error = Sockets::bind(&config).unwrap_err().to_string();
        assert!(error.contains("mode 777"), "{error}");
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_named() {
        let folder = Folder::new();
        let config = config::Admin { directory: folder.path().join("x".repeat(120)), ..admin(&folder) };
        let error = format!("{:#}", Sockets::bind(&config).unwrap_err());
        assert!(error.contains("read.sock: cannot be made"), "{error}");
    }
}
