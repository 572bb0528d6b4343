//! The store in one file of this machine.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable};

use super::apply::{Applying, Outcome};
use super::audit::{Entry, Event};
use super::pool::{Numbers, Pool};
use super::tables::{AUDIT, CLIENTS, Client, META, SCHEMA, Tables};
use super::{Answer, Change, Error, Identity, Lease, Store, Wall};

/// The most changes that are written together: an answer waits no longer than it takes to do so many.
const TOGETHER: usize = 1_024;
/// The most changes that wait.
const WAITING: usize = 4_096;

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Where clients get addresses from.
    pub pool: Pool,
    /// Memory for pages of the file, in bytes.
    pub cache: usize,
}

/// A store in one file. When it is dropped, what was submitted is done first.
#[derive(Debug)]
pub struct Embedded {
    database: Arc<Database>,
    path: PathBuf,
    changes: Option<SyncSender<Waiting>>,
    writer: Option<JoinHandle<()>>,
}

/// A change that waits for its turn.
struct Waiting {
    change: Change,
    now: Wall,
    answer: Answer,
}

/// What the thread that writes has.
struct Writer {
    database: Arc<Database>,
    path: PathBuf,
    pool: Pool,
    numbers: Numbers,
    entry: u64,
}

impl Embedded {
    /// Opens the store at `path`, or makes it. Leases that the pool has no addresses for any more are ended.
    ///
    /// # Errors
    /// Another process has it, others can read it, it is damaged or of another version, or what the system says.
    pub fn open(path: &Path, settings: &Settings, now: Wall) -> Result<Self, Error> {
        let file = open(path)?;
        let backend = FileBackend::new(file).map_err(|error| opened(path, error))?;
        let builder = Builder::new().set_cache_size(settings.cache).create_with_backend(backend);
        let database = Arc::new(builder.map_err(|error| opened(path, error))?);
        let writer = Writer::load(Arc::clone(&database), path, settings.pool, now)?;
        let (changes, waiting) = sync_channel(WAITING);
        let builder = thread::Builder::new().name("store".to_owned());
        let writer = builder.spawn(move || writer.run(&waiting)).map_err(|error| failed(path, error))?;
        Ok(Self { database, path: path.to_owned(), changes: Some(changes), writer: Some(writer) })
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        drop(self.changes.take());
        if let Some(writer) = self.writer.take() {
            // If it panicked, that was told already.
            let _ = writer.join();
        }
    }
}

impl Store for Embedded {
    fn submit(&self, change: Change, now: Wall, answer: Answer) {
        let waiting = Waiting { change, now, answer };
        let sent = match &self.changes {
            Some(changes) => changes.try_send(waiting),
            None => Err(TrySendError::Disconnected(waiting)),
        };
        match sent {
            Ok(()) => {}
            Err(TrySendError::Full(waiting)) => (waiting.answer)(Err(Error::Busy)),
            Err(TrySendError::Disconnected(waiting)) => (waiting.answer)(Err(Error::Stopped)),
        }
    }

    fn lease(&self, identity: &Identity) -> Result<Option<Lease>, Error> {
        let read = || {
            let clients = self.database.begin_read()?.open_table(CLIENTS)?;
            let row = clients.get(identity.as_str())?;
            Ok(row.and_then(|row| Client::from_row(row.value()).lease(identity.as_str())))
        };
        read().map_err(|error: redb::Error| failed(&self.path, error))
    }

    fn leases(&self, each: &mut dyn FnMut(Lease)) -> Result<(), Error> {
        let read = || {
            let clients = self.database.begin_read()?.open_table(CLIENTS)?;
            for row in clients.iter()? {
                let (name, row) = row?;
                if let Some(lease) = Client::from_row(row.value()).lease(name.value()) {
                    each(lease);
                }
            }
            Ok(())
        };
        let mut read = read;
        read().map_err(|error: redb::Error| failed(&self.path, error))
    }

    fn audit(&self, most: usize) -> Result<Vec<Entry>, Error> {
        let read = || {
            let audit = self.database.begin_read()?.open_table(AUDIT)?;
            let mut entries = Vec::new();
            for row in audit.iter()?.rev().take(most) {
                let (number, row) = row?;
                let (at, event, identity, detail) = row.value();
                if let Some(event) = Event::from_number(event) {
                    let (identity, detail) = (identity.to_owned(), detail.to_owned());
                    entries.push(Entry { number: number.value(), at, event, identity, detail });
                }
            }
            entries.reverse();
            Ok(entries)
        };
        read().map_err(|error: redb::Error| failed(&self.path, error))
    }
}

