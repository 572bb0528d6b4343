//! Asking an interface for something from another thread.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::time::Duration;

use adit_wireguard::uapi::Change;

use super::Command;
use crate::control::ended::Ended;
use crate::datapath::Inbox;
use crate::datapath::wireguard::{Access, Note};
use crate::status;

/// How long the control thread may take to answer. It does nothing that waits, but for handshakes and large changes.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take to report. Whoever asks the gateway for its status waits meanwhile, perhaps behind others, and has to
/// be told in the end that this tunnel is stuck.
const GLANCE: Duration = Duration::from_secs(2);

/// A handle on an interface for any thread.
#[derive(Clone, Debug)]
pub struct Remote {
    pub(super) inbox: Arc<Inbox<Note, Command>>,
    pub(super) end: mpsc::Sender<Ended>,
}

impl Remote {
    /// Ends the interface.
    pub fn stop(&self) {
        let _ = self.end.send(Ended::Asked);
    }

    /// Has the drop counters written to the log.
    pub fn log_drops(&self) {
        self.inbox.command(Command::LogDrops);
    }

    /// Makes changes that the configuration file asks for, in their order.
    ///
    /// # Errors
    /// What the system refused; the changes before that were made. `TimedOut` if nobody answers.
    pub fn configure(&self, changes: Vec<Change>) -> io::Result<()> {
        match self.ask(PATIENCE, |reply| Command::Configure(changes, reply))?.code() {
            0 => Ok(()),
            code => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        }
    }

    /// Makes changes that leases ask for, in the order in which this is called. It does not wait for them.
    pub fn lease(&self, changes: Vec<Change>) {
        self.inbox.command(Command::Lease(changes));
    }

    /// Has rules of access kept from now on, or none.
    pub fn limit(&self, access: Option<Access>) {
        self.inbox.command(Command::Access(access.map(Arc::new)));
    }

    /// Whether both are of the same interface: not of the same name, but the same one.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inbox, &other.inbox)
    }

    /// Takes hold of a UDP port, so that to change to it cannot fail any more; lets go of it with `None`.
    ///
    /// # Errors
    /// What the system says: `AddrInUse` if anybody has it. `TimedOut` if nobody answers.
    pub fn reserve(&self, port: Option<u16>) -> io::Result<()> {
        self.ask(PATIENCE, |reply| Command::Reserve(port, reply))?
    }

    /// Everything that the interface has to tell.
    ///
    /// # Errors
    /// `TimedOut` if nobody answers.
    pub fn report(&self) -> io::Result<status::Wireguard> {
        self.ask(GLANCE, Command::Report)
    }

    fn ask<T>(&self, patience: Duration, command: impl FnOnce(SyncSender<T>) -> Command) -> io::Result<T> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.inbox.command(command(reply));
        let timed_out = || io::Error::new(io::ErrorKind::TimedOut, "the control thread does not answer");
        answer.recv_timeout(patience).map_err(|_| timed_out())
    }
}
