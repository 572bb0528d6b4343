//! The guard of an encrypted link: nothing in clear enters or leaves by it, whether or not the daemon runs.
//!
//! It is a table of nf_tables for each link, which `nft list table netdev adit-eth1` shows:
//!
//! ```text
//! table netdev adit-eth1 {
//!   chain ingress { type filter hook ingress device "eth1" priority -2147483648; policy drop; (rules) }
//!   chain egress  { type filter hook egress  device "eth1" priority  2147483647; policy drop; (rules) }
//! }
//! rules: @ll,96,16 0x88e5 accept, and so on for each EtherType that may pass; with outer tags also
//!        @ll,96,16 0x8100 @ll,128,16 0x88e5 accept; and last
//!        counter drop
//! ```
//!
//! The rules read the frame as it is on the wire, not what the kernel believes its protocol to be, which whoever sends by a
//! packet socket may choose. A VLAN tag that waits beside the frame counts as part of it.
//!
//! - A guard is laid, replaced and taken away by one transaction each: all of it or nothing. When one replaces another the
//!   new rules drop before the old ones go.
//! - It stays when the process ends. Nothing but [`Guard::remove`] and [`remove`] takes it away. With its
//!   link it has no effect any more, though the table may stay.
//! - From Linux 6.9 on the table is owned by the process for as long as that lives: `nft flush ruleset` passes it over, and
//!   nobody else changes it. Before that, and while the daemon is dead, root can take it away; [`Guard::mend`] finds that
//!   out and puts it back.
//! - The first chain on the way in and the last one on the way out: what other chains do to a frame, they do on the inside.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "netlink has many messages and attributes, of which we know a few"
)]

use std::io;

use netlink_packet_netfilter::NetfilterMessage;
use netlink_packet_netfilter::nftables::{NfTablesMessage, TableFlags};
use netlink_sys::Socket;

use super::{link, netlink};
use table::{Chain, Step};

mod table;

/// What every table of ours is called, before the name of its link.
const PREFIX: &str = "adit-";

/// Why a link has no guard. It must not be used then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel lacks nf_tables, or its part for links.
    #[error("this kernel cannot guard a link: it needs nf_tables (CONFIG_NF_TABLES_NETDEV): {0}")]
    NoTables(io::Error),
    /// The kernel cannot look at what arrives, or what leaves.
    #[error("this kernel cannot guard a link's {direction}: it needs Linux 5.16 with {option}: {error}")]
    NoHook {
        /// `ingress` or `egress`.
        direction: &'static str,
        /// What it has to be built with.
        option: &'static str,
        /// What the kernel says.
        error: io::Error,
    },
    /// Another process that still runs has laid it.
    #[error("the guard {0} belongs to another process, which still runs")]
    Owned(String),
    /// There is no such link.
    #[error("there is no link to guard: {0}")]
    Link(io::Error),
    /// Anything else that the kernel says.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What was laid was gone before it could be read back.
    #[error("the guard {0} was changed while it was laid")]
    Changed(String),
}

/// The guard of one link. Dropping this leaves it where it is.
#[derive(Debug)]
pub struct Guard {
    link: u32,
    table: String,
    outer_tag: bool,
    chains: [Chain; 2],
    /// The table's owner is this very socket.
    socket: SocketOf,
    /// What the kernel showed when it had been laid.
    seen: Vec<NfTablesMessage>,
}

/// A netlink socket, which has no `Debug` of its own.
struct SocketOf(Socket);

impl std::fmt::Debug for SocketOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Socket")
    }
}

/// Frames that guards held back.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Dropped {
    /// On the way in.
    pub ingress: u64,
    /// On the way out.
    pub egress: u64,
}

impl Guard {
    /// Lays the guard of the link of this number, in place of one that an earlier process has left. `outer_tag` lets what
    /// may pass also do so behind one VLAN tag. It takes `CAP_NET_ADMIN`.
    ///
    /// # Errors
    /// [`Error`]: then nothing has changed.
    pub fn lay(link: u32, outer_tag: bool) -> Result<Self, Error> {
        Self::with(link, outer_tag, [Chain::INGRESS, Chain::EGRESS])
    }

    fn with(link: u32, outer_tag: bool, chains: [Chain; 2]) -> Result<Self, Error> {
        let socket = SocketOf(netlink::open::<NetfilterMessage>().map_err(Error::NoTables)?);
        let mut guard = Self { link, table: String::new(), outer_tag, chains, socket, seen: Vec::new() };
        guard.replace()?;
        Ok(guard)
    }

    /// Says whether what may pass also does so behind one VLAN tag from now on.
    ///
    /// # Errors
    /// [`Error`]: then the guard is as it was.
    pub fn set_outer_tag(&mut self, outer_tag: bool) -> Result<(), Error> {
        let before = std::mem::replace(&mut self.outer_tag, outer_tag);
        self.replace().inspect_err(|_| self.outer_tag = before)
    }