impl Writer {
    /// Reads which addresses are given out, and ends the leases that do not fit the pool.
    fn load(database: Arc<Database>, path: &Path, pool: Pool, now: Wall) -> Result<Self, Error> {
        let transaction = database.begin_write().map_err(|error| failed(path, error))?;
        let found = schema(&transaction).map_err(|error| failed(path, error))?;
        if found != SCHEMA {
            return Err(Error::Schema { path: path.to_owned(), found, known: SCHEMA });
        }
        let (mut numbers, mut entry) = (Numbers::new(pool.size()), 0);
        let mut load = || -> Result<Option<&'static str>, redb::Error> {
            let tables = Tables::open(&transaction)?;
            entry = tables.audit.last()?.map_or(0, |(number, _)| number.value().saturating_add(1));
            let mut strange = Vec::new();
            for row in tables.clients.iter()? {
                let (name, row) = row?;
                let client = Client::from_row(row.value());
                if client.until == 0 {
                    continue;
                }
                let (v4, v6) = pool.addresses(client.number);
                let same = (v4.map(|it| it.to_bits()), v6.map(|it| it.to_bits())) == (client.v4, client.v6);
                if client.number >= pool.size() || !same {
                    strange.push((name.value().to_owned(), client));
                } else if numbers.is_free(client.number) {
                    numbers.take(client.number);
                } else {
                    return Ok(Some("two clients have one address"));
                }
            }
            let (numbers, entry) = (&mut numbers, &mut entry);
            let mut applying = Applying { tables, pool: &pool, numbers, entry, forgotten: false };
            for (name, client) in strange {
                // Its number may be another's by now.
                let number = u32::MAX;
                applying.release(&name, Client { number, ..client })?;
                applying.note(now, Event::Ended, &name, "the pool has other addresses")?;
            }
            Ok(None)
        };
        match load() {
            Ok(None) => {}
            Ok(Some(what)) => return Err(Error::Damaged { path: path.to_owned(), what }),
            Err(error) => return Err(failed(path, error)),
        }
        transaction.commit().map_err(|error| failed(path, error))?;
        Ok(Self { database, path: path.to_owned(), pool, numbers, entry })
    }

    /// Does what is submitted, all that waits at once, until nobody can submit any more. A failure ends it: what was written
    /// is known again when the file is next opened.
    fn run(mut self, waiting: &Receiver<Waiting>) {
        let mut batch = Vec::with_capacity(TOGETHER);
        while let Ok(first) = waiting.recv() {
            batch.push(first);
            batch.extend(waiting.try_iter().take(TOGETHER - 1));
            let done = self.commit(&batch);
            let failure = done.as_ref().err().map(ToString::to_string);
            let mut outcomes = done.unwrap_or_default().into_iter();
            for waiting in batch.drain(..) {
                let answer = match (&failure, outcomes.next()) {
                    (None, Some(outcome)) => outcome.map_err(Error::from),
                    (Some(why), _) => Err(Error::File { path: self.path.clone(), why: why.clone() }),
                    (None, None) => Err(Error::Stopped),
                };
                (waiting.answer)(answer);
            }
            if failure.is_some() {
                return;
            }
        }
    }

    /// Writes a batch in one transaction, with one fsync.
    fn commit(&mut self, batch: &[Waiting]) -> Result<Vec<Outcome>, Box<redb::Error>> {
        let mut commit = || -> Result<Vec<Outcome>, redb::Error> {
            let transaction = self.database.begin_write()?;
            let tables = Tables::open(&transaction)?;
            let (numbers, entry) = (&mut self.numbers, &mut self.entry);
            let before = *entry;
            let mut applying = Applying { tables, pool: &self.pool, numbers, entry, forgotten: false };
            let mut outcomes = Vec::with_capacity(batch.len());
            for waiting in batch {
                outcomes.push(applying.apply(&waiting.change, waiting.now)?);
            }
            let nothing = *applying.entry == before && !applying.forgotten;
            drop(applying);
            // Everything that is changed is told in the audit trail, but for tokens that are forgotten.
            if nothing {
                transaction.abort()?
            } else {
                transaction.commit()?
            }
            Ok(outcomes)
        };
        commit().map_err(Box::new)
    }
}

/// The schema of the file, which is written if it is new.
fn schema(transaction: &redb::WriteTransaction) -> Result<u32, redb::Error> {
    let mut meta = transaction.open_table(META)?;
    let found = meta.get("schema")?.map(|found| found.value());
    if found.is_none() {
        meta.insert("schema", SCHEMA)?;
    }
    Ok(found.unwrap_or(SCHEMA))
}

fn open(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let file = options.open(path).map_err(|error| failed(path, error))?;
    let mode = file.metadata().map_err(|error| failed(path, error))?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Error::Open { path: path.to_owned(), mode });
    }
    // The name of a new file has to be on the disk before anything in it is promised.
    let folder = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed(folder, error))?;
    Ok(file)
}

fn opened(path: &Path, error: DatabaseError) -> Error {
    if matches!(error, DatabaseError::DatabaseAlreadyOpen) {
        return Error::InUse(path.to_owned());
    }
    failed(path, error)
}

fn failed(path: &Path, error: impl std::fmt::Display) -> Error {
    Error::File { path: path.to_owned(), why: error.to_string() }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
