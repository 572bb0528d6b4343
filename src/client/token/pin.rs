//! The PIN of a token: from a file that nobody else can read, or from the terminal; never from a command line.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use cryptoki::slot::TokenInfo;
use cryptoki::types::AuthPin;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use super::{Error, Uri, error};
use crate::client::places;
use crate::ctl::secret::Source;

/// Which file it was, and in which state: a PIN that was refused is not tried again before somebody has written another one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(in crate::client) struct Stamp {
    device: u64,
    inode: u64,
    /// When it was written, in seconds since 1970 and nanoseconds.
    written: (i64, i64),
}

impl Stamp {
    /// That of the file which a URI names for the PIN; `None` if it names none, or that cannot be looked at.
    #[must_use]
    pub(in crate::client) fn of(uri: &Uri) -> Option<Self> {
        std::fs::metadata(uri.pin()?).ok().map(|found| Self::of_file(&found))
    }

    fn of_file(found: &Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino(), written: (found.mtime(), found.mtime_nsec()) }
    }
}

/// A PIN.
pub(super) struct Pin {
    /// `None`: it is typed at the token's reader.
    pub(super) secret: Option<AuthPin>,
    /// Where it is from, in words.
    pub(super) from: String,
    /// If it is from a file.
    pub(super) stamp: Option<Stamp>,
}

impl Pin {
    /// Gets it. `attended` tells whether somebody is there who can be asked.
    ///
    /// # Errors
    /// There is none, or it would be unwise to try it.
    pub(super) fn of(uri: &Uri, info: &TokenInfo, attended: bool) -> Result<Self, Error> {
        let token = error::plain(info.label());
        // By systemd a file may be there for the service alone: whoever enrols is asked.
        if let Some(path) = uri.pin().filter(|path| !attended || path.exists()) {
            if info.user_pin_final_try() {
                return Err(Error::LastTry { token });
            }
            let (secret, stamp) = read(path).map_err(Error::Pin)?;
            let secret = fitting(secret, info, &format!("that in {}", path.display()))?;
            return Ok(Self { secret: Some(secret), from: path.display().to_string(), stamp: Some(stamp) });
        }
        if !attended {
            return Err(Error::Unattended { token });
        }
        if info.protected_authentication_path() {
            return Ok(Self { secret: None, from: "typed at its reader".into(), stamp: None });
        }
        let last = if info.user_pin_final_try() { " (the last try before it locks itself)" } else { "" };
        let what = format!("PIN of the token {token}{last}");
        let asked = Source { file: None, option: "pin-source=file:/PATH in the URI of the key", what }.read();
        let typed = asked.map_err(|error| Error::Pin(format!("{error:#}")))?;
        let secret = fitting(AuthPin::from(typed.as_str()), info, "what was typed")?;
        Ok(Self { secret: Some(secret), from: "typed".into(), stamp: None })
    }
}

/// The first line of a file that is its owner's alone, and which file that was. It is opened once: what is looked at is what
/// is read.
fn read(path: &Path) -> Result<(AuthPin, Stamp), String> {
    let shown = path.display();
    let unreadable = |error: io::Error| format!("cannot read {shown}: {error}");
    // A pipe that nobody writes to is not waited for.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = match open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::LOOP) => return Err(format!("{shown}: a symbolic link; name the file that it leads to")),
        Err(error) => return Err(unreadable(error.into())),
    };
    // Before it is read: should it change meanwhile, the next one is taken for new.
    let found = file.metadata().map_err(unreadable)?;
    let (mode, owner) = (found.mode() & 0o777, found.uid());
    if !found.is_file() {
        return Err(format!("{shown}: a file with the PIN is expected"));
    }
    if mode & 0o077 != 0 {
        return Err(format!("{shown}: mode {mode:04o}, so others can read the PIN: `chmod 600 {shown}`"));
    }
    if owner != 0 && owner != geteuid().as_raw() {
        return Err(format!(
            "{shown}: the user {owner} owns it; root has to, or whoever runs adit: `chown root {shown}`"
        ));
    }
    let text = places::read(file).map_err(unreadable)?;
    Ok((AuthPin::from(text.lines().next().unwrap_or_default()), Stamp::of_file(&found)))
}

/// Keeps from the token what cannot be its PIN: that would be a try.
fn fitting(pin: AuthPin, info: &TokenInfo, what: &str) -> Result<AuthPin, Error> {
    use age::secrecy::ExposeSecret as _;
    let (least, most) = (info.min_pin_length().max(1), info.max_pin_length());
    let length = pin.expose_secret().len();
    if length < least || (most >= least && length > most) {
        let token = error::plain(info.label());
        let found = format!(
            "{what} is no PIN of the token {token}, which has {least} to {most} bytes; it was not tried"
        );
        return Err(Error::Pin(found));
    }
    Ok(pin)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use age::secrecy::ExposeSecret as _;
    use rustix::fs::{CWD, FileType, mknodat};

    use super::*;
    use crate::test_folder::Folder;

    #[test]
    fn a_pin_is_the_first_line_of_a_file_that_nobody_else_can_read() {
        let folder = Folder::new();
        let path = folder.path().join("pin");
        std::fs::write(&path, "4711\r\nnote\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = read(&path).unwrap_err();
        assert!(error.contains("chmod 600") && !error.contains("4711"), "{error}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let (pin, stamp) = read(&path).unwrap();
        assert_eq!(pin.expose_secret(), "4711");
        assert_eq!(
            Stamp::of(&Uri::parse(&format!("pkcs11:?pin-source={}", path.display())).unwrap()),
            Some(stamp)
        );
        assert!(read(&folder.path().join("none")).unwrap_err().contains("none: No such file"));
    }

    #[test]
    fn a_pin_is_taken_from_no_link_no_pipe_and_nobody_elses_file() {
        let folder = Folder::new();
        let (path, link, pipe) =
            (folder.path().join("pin"), folder.path().join("link"), folder.path().join("pipe"));
        std::fs::write(&path, "4711").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(read(&link).unwrap_err().contains("a symbolic link"));
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert!(read(&pipe).unwrap_err().contains("a file with the PIN is expected"));
        assert!(read(folder.path()).unwrap_err().contains("a file with the PIN is expected"));
        // Nobody else may give a file away.
        if geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(1), None).unwrap();
            assert!(read(&path).unwrap_err().contains("chown root"));
        }
    }

    #[test]
    fn a_file_that_is_written_again_is_another_pin() {
        let folder = Folder::new();
        let path = folder.path().join("pin");
        let uri = Uri::parse(&format!("pkcs11:?pin-source={}", path.display())).unwrap();
        assert_eq!(Stamp::of(&uri), None);
        std::fs::write(&path, "1").unwrap();
        let first = Stamp::of(&uri);
        assert!(first.is_some() && first == Stamp::of(&uri));
        let written =
            std::fs::metadata(&path).unwrap().modified().unwrap() + std::time::Duration::from_nanos(1);
        File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
        assert_ne!(first, Stamp::of(&uri));
        assert_eq!(Stamp::of(&Uri::parse("pkcs11:").unwrap()), None);
    }
}