    /// Puts the guard back if somebody took it away or changed it, or if the link has another name. True if that was so.
    /// To be called now and then, as long as the link is used.
    ///
    /// # Errors
    /// [`Error`]: the link may be open then.
    pub fn mend(&mut self) -> Result<bool, Error> {
        let whole = table::name(&self.device()?) == self.table && table::read(&self.table)? == self.seen;
        if !whole {
            self.replace()?;
        }
        Ok(!whole)
    }

    /// Frames that were held back since the guard was laid or put back.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn dropped(&self) -> io::Result<Dropped> {
        let [ingress, egress] = self.chains;
        let counts = table::dropped(&self.table)?;
        let of =
            |chain: Chain| counts.iter().find(|(name, _)| name == chain.name).map_or(0, |(_, count)| *count);
        Ok(Dropped { ingress: of(ingress), egress: of(egress) })
    }

    /// Takes the guard away: from now on the link carries everything.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove(self) -> Result<(), Error> {
        take_away(&self.socket.0, &self.table).map(drop)
    }

    fn device(&self) -> Result<String, Error> {
        link::name(self.link).map_err(|error| match netlink::errno(&error) {
            Some(libc::ENODEV) => Error::Link(error),
            _ => Error::Io(error),
        })
    }

    fn replace(&mut self) -> Result<(), Error> {
        let device = self.device()?;
        let table = table::name(&device);
        let owned = TableFlags::Owner | TableFlags::Persisent;
        match self.transact(&table, &device, owned) {
            // Before Linux 6.9 a table that is owned ends with its owner.
            Err((Some(Step::Table), error)) if netlink::errno(&error) == Some(libc::EOPNOTSUPP) => {
                self.transact(&table, &device, TableFlags::empty())
            }
            result => result,
        }
        .map_err(|(step, error)| explain(step, error, &table))?;
        self.seen = table::read(&table)?;
        self.table = table;
        if self.seen.len() != table::messages(self.outer_tag, &self.chains) {
            return Err(Error::Changed(self.table.clone()));
        }
        Ok(())
    }

    fn transact(
        &self,
        table: &str,
        device: &str,
        flags: TableFlags,
    ) -> Result<(), (Option<Step>, io::Error)> {
        let present =
            table::list().map_err(|error| (Some(Step::Batch), error))?.iter().any(|name| name == table);
        let steps = table::batch(present, table, device, flags, self.outer_tag, &self.chains);
        let names: Vec<_> = steps.iter().map(|(step, ..)| *step).collect();
        let batch = steps.into_iter().map(|(_, message, flags)| (message, flags)).collect();
        netlink::transact(&self.socket.0, batch).map_err(|(at, error)| (names.get(at).copied(), error))
    }
}

/// The links that have a guard, by the names that they had when it was laid: also those of an earlier process.
///
/// # Errors
/// [`Error`].
pub fn list() -> Result<Vec<String>, Error> {
    let tables = table::list().map_err(|error| explain(Some(Step::Batch), error, PREFIX))?;
    Ok(tables.iter().filter_map(|table| table.strip_prefix(PREFIX)).map(str::to_owned).collect())
}

/// Takes away a guard that an earlier process has left on a link. False if there is none.
///
/// # Errors
/// [`Error::Owned`] if that process still runs; otherwise what the kernel says.
pub fn remove(device: &str) -> Result<bool, Error> {
    let socket = netlink::open::<NetfilterMessage>().map_err(Error::NoTables)?;
    take_away(&socket, &table::name(device))
}

fn take_away(socket: &Socket, table: &str) -> Result<bool, Error> {
    let steps = table::removal(table);
    let step = |at: usize| steps.get(at).map(|(step, ..)| *step);
    let batch = steps.iter().map(|(_, message, flags)| (message.clone(), *flags)).collect();
    match netlink::transact(socket, batch) {
        Ok(()) => Ok(true),
        Err((_, error)) if netlink::errno(&error) == Some(libc::ENOENT) => Ok(false),
        Err((at, error)) => Err(explain(step(at), error, table)),
    }
}

/// What an error means at this step of a transaction.
fn explain(step: Option<Step>, error: io::Error, table: &str) -> Error {
    match (step, netlink::errno(&error)) {
        (Some(Step::Batch | Step::Table), Some(libc::EOPNOTSUPP | libc::EINVAL | libc::EAFNOSUPPORT)) => {
            Error::NoTables(error)
        }
        (Some(Step::Chain(chain)), Some(libc::EOPNOTSUPP)) => {
            Error::NoHook { direction: chain.name, option: chain.option, error }
        }
        (Some(Step::Removal | Step::Table), Some(libc::EPERM)) => Error::Owned(table.to_owned()),
        (Some(Step::Chain(_)), Some(libc::ENODEV | libc::ENOENT)) => Error::Link(error),
        _ => Error::Io(error),
    }
}

#[cfg(test)]
mod tests;
