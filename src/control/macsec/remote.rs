//! Asking a link for something from another thread.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::time::Duration;

use super::station::Command;
use crate::datapath::Inbox;
use crate::datapath::macsec::Note;
use crate::status;

/// How long the control thread may take to report.
const GLANCE: Duration = Duration::from_secs(2);

/// A handle on a link for any thread.
#[derive(Clone, Debug)]
pub struct Remote {
    pub(super) inbox: Arc<Inbox<Note, Command>>,
}

impl Remote {
    /// Over UDP: the other end is reached there, by a name that was looked up.
    pub fn set_endpoint(&self, endpoint: SocketAddr) {
        self.inbox.command(Command::Endpoint(endpoint));
    }

    /// The MTU of the device; `None`: what the carrier leaves.
    pub fn set_mtu(&self, mtu: Option<usize>) {
        self.inbox.command(Command::Mtu(mtu));
    }

    /// Everything that the link has to tell.
    ///
    /// # Errors
    /// `TimedOut` if nobody answers.
    pub fn report(&self) -> io::Result<status::Macsec> {
        let (reply, answer): (SyncSender<_>, _) = mpsc::sync_channel(1);
        self.inbox.command(Command::Report(reply));
        let timed_out = || io::Error::new(io::ErrorKind::TimedOut, "the control thread does not answer");
        answer.recv_timeout(GLANCE).map_err(|_| timed_out())
    }
}
