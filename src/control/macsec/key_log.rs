//! A file with every key of a link, for who has to read captures of its wire. There is none unless the operator names it.
//!
//! A line for each key, a record of Wireshark's table of MACsec keys, so that the file can be that table:
//!
//! ```text
//! KEY,"NAME SUITE offset=OCTETS sci=SCI an=AN pn=PN [ssci=SSCI salt=SALT] id=KEY-ID"
//! ```
//!
//! KEY, SCI, SALT and KEY-ID are hexadecimal digits, the other numbers decimal. SCI is the sender's, PN the lowest packet
//! number that may come, which has the upper half that is not on the wire.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use adit_macsec::agreement::KeyChange;
use adit_macsec::{An, Protection, ReceiveKey, ReceiveSc, Sak, Sci, SecY, Ssci, TransmitKey};
use rustix::fs::{Mode, OFlags, openat};
use zeroize::Zeroizing;

use super::keys::hex;

/// Only the owner of an entry may remove it.
const STICKY: u32 = 0o1000;
/// Everybody may make and remove entries.
const OTHERS_WRITE: u32 = 0o002;
/// More octets than a line has, so that no copy of it is left behind.
const LINE: usize = 512;

/// A key, and whose frames are sent under it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    sak: &'a Sak,
    sci: Sci,
    an: An,
    ssci: Option<Ssci>,
    pn: u64,
}

impl<'a> Entry<'a> {
    /// The key that comes with a change. `own`: our SCI.
    pub(super) fn of(change: &'a KeyChange, own: Sci) -> Option<Self> {
        match change {
            KeyChange::Receive { sci, an, key: ReceiveKey { sak, ssci, lowest_pn } } => {
                Some(Self { sak, sci: *sci, an: *an, ssci: *ssci, pn: *lowest_pn })
            }
            KeyChange::Transmit { an, key: TransmitKey { sak, ssci, next_pn, .. } } => {
                Some(Self { sak, sci: own, an: *an, ssci: *ssci, pn: *next_pn })
            }
            KeyChange::Retire(_) => None,
        }
    }

    /// The keys that there are.
    pub(super) fn all(secy: &'a SecY) -> Vec<Self> {
        let (port, own) = (secy.port(), secy.port().settings().sci);
        let transmit = secy.transmit().map(|sa| {
            let (sak, pn) = (sa.sak().as_ref(), sa.next_pn());
            Self { sak, sci: own, an: sa.an(), ssci: sa.ssci(), pn }
        });
        let of_channel = |channel: &'a ReceiveSc| {
            channel.associations().map(|sa| {
                let (sak, pn) = (sa.sak().as_ref(), sa.lowest_pn());
                Self { sak, sci: channel.sci(), an: sa.an(), ssci: sa.ssci(), pn }
            })
        };
        transmit.chain(port.receive().iter().flat_map(of_channel)).collect()
    }
}

/// The file.
#[derive(Debug)]
pub(super) struct KeyLog {
    file: File,
    /// Of the link, as lines have it.
    name: String,
}

