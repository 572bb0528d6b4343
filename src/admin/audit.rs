//! The audit trail: who changed what, when, and what came of it. JSON lines that are only ever added to.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::stamp::rfc3339;
use crate::clock;
use crate::net::sys;

/// The file in the folder for the daemon's state.
const NAME: &str = "audit.jsonl";

/// One line of the trail. The time is put to it when it is written.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Entry {
    /// Who did it.
    pub who: Who,
    /// What was done.
    pub what: What,
    /// By which way it was asked for.
    pub via: Via,
    /// What came of it.
    pub result: Outcome,
    /// More about it, in words.
    pub detail: String,
}

/// A process, as the kernel told of it. What is not known is null.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Who {
    /// Its user.
    pub uid: Option<u32>,
    /// Its group.
    pub gid: Option<u32>,
    /// Its process.
    pub pid: Option<u32>,
    /// Its user's name.
    pub user: Option<String>,
}

/// What was done.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The daemon started.
    Start,
    /// The daemon ended.
    Stop,
    /// The configuration was read again.
    Reload,
    /// Dropped packets were watched, with the addresses in them.
    Trace,
    /// Nothing more was accepted where TLS ends.
    Drain,
    /// It was again.
    DrainUndo,
    /// A client was invited.
    ClientInvite,
    /// A client was forgotten.
    ClientRemove,
    /// A client's profile was made.
    ClientProfile,
    /// A client was refused.
    ClientRefused,
}

/// By which way it was asked for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Via {
    /// The admin socket.
    #[serde(rename = "write.sock")]
    WriteSocket,
    /// A signal.
    #[serde(rename = "signal")]
    Signal,
    /// The daemon itself.
    #[serde(rename = "daemon")]
    Daemon,
    /// The API that clients get their leases by.
    #[serde(rename = "enrolment")]
    Enrolment,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is about to be tried. Another line tells the result; without one the daemon ended over it.
    Attempt,
    /// It was done.
    Ok,
    /// It was done but for some of it.
    Partial,
    /// It was not done, and nothing was changed.
    Refused,
}

impl Who {
    /// A process; the user's name is looked up.
    #[must_use]
    pub fn new(uid: Option<u32>, gid: Option<u32>, pid: Option<u32>) -> Self {
        let user = uid.and_then(|uid| sys::user::name(uid).ok().flatten());
        Self { uid, gid, pid, user }
    }

    /// This process.
    #[must_use]
    pub fn this_process() -> Self {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        Self::new(Some(uid.as_raw()), Some(gid.as_raw()), Some(std::process::id()))
    }
}

/// The audit trail. All clones write to the same file, each entry at once and durably.
#[derive(Clone, Debug)]
pub struct Audit(Arc<Trail>);

#[derive(Debug)]
struct Trail {
    path: PathBuf,
    file: Mutex<File>,
}

impl Audit {
    /// Opens `audit.jsonl` in the folder `state`, for its owner alone. A line that a crash left half written is ended. If
    /// the process is privileged, the file is given to whom the folder belongs to: the daemon's user.
    ///
    /// # Errors
    /// What the system says, with the file's name.
    pub fn open(state: &Path) -> io::Result<Self> {
        let path = state.join(NAME);
        let file = open(&path).map_err(|error| named(&path, &error))?;
        Ok(Self(Arc::new(Trail { path, file: Mutex::new(file) })))
    }

    /// Adds an entry, and waits for the disk: once this returns it will survive a crash of the machine.
    ///
    /// # Errors
    /// What the system says, as when the disk is full. The entry counts as not written: what it is about must not be done.
    pub fn record(&self, entry: &Entry) -> io::Result<()> {
        self.0.record(entry).map_err(|error| named(&self.0.path, &error))
    }
}

#[cfg(test)]
impl Audit {
    /// The disk is slow for as long as this is held.
    pub(super) fn hold(&self) -> std::sync::MutexGuard<'_, File> {
        self.0.file.lock().unwrap()
    }
}

impl Trail {
    fn record(&self, entry: &Entry) -> io::Result<()> {
        #[derive(Serialize)]
        struct Line<'a> {
            time: String,
            #[serde(flatten)]
            entry: &'a Entry,
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever waited for the lock comes after the one that had it.
        let mut line = serde_json::to_vec(&Line { time: rfc3339(clock::both().wall), entry })?;
        line.push(b'\n');
        if !is_at(&file, &self.path)? {
            *file = open(&self.path)?;
        }
        // What an entry that failed has left behind.
        end_line(&mut file)?;
        file.write_all(&line)?;
        file.sync_data()
    }
}

