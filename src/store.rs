//! What the gateway must not forget of its clients: who they are, which lease each has, which invitations are open, and
//! what was done.
//!
//! All of it is behind [`Store`], which takes one [`Change`] at a time and does it whole or not at all. The rules are part of
//! the change, not of whoever asks for it: a key or an address belongs to one identity, a token counts once. So a store that
//! several gateways share needs no lock of theirs.
//!
//! [`Embedded`] keeps it in one file (redb). Changes that wait at the same time are written together, with one fsync.

mod apply;
mod audit;
mod change;
mod embedded;
mod error;
mod lease;
mod pool;
mod tables;
mod token;

pub use audit::{Entry, Event};
pub use change::{Change, Done, Enrol, Proof, Refusal};
pub use embedded::{Embedded, Settings};
pub use error::Error;
pub use lease::{Identity, Lease};
pub use pool::{Pool, Range};
pub use token::{Digest, Token};

/// What is told of a change when it is on the disk, or when it was not done.
pub type Answer = Box<dyn FnOnce(Result<Done, Error>) + Send>;

/// Wall-clock time in seconds since 1970.
pub type Wall = u64;

/// Keeps identities, leases, tokens and the audit trail.
pub trait Store: Send + Sync {
    /// Does a change whole or not at all, and answers once it cannot be lost any more. It does not block.
    fn submit(&self, change: Change, now: Wall, answer: Answer);

    /// The lease of an identity, if it has one.
    ///
    /// # Errors
    /// The store cannot be read.
    fn lease(&self, identity: &Identity) -> Result<Option<Lease>, Error>;

    /// Calls `each` with every lease, in the order of the identities' names.
    ///
    /// # Errors
    /// The store cannot be read.
    fn leases(&self, each: &mut dyn FnMut(Lease)) -> Result<(), Error>;

    /// The latest entries of the audit trail, the oldest of them first.
    ///
    /// # Errors
    /// The store cannot be read.
    fn audit(&self, most: usize) -> Result<Vec<Entry>, Error>;

    /// Does a change, and waits until it is done.
    ///
    /// # Errors
    /// It was refused, or the store failed.
    fn apply(&self, change: Change, now: Wall) -> Result<Done, Error> {
        let (send, receive) = std::sync::mpsc::sync_channel(1);
        // Whoever waits no longer needs no answer.
        self.submit(change, now, Box::new(move |done| drop(send.send(done))));
        receive.recv().unwrap_or(Err(Error::Stopped))
    }
}