impl KeyLog {
    /// Opens it, to write behind what is in it. It has to be a file that nobody else can read, or has put there: symbolic
    /// links are not followed, and it lies where nobody else can put another in its place.
    ///
    /// # Errors
    /// What the system says, or what is wrong with the file or its folder.
    pub(super) fn open(path: &Path, link: &str) -> io::Result<Self> {
        let (Some(folder), Some(file)) = (path.parent(), path.file_name()) else {
            return Err(ErrorKind::IsADirectory.into());
        };
        let folder = fs::canonicalize(folder)?;
        let us = rustix::process::geteuid().as_raw();
        for folder in folder.ancestors() {
            check_folder(folder, us)?;
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::open(&folder, OFlags::RDONLY | flags, Mode::empty())?;
        // A pipe would wait for its other end.
        let flags = OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(openat(folder, file, OFlags::WRONLY | flags, Mode::RUSR | Mode::WUSR)?);
        // Of what was opened, not of what may have taken its place since.
        let found = file.metadata()?;
        let mode = found.mode() & 0o7777;
        if !found.is_file() || found.nlink() != 1 {
            return Err(refused("it is no regular file of one name".to_owned()));
        }
        if found.uid() != us {
            return Err(refused(format!(
                "it belongs to user {}; allowed is {us}, who writes it",
                found.uid()
            )));
        }
        if mode & 0o077 != 0 {
            return Err(refused(format!("its mode is {mode:04o}, so others can read it; allowed is 0600")));
        }
        tracing::warn!("{link}: KEYS ARE WRITTEN to {}: whoever reads it reads the link", path.display());
        // What the table has no room for in a text.
        Ok(Self { file, name: link.replace(['"', '\\'], "_") })
    }

    /// Writes keys down. A failure is in the log: frames go on.
    pub(super) fn write(&mut self, entries: &[Entry<'_>]) {
        for entry in entries {
            let Some(line) = line(&self.name, entry) else { continue };
            if let Err(error) = self.file.write_all(line.as_bytes()) {
                tracing::error!("{}: the key log lacks key {}: {error}", self.name, hex(entry.sak.id()));
            }
        }
    }
}

/// `None` of a key that may not be told.
fn line(name: &str, entry: &Entry<'_>) -> Option<Zeroizing<String>> {
    let (secret, salt) = entry.sak.disclosed()?;
    let mut line = Zeroizing::new(String::with_capacity(LINE));
    let digits =
        |line: &mut String, octets: &[u8]| octets.iter().try_for_each(|octet| write!(line, "{octet:02x}"));
    let Entry { sak, sci, an, ssci, pn } = entry;
    let offset = match sak.protection() {
        Protection::IntegrityOnly => 0,
        Protection::Confidentiality(offset) => offset.octets(),
    };
    digits(&mut line, secret).ok()?;
    write!(line, ",\"{name} {} offset={offset} sci={sci} an={an} pn={pn}", sak.suite()).ok()?;
    if let (Some(ssci), Some(salt)) = (ssci, salt) {
        write!(line, " ssci={} salt=", ssci.0).ok()?;
        digits(&mut line, salt).ok()?;
    }
    writeln!(line, " id={}\"", hex(sak.id())).ok()?;
    Some(line)
}

/// `us`: the user of this process.
fn check_folder(folder: &Path, us: u32) -> io::Result<()> {
    let found = fs::metadata(folder)?;
    let (mode, shown) = (found.mode() & 0o7777, folder.display());
    if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
        return Err(refused(format!(
            "everybody may write to {shown} (mode {mode:04o}), and put a file in its place"
        )));
    }
    if ![0, us].contains(&found.uid()) {
        return Err(refused(format!("{shown} belongs to user {}; allowed is {us} or root", found.uid())));
    }
    Ok(())
}

fn refused(why: String) -> io::Error {
    io::Error::new(ErrorKind::PermissionDenied, why)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::sync::Arc;

    use adit_macsec::{CipherSuite, KeyId, Offset, Salt, Settings};

    use super::*;
    use crate::test_folder::Folder;

    const OWN: Sci = Sci::new([2, 0, 0, 0, 0, 1], 1);

    fn sak(suite: CipherSuite, salt: Option<&Salt>) -> Arc<Sak> {
        let protection =
            Protection::Confidentiality(if salt.is_none() { Offset::Thirty } else { Offset::Zero });
        let secret = [0xab; 32];
        Arc::new(
            Sak::new_disclosed(KeyId([7; 16]), suite, protection, &secret[..suite.key_len()], salt).unwrap(),
        )
    }

    fn change(sak: Arc<Sak>, ssci: Option<Ssci>) -> KeyChange {
        KeyChange::Transmit { an: An::ALL[2], key: TransmitKey { sak, ssci, next_pn: 9, bound: u64::MAX } }
    }

    #[test]
    fn a_line_has_all_that_opens_frames() {
        let folder = Folder::new();
        let path = folder.path().join("keys");
        let mut log = KeyLog::open(&path, "a\"b").unwrap();
        let plain = change(sak(CipherSuite::GcmAes128, None), None);
        let extended = change(sak(CipherSuite::GcmAesXpn256, Some(&[0xcd; 12])), Some(Ssci(5)));
        for change in [&plain, &extended, &KeyChange::Retire(KeyId([0; 16]))] {
            log.write(Entry::of(change, OWN).as_slice());
        }
        let (tail, id) = ("sci=0200000000010001 an=2 pn=9", "07".repeat(16));
        let expected = [
            format!("{},\"a_b gcm-aes-128 offset=30 {tail} id={id}\"\n", "ab".repeat(16)),
            format!(
                "{},\"a_b gcm-aes-xpn-256 offset=0 {tail} ssci=5 salt={} id={id}\"\n",
                "ab".repeat(32),
                "cd".repeat(12)
            ),
        ];
        assert_eq!(fs::read_to_string(&path).unwrap(), expected.concat());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        // What is there stays.
        KeyLog::open(&path, "a").unwrap().write(Entry::of(&plain, OWN).as_slice());
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3);
        let longest = "x".repeat(15);
        let salt = [0xcd; 12];
        let mut entry = Entry::of(&extended, OWN).unwrap();
        let sak = sak(CipherSuite::GcmAesXpn256, Some(&salt));
        (entry.sak, entry.pn, entry.ssci) = (&sak, u64::MAX, Some(Ssci(u32::MAX)));
        assert!(line(&longest, &entry).unwrap().len() < LINE, "a longer buffer would leave a copy behind");
    }

