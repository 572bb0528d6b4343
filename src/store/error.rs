//! Why a change was not done, or something could not be read.

use std::path::PathBuf;

use super::Refusal;

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is against the rules.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// More changes wait than can be kept; try again.
    #[error("too many changes wait")]
    Busy,
    /// The store has ended, or failed before: what the file holds is not certain until it is opened again.
    #[error("the store has stopped")]
    Stopped,
    /// The file could not be written or read.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the library or the system says.
        why: String,
    },
    /// Another process has the file.
    #[error("{}: another process has it", .0.display())]
    InUse(PathBuf),
    /// Others can read or change the file.
    #[error("{}: its mode is {mode:04o}, so others can read its keys; mend it with `chmod 600 {}`", path.display(), path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file is that of another version.
    #[error("{}: it has schema {found}, and this adit knows schema {known}: {}", path.display(), maker(*found, *known))]
    Schema {
        /// The file.
        path: PathBuf,
        /// What the file has.
        found: u32,
        /// What is known.
        known: u32,
    },
    /// What stands in the file makes no sense.
    #[error("{}: damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
}

/// Who made a file of another schema, and what helps.
fn maker(found: u32, known: u32) -> &'static str {
    if found > known {
        "a newer adit made it"
    } else {
        "an older adit made it, whose leases cannot be taken over; move it away, and have clients enrol again"
    }
}
