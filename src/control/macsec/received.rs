//! How far a receive association with a static key has come, on disk: who starts again takes nothing twice.
//!
//! A mark ahead of what came, as for what is sent, would refuse what is genuine. So this one follows, and what comes between
//! two notes can be played again after a crash: see docs/security.md.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use adit_macsec::ReceiveSa;

use super::marks::{Mark, text};

/// What is written down of one association.
#[derive(Debug)]
pub(super) struct Received {
    mark: Mark,
    sa: Arc<ReceiveSa>,
    /// Open once something was noted.
    file: Option<File>,
    noted: u64,
}

impl Received {
    /// The lowest packet number to take, by what is kept under this name in `folder`, which is made if need be.
    ///
    /// # Errors
    /// What the system says; `InvalidData` if the file holds no number.
    pub(super) fn read(folder: &Path, name: &str) -> io::Result<Mark> {
        Mark::read(folder, &format!("{name}.received"))
    }

    /// Follows the association that began at this mark.
    pub(super) fn new(mark: Mark, sa: Arc<ReceiveSa>) -> Self {
        let noted = mark.value();
        Self { mark, sa, file: None, noted }
    }

    /// Where it is kept.
    pub(super) fn path(&self) -> &Path {
        self.mark.path()
    }

    /// Writes down how far it has come, if it moved. The system brings it to the disk when it will.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn note(&mut self) -> io::Result<()> {
        let next = self.sa.next_pn();
        if next <= self.noted {
            return Ok(());
        }
        match &self.file {
            // As many octets as were there: they are the old ones or the new ones after a power cut, and never a part.
            Some(file) => file.write_all_at(text(next).as_bytes(), 0)?,
            None => {
                self.mark.raise(next)?;
                self.file = Some(File::options().write(true).open(self.mark.path())?);
            }
        }
        self.noted = next;
        Ok(())
    }

    /// The same, to the disk.
    fn settle(&mut self) -> io::Result<()> {
        self.note()?;
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }
}

/// No more is received: nothing of it is taken once more.
impl Drop for Received {
    fn drop(&mut self) {
        if let Err(error) = self.settle() {
            let path = self.path().display();
            tracing::error!("{path}: {error}; what came is taken once more after the next start");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use adit_macsec::{
        An, CipherSuite, ControlledPort, KeyId, Protection, ReceiveKey, Sak, Sci, SecY, Settings, TransmitKey,
    };
    use adit_packet::Slot;

    use super::*;
    use crate::test_folder::Folder;

    const EAST: Sci = Sci::new([2, 0, 0, 0, 0, 1], 1);
    const WEST: Sci = Sci::new([2, 0, 0, 0, 0, 2], 1);

    fn sak() -> Arc<Sak> {
        let suite = CipherSuite::GcmAes128;
        Arc::new(Sak::new(KeyId([1; 16]), suite, Protection::IntegrityOnly, &[2; 16], None).unwrap())
    }

    /// A protected frame with this packet number.
    fn frame(pn: u64) -> Vec<u8> {
        let mut east = SecY::new(Settings::new(EAST)).unwrap();
        let key = TransmitKey { sak: sak(), ssci: None, next_pn: pn, bound: u64::MAX };
        east.install_transmit(An::ALL[0], key).unwrap();
        east.transmit_with(sak().id()).unwrap();
        let mut arena = vec![0x5a; ControlledPort::HEAD + 60 + ControlledPort::TAIL];
        let mut slots = [Slot { start: ControlledPort::HEAD, len: 60, ..Slot::default() }];
        east.port().seal(&mut arena, &mut slots, usize::MAX, |reason, _| panic!("{reason}"));
        arena[slots[0].range()].to_vec()
    }

    /// A station that begins at the mark of a folder.
    fn west(folder: &Path) -> (SecY, Received) {
        let mark = Received::read(folder, "key").unwrap();
        let mut west = SecY::new(Settings::new(WEST)).unwrap();
        west.add_channel(EAST).unwrap();
        let key = ReceiveKey { sak: sak(), ssci: None, lowest_pn: mark.value() };
        west.install_receive(EAST, An::ALL[0], key).unwrap();
        let sa = west.port().receive()[0].association(An::ALL[0]).unwrap().clone();
        (west, Received::new(mark, sa))
    }

    fn takes(west: &SecY, pn: u64) -> bool {
        let mut arena = frame(pn);
        let mut slots = [Slot { start: 0, len: arena.len(), ..Slot::default() }];
        west.port().open(&mut arena, &mut slots, |_, _| {}).authentic == 1
    }

    #[test]
    fn who_starts_again_takes_nothing_that_was_noted() {
        let folder = Folder::new();
        let (first, mut received) = west(folder.path());
        received.note().unwrap();
        assert!(!folder.path().join("key.received").exists(), "nothing came: there is nothing to keep");
        for pn in [5, 6, 1_000_000_000] {
            assert!(takes(&first, pn));
            received.note().unwrap();
        }
        assert!(takes(&first, 1_000_000_001));
        // As a crash would.
        std::mem::forget(received);

        let (second, received) = west(folder.path());
        assert!(!takes(&second, 5) && !takes(&second, 1_000_000_000));
        assert!(takes(&second, 1_000_000_001), "what was not noted is taken once more");
        assert!(takes(&second, 1_000_000_007));
        drop(received);
        let (third, _) = west(folder.path());
        assert!(!takes(&third, 1_000_000_007) && takes(&third, 1_000_000_008));
    }

    #[test]
    fn what_is_kept_has_always_the_same_length() {
        let folder = Folder::new();
        let (station, mut received) = west(folder.path());
        for pn in [1, 0xffff_fffe] {
            assert!(takes(&station, pn));
            received.note().unwrap();
            let text = fs::read_to_string(folder.path().join("key.received")).unwrap();
            assert_eq!((text.len(), text.trim_end().parse()), (21, Ok(pn + 1)));
        }
    }
}
