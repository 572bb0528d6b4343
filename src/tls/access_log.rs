//! The access log: a line for each connection, at its end; where requests are read, a line for each of them.
//!
//! Data threads put entries into a queue with an end; a thread of its own writes them. When the disk does not keep up entries
//! are lost and counted: nobody waits for it.

mod entry;
mod line;

pub use entry::{Connection, Entry, Request};

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Entries that wait at most; each has about a kilobyte, and what clients chose of it no more than a few.
const WAITING: usize = 4096;
/// Bytes that are written at once.
const BATCH: usize = 64 << 10;

/// How a line is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// An object of JSON.
    Json,
    /// Words of the form `key=value`.
    Text,
}

/// `access_log`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// The file.
    pub file: PathBuf,
    /// How a line is written.
    pub format: Format,
}

/// What comes to the thread.
enum Message {
    Entry(Box<Entry>),
    /// Look again at what is asked for.
    Wake,
}

/// What was counted.
#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    lost: AtomicU64,
    reopen: AtomicBool,
    error: Mutex<Option<String>>,
}

/// A log. Its thread ends with the last of its holders.
#[derive(Debug)]
pub struct AccessLog {
    /// What it was made of.
    pub settings: Settings,
    /// The name of the table.
    pub(super) listener: Arc<str>,
    queue: SyncSender<Message>,
    counts: Arc<Counts>,
}

impl AccessLog {
    /// Opens the file and starts the thread.
    ///
    /// # Errors
    /// What the system says, with the file's name.
    pub fn start(listener: &str, settings: &Settings) -> io::Result<Arc<Self>> {
        Self::with_room(listener, settings, WAITING)
    }

    fn with_room(listener: &str, settings: &Settings, room: usize) -> io::Result<Arc<Self>> {
        let file = open(&settings.file)?;
        let (queue, entries) = sync_channel(room);
        let counts = Arc::new(Counts::default());
        let writer = Writer { settings: settings.clone(), file: Some(file), counts: counts.clone() };
        std::thread::Builder::new().name("tls-log".into()).spawn(move || writer.run(&entries))?;
        Ok(Arc::new(Self { settings: settings.clone(), listener: listener.into(), queue, counts }))
    }

    /// Adds an entry, or counts that it was lost.
    pub fn add(&self, entry: Box<Entry>) {
        if self.queue.try_send(Message::Entry(entry)).is_err() {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Opens the file anew: whoever rotates logs has moved it away.
    pub fn reopen(&self) {
        self.counts.reopen.store(true, Ordering::Relaxed);
        // If there is no room the thread is awake.
        let _ = self.queue.try_send(Message::Wake);
    }

    /// Entries that were written.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.counts.written.load(Ordering::Relaxed)
    }

    /// Entries that were lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.counts.lost.load(Ordering::Relaxed)
    }

    /// Why nothing can be written, if that is so.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        self.counts.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The thread.
struct Writer {
    settings: Settings,
    /// Absent after an error, until it can be opened.
    file: Option<File>,
    counts: Arc<Counts>,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Message>) {
        let mut batch = Vec::with_capacity(BATCH);
        while let Ok(first) = queue.recv() {
            let mut lines = 0;
            let more = std::iter::once(first).chain(std::iter::from_fn(|| queue.try_recv().ok()));
            for message in more {
                if let Message::Entry(entry) = message {
                    entry.write(self.settings.format, &mut batch);
                    lines += 1;
                }
                if batch.len() >= BATCH {
                    self.write(&mut batch, &mut lines);
                }
            }
            self.write(&mut batch, &mut lines);
        }
    }

    fn write(&mut self, batch: &mut Vec<u8>, lines: &mut u64) {
        let done = self.try_write(batch);
        let count = if done.is_ok() { &self.counts.written } else { &self.counts.lost };
        count.fetch_add(*lines, Ordering::Relaxed);
        let mut told = self.counts.error.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = &done {
            self.file = None;
            if told.is_none() {
                tracing::error!("the access log is not written: {error}");
            }
        }
        *told = done.err().map(|error| error.to_string());
        batch.clear();
        *lines = 0;
    }

    fn try_write(&mut self, batch: &[u8]) -> io::Result<()> {
        if self.counts.reopen.swap(false, Ordering::Relaxed) || self.file.is_none() {
            self.file = Some(open(&self.settings.file)?);
        }
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(batch))
    }
}

/// Opens a file to add to it; nobody but its owner and its group may read a new one.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let file = options.open(path).map_err(named)?;
    if !file.metadata().map_err(named)?.is_file() {
        return Err(named(io::Error::other("it is no regular file")));
    }
    Ok(file)
}

#[cfg(test)]
mod tests;