/// Whether the file is still the one of that name: rotation moves it away.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let mut file = options.open(path)?;
    let folder = File::open(path.parent().unwrap_or(Path::new("/")))?;
    let owner = folder.metadata()?;
    if file.metadata()?.uid() != owner.uid() && rustix::process::geteuid().is_root() {
        std::os::unix::fs::fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
    end_line(&mut file)?;
    // The name has to survive a crash too.
    folder.sync_all()?;
    Ok(file)
}

/// Ends the last line, if it is a half one.
fn end_line(file: &mut File) -> io::Result<()> {
    if file.seek(SeekFrom::End(0))? > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(())
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::admin::tests::Folder;

    fn entry(detail: &str) -> Entry {
        let who = Who::this_process();
        Entry { who, what: What::Reload, via: Via::Signal, result: Outcome::Ok, detail: detail.to_owned() }
    }

    fn lines(folder: &Folder) -> Vec<String> {
        let text = fs::read_to_string(folder.path().join(NAME)).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn an_entry_is_a_line_of_json_with_its_time() {
        let folder = Folder::new();
        let audit = Audit::open(folder.path()).unwrap();
        audit.record(&entry("one\ntwo \"three\"")).unwrap();
        let lines = lines(&folder);
        let value: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!(value["what"], "reload");
        assert_eq!(value["via"], "signal");
        assert_eq!(value["result"], "ok");
        assert_eq!(value["detail"], "one\ntwo \"three\"");
        assert_eq!(value["who"]["pid"], std::process::id());
        assert_eq!(value["who"]["uid"], rustix::process::geteuid().as_raw());
        assert!(value["time"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn entries_are_added_to_what_is_there_and_the_file_is_private() {
        let folder = Folder::new();
        Audit::open(folder.path()).unwrap().record(&entry("first")).unwrap();
        Audit::open(folder.path()).unwrap().record(&entry("second")).unwrap();
        let lines = lines(&folder);
        assert!(lines[0].contains("first") && lines[1].contains("second"));
        assert_eq!(fs::metadata(folder.path().join(NAME)).unwrap().mode() & 0o7777, 0o600);
    }

    #[test]
    fn a_half_line_left_by_a_crash_is_ended() {
        let folder = Folder::new();
        fs::write(folder.path().join(NAME), "{\"time\":\"2026-").unwrap();
        Audit::open(folder.path()).unwrap().record(&entry("after")).unwrap();
        let lines = lines(&folder);
        assert_eq!(lines[0], "{\"time\":\"2026-");
        assert!(lines[1].contains("after"));
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn a_file_moved_away_is_begun_anew() {
        let folder = Folder::new();
        let audit = Audit::open(folder.path()).unwrap();
        audit.record(&entry("before")).unwrap();
        fs::rename(folder.path().join(NAME), folder.path().join("audit.jsonl.1")).unwrap();
        audit.record(&entry("after")).unwrap();
        let lines = lines(&folder);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("after"));
    }

    #[test]
    fn a_link_in_place_of_the_file_is_refused() {
        let folder = Folder::new();
        let elsewhere = folder.path().join("elsewhere");
        fs::write(&elsewhere, "").unwrap();
        std::os::unix::fs::symlink(&elsewhere, folder.path().join(NAME)).unwrap();
        let error = Audit::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains("audit.jsonl"), "{error}");
    }

    #[test]
    fn an_entry_that_cannot_be_written_is_an_error() {
        let folder = Folder::new();
        let audit = Audit::open(folder.path()).unwrap();
        fs::remove_file(folder.path().join(NAME)).unwrap();
        fs::create_dir(folder.path().join(NAME)).unwrap();
        assert!(audit.record(&entry("lost")).is_err());
    }

    #[test]
    fn threads_do_not_write_into_each_others_lines() {
        let folder = Folder::new();
        let audit = Audit::open(folder.path()).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..20).for_each(|_| audit.record(&entry(&"x".repeat(5_000))).unwrap()));
            }
        });
        let lines = lines(&folder);
        assert_eq!(lines.len(), 160);
        assert!(lines.iter().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    }
}
