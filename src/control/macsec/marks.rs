//! Packet numbers that may have been used, on disk: with a static key none may come twice, whatever happens to this machine.
//!
//! A mark is written, and has reached the disk, before any number below it is used and not yet below the mark before it. Who
//! starts again begins at the mark. So at most one [`BLOCK`] is lost each time, and none is used twice.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Packet numbers that a mark allows at once: half of them last for some tenths of a second at line rate, and 32 bits of them
/// for four thousand starts.
pub(super) const BLOCK: u64 = 1 << 20;

/// The mark of one key, as one station uses it.
#[derive(Debug)]
pub(super) struct Mark {
    path: PathBuf,
    value: u64,
}

impl Mark {
    /// Reads the mark that is kept under this name in `folder`, which is made if need be. A key that is new begins at 1.
    ///
    /// # Errors
    /// What the system says; `InvalidData` if the file holds no mark.
    pub(super) fn read(folder: &Path, name: &str) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let path = folder.join(name);
        let value = match fs::read_to_string(&path) {
            Ok(text) => text.trim_end().parse().ok().filter(|value| *value > 0).ok_or_else(|| {
                let text = "it does not say which packet numbers were used: take another key";
                io::Error::new(ErrorKind::InvalidData, text)
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => 1,
            Err(error) => return Err(error),
        };
        Ok(Self { path, value })
    }

    /// All numbers from here on are unused.
    pub(super) fn value(&self) -> u64 {
        self.value
    }

    /// Where it is kept.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Raises it. When this returns it is on the disk.
    ///
    /// # Errors
    /// What the system says. The mark on the disk is then the old one or the new one.
    pub(super) fn raise(&mut self, value: u64) -> io::Result<()> {
        if value <= self.value {
            return Ok(());
        }
        let new = self.path.with_extension("new");
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text(value).as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all()?;
        self.value = value;
        Ok(())
    }
}

/// A number as a file has it: each as long as any other.
pub(super) fn text(value: u64) -> String {
    format!("{value:020}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_folder::Folder;

    #[test]
    fn a_mark_is_kept_and_never_goes_back() {
        let folder = Folder::new();
        let read = || Mark::read(&folder.path().join("packet-numbers"), "key").unwrap();
        let mut mark = read();
        assert_eq!(mark.value(), 1);
        mark.raise(BLOCK).unwrap();
        mark.raise(7).unwrap();
        assert_eq!((mark.value(), read().value()), (BLOCK, BLOCK));
    }

    #[test]
    fn a_file_that_says_nothing_is_not_taken_for_a_new_key() {
        let folder = Folder::new();
        for text in ["", "0", "x", "-1", "99999999999999999999999"] {
            fs::write(folder.path().join("key"), text).unwrap();
            let error = Mark::read(folder.path(), "key").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{text:?}");
        }
    }
}