    #[test]
    fn a_key_that_may_not_be_told_is_not_written() {
        let folder = Folder::new();
        let path = folder.path().join("keys");
        let protection = Protection::IntegrityOnly;
        let quiet = Sak::new(KeyId([7; 16]), CipherSuite::GcmAes128, protection, &[0xab; 16], None).unwrap();
        let change = change(Arc::new(quiet), None);
        KeyLog::open(&path, "a").unwrap().write(Entry::of(&change, OWN).as_slice());
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
    }

    #[test]
    fn the_keys_of_a_link_that_begins_are_all_of_its_associations() {
        let mut secy = SecY::new(Settings::new(OWN)).unwrap();
        let other = Sci::new([2, 0, 0, 0, 0, 2], 1);
        secy.add_channel(other).unwrap();
        let key = ReceiveKey { sak: sak(CipherSuite::GcmAes256, None), ssci: None, lowest_pn: 4 };
        secy.install_receive(other, An::ALL[1], key).unwrap();
        change(sak(CipherSuite::GcmAes128, None), None).apply(&mut secy).unwrap();
        let all = Entry::all(&secy);
        let found: Vec<_> = all.iter().map(|one| (one.sci, one.an.number(), one.pn)).collect();
        assert_eq!(found, [(OWN, 2, 9), (other, 1, 4)]);
    }

    #[test]
    fn a_file_that_others_can_read_or_have_put_there_is_refused() {
        let folder = Folder::new();
        let path = folder.path().join("keys");
        let refused = |words: &str| {
            let error = KeyLog::open(&path, "a").unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        };
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        refused("its mode is 0640");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        KeyLog::open(&path, "a").unwrap();
        fs::hard_link(&path, folder.path().join("other")).unwrap();
        refused("no regular file of one name");
        fs::remove_file(&path).unwrap();
        symlink(folder.path().join("other"), &path).unwrap();
        refused("symbolic link");
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(KeyLog::open(&path, "a").is_err());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        refused("directory");
        assert!(KeyLog::open(&folder.path().join("none/keys"), "a").is_err());
    }

    #[test]
    fn a_folder_where_others_can_put_files_is_refused() {
        let folder = Folder::new();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let open = || KeyLog::open(&inner.join("keys"), "a").map(|_| ());
        for (mode, sound) in [(0o777, false), (0o1777, true), (0o755, true)] {
            // Also above the folder itself.
            for which in [folder.path(), &inner] {
                fs::set_permissions(which, fs::Permissions::from_mode(mode)).unwrap();
                assert_eq!(open().is_ok(), sound, "{mode:o}");
                fs::set_permissions(which, fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        let found = fs::metadata(&inner).unwrap().uid();
        assert_eq!(check_folder(&inner, found + 1).is_err(), found != 0);
        // Only root can give a folder away.
        if found == 0 {
            std::os::unix::fs::chown(&inner, Some(4_711), None).unwrap();
            assert!(open().unwrap_err().to_string().contains("belongs to user 4711"));
        }
    }
}
