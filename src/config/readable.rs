//! Whether a reload will be able to read what a start could.

use std::fs::{Metadata, metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Config;
use crate::net::sys;

/// What counts when a file is opened, as path_resolution(7) has it.
struct Reader {
    uid: u32,
    groups: Vec<u32>,
}

impl Config {
    /// Which of the [files](Self::files) `user` may not read once privileges are given up: a reload would fail at them.
    /// Access control lists are not looked at.
    ///
    /// # Errors
    /// If the user cannot be looked up.
    pub fn unreadable_by(&self, user: &str) -> io::Result<Vec<PathBuf>> {
        let entry = sys::user::by_name(user)?.ok_or(io::ErrorKind::NotFound)?;
        if entry.uid == 0 {
            return Ok(Vec::new());
        }
        let reader = Reader { uid: entry.uid, groups: sys::user::groups(user, entry.gid)? };
        Ok(self.files.iter().filter(|path| !reader.may_read(path)).cloned().collect())
    }
}

impl Reader {
    fn may_read(&self, path: &Path) -> bool {
        // Through links, which have no permissions of their own.
        let Ok(path) = path.canonicalize() else { return false };
        let may = |path: &Path, bit| metadata(path).is_ok_and(|found| self.may(&found, bit));
        may(&path, 0o4) && path.ancestors().skip(1).all(|folder| may(folder, 0o1))
    }

    /// The first class that fits decides, even if a later one would allow more.
    fn may(&self, found: &Metadata, bit: u32) -> bool {
        let shift = if found.uid() == self.uid {
            6
        } else if self.groups.contains(&found.gid()) {
            3
        } else {
            0
        };
        found.mode() >> shift & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::test_folder::Folder;

    fn found(folder: &Path, mode: u32) -> Metadata {
        let path = folder.join("file");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        metadata(&path).unwrap()
    }

    #[test]
    fn the_owner_the_group_and_the_others_have_bits_of_their_own() {
        let folder = Folder::new();
        for (mode, owner, group, other) in [
            (0o600, true, false, false),
            (0o040, false, true, false),
            (0o004, false, false, true),
            (0o444, true, true, true),
            (0o311, false, false, false),
        ] {
            let found = found(folder.path(), mode);
            let (uid, gid) = (found.uid(), found.gid());
            let may = |uid, groups| Reader { uid, groups }.may(&found, 0o4);
            assert_eq!(may(uid, vec![gid]), owner, "{mode:o}");
            assert_eq!(may(uid + 1, vec![gid + 1, gid]), group, "{mode:o}");
            assert_eq!(may(uid + 1, vec![gid + 1]), other, "{mode:o}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_entered_hides_a_file_that_could_be_read() {
        let folder = Folder::new();
        let found = found(folder.path(), 0o644);
        let path = folder.path().join("file");
        let reader = Reader { uid: found.uid() + 1, groups: vec![found.gid() + 1] };
        for (mode, may) in [(0o711, true), (0o700, false)] {
            std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(reader.may_read(&path), may, "{mode:o}");
        }
        assert!(!reader.may_read(&folder.path().join("nothing")));
    }
}
