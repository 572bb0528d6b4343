//! Leases as peers of a tunnel: a peer comes with its lease and goes with it.
//!
//! The store says what is true, in the order of its answers; each is passed on to the tunnel's control thread at once, without
//! waiting for it. So nobody has a lease without being a peer, or is one without a lease, for longer than that takes.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use adit_noise::PublicKey;
use adit_wireguard::uapi::Change as PeersChange;
use adit_wireguard::{PeerChange, Prefix};

use super::refusals::Refusals;
use super::tally::Tally;
use crate::clock;
use crate::control::Remote;
use crate::datapath::wireguard::Access;
use crate::enrolment::{Fingerprint, Lost, Peers, Problem, Service};
use crate::store::{Change, Done, Embedded, Error, Identity, Lease, Refusal, Store, Wall};

/// Where an operator deals with the clients of a tunnel.
#[derive(Clone)]
pub struct Desk {
    /// Their leases.
    pub leases: Arc<Leases>,
    /// Who grants them.
    pub service: Arc<Service>,
    /// How many there can be.
    pub capacity: u32,
    /// The port of the API.
    pub port: u16,
    /// By what clients know the authority that signs it.
    pub authority: Option<Fingerprint>,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("leases", &self.leases).finish_non_exhaustive()
    }
}

/// Leases that are ended in one change of the store.
const TOGETHER: usize = 1_024;

/// The leases of one tunnel.
#[derive(Debug)]
pub struct Leases {
    tunnel: String,
    store: Arc<Embedded>,
    place: Mutex<Place>,
    /// What became of leases.
    pub(super) tally: Tally,
    refusals: Refusals,
    /// Leases may be left whose certificates are revoked: one was granted meanwhile, or the store had no room or could not be read.
    revoked_meanwhile: AtomicBool,
    /// What is wrong with the store, in words.
    trouble: Mutex<Option<String>>,
}

/// Where the peers are.
#[derive(Debug, Default)]
struct Place {
    remote: Option<Remote>,
    /// Whose each key is.
    holders: HashMap<PublicKey, Identity>,
    /// Keys of peers in the configuration file, which has the last word.
    reserved: HashSet<PublicKey>,
}

/// Why leases are over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Why {
    Expired,
    Ended,
}

impl Leases {
    pub(super) fn new(tunnel: &str, store: Embedded, refusals: Refusals) -> Self {
        Self {
            tunnel: tunnel.to_owned(),
            store: Arc::new(store),
            place: Mutex::default(),
            tally: Tally::default(),
            refusals,
            revoked_meanwhile: AtomicBool::new(false),
            trouble: Mutex::default(),
        }
    }

    /// What is wrong with the store, in words.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps the first thing that went wrong, until something goes well: the store has nothing to add after that.
    fn fared(&self, error: Option<&Error>) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            None => *trouble = None,
            Some(error) if trouble.is_none() => {
                tracing::error!("{}: {error}", self.tunnel);
                let told = "nobody gets a lease and none ends until the daemon is started anew";
                *trouble = Some(format!("{error}; {told}"));
            }
            Some(_) => {}
        }
    }

    /// Whether revoked leases have to be looked for although no list has changed. It is told once.
    pub(super) fn is_to_be_looked_through(&self) -> bool {
        self.revoked_meanwhile.swap(false, Ordering::Relaxed)
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<Embedded> {
        &self.store
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.place().holders.len()
    }

    /// Whose lease a peer is.
    pub(super) fn holder(&self, key: &PublicKey) -> Option<Identity> {
        self.place().holders.get(key).cloned()
    }

    /// Makes every lease a peer of this tunnel, and has its rules kept; before anything can be granted.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) fn attach(
        &self,
        remote: Remote,
        access: Access,
        reserved: HashSet<PublicKey>,
        now: Wall,
    ) -> Result<(), Error> {
        let mut place = self.place();
        let mut leases = Vec::new();
        self.store.leases(&mut |lease| leases.push(lease))?;
        leases.retain(|lease| lease.until > now && !reserved.contains(&lease.key));
        remote.limit(Some(access));
        remote.lease(leases.iter().map(peer).collect());
        let holders = leases.into_iter().map(|lease| (lease.key, lease.identity)).collect();
        *place = Place { remote: Some(remote), holders, reserved };
        Ok(())
    }

    /// Whether the leases are peers of this tunnel, beside these of its configuration.
    pub(super) fn is_attached(&self, remote: &Remote, reserved: &HashSet<PublicKey>) -> bool {
        let place = self.place();
        place.remote.as_ref().is_some_and(|there| there.is_same(remote)) && place.reserved == *reserved
    }

    /// Takes the peers away. The leases stay in the store.
    pub(super) fn detach(&self) {
        let place = std::mem::take(&mut *self.place());
        if let Some(remote) = place.remote {
            remote.lease(place.holders.keys().map(|key| PeersChange::RemovePeer(*key)).collect());
            remote.limit(None);
        }
    }

    /// Has everything that is over ended.
    pub(super) fn expire(self: &Arc<Self>) {
        let leases = self.clone();
        let done = move |done: Result<Done, Error>| match done {
            Ok(Done::Ended { leases: over, more }) => {
                leases.fared(None);
                leases.over(&over, Why::Expired);
                if more {
                    leases.expire();
                }
            }
            Ok(Done::Invited | Done::Leased { .. }) => {}
            // It comes again.
            Err(Error::Busy) => {}
            Err(error) => leases.fared(Some(&error)),
        };
        self.store.submit(Change::Expire { most: TOGETHER }, clock::both().wall.as_secs(), Box::new(done));
    }

    /// Ends the leases whose certificates were revoked.
    pub(super) fn revoke(self: &Arc<Self>, is_revoked: impl Fn(&[u8]) -> bool) {
        let mut revoked = Vec::new();
        let read = self.store.leases(&mut |lease| {
            if !lease.certificate.is_empty() && is_revoked(&lease.certificate) {
                revoked.push((lease.identity, lease.key));
            }
        });
        if let Err(error) = read {
            tracing::error!("{}: {error}", self.tunnel);
            self.look_through();
        }
        for (identity, key) in revoked {
            self.end(identity, key, "its certificate was revoked");
            // There is no room for more now: the next look finds them.
            if self.revoked_meanwhile.load(Ordering::Relaxed) {
                break;
            }
        }
    }

    /// Has a lease ended. If the store has no room for it now, all leases are looked through again.
    fn end(self: &Arc<Self>, identity: Identity, key: PublicKey, why: &'static str) {
        let (leases, name) = (self.clone(), identity.clone());
        let done = move |done: Result<Done, Error>| match done {
            Ok(Done::Ended { leases: over, .. }) => {
                // None, if it was asked for twice.
                if !over.is_empty() {
                    tracing::info!("{}: {name}: {why}", leases.tunnel);
                }
                leases.over(&over, Why::Ended);
            }
            Ok(Done::Invited | Done::Leased { .. }) | Err(Error::Refused(_)) => {}
            Err(Error::Busy) => leases.look_through(),
            // It does nothing any more: to ask again would change nothing.
            Err(error) => leases.fared(Some(&error)),
        };
        let change = Change::End { identity, key, why: why.to_owned() };
        self.store.submit(change, clock::both().wall.as_secs(), Box::new(done));
    }

    /// Has revoked leases looked for again although no list has changed.
    fn look_through(&self) {
        self.revoked_meanwhile.store(true, Ordering::Relaxed);
    }

    /// Forgets an identity: its lease, its key and its invitations.
    ///
    /// # Errors
    /// There is none, or the store failed.
    pub fn remove(self: &Arc<Self>, identity: Identity) -> Result<(), Error> {
        let (send, receive) = std::sync::mpsc::sync_channel(1);
        let leases = self.clone();
        let done = move |done: Result<Done, Error>| {
            let told = done.map(|done| match done {
                Done::Ended { leases: over, .. } => leases.over(&over, Why::Ended),
                Done::Invited | Done::Leased { .. } => {}
            });
            drop(send.send(told));
        };
        self.store.submit(Change::Remove { identity }, clock::both().wall.as_secs(), Box::new(done));
        receive.recv().unwrap_or(Err(Error::Stopped))
    }

    /// Takes the peers of leases away that are over.
    fn over(&self, leases: &[Lease], why: Why) {
        if leases.is_empty() {
            return;
        }
        let mut place = self.place();
        for lease in leases {
            place.holders.remove(&lease.key);
            tracing::info!("{}: the lease of {} is over", self.tunnel, lease.identity);
        }
        let counter = match why {
            Why::Expired => &self.tally.expired,
            Why::Ended => &self.tally.ended,
        };
        counter.fetch_add(leases.len() as u64, Ordering::Relaxed);
        if let Some(remote) = &place.remote {
            remote.lease(leases.iter().map(|lease| PeersChange::RemovePeer(lease.key)).collect());
        }
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peers for Arc<Leases> {
    fn granted(&self, lease: &Lease, before: Option<PublicKey>) -> Result<(), Problem> {
        let mut place = self.place();
        let mut changes = Vec::with_capacity(2);
        if let Some(before) = before {
            place.holders.remove(&before);
            changes.push(PeersChange::RemovePeer(before));
        }
        // The request may be older than the reload that reserved the key.
        let reserved = place.reserved.contains(&lease.key);
        if !reserved {
            changes.push(peer(lease));
            place.holders.insert(lease.key, lease.identity.clone());
        }
        if let Some(remote) = &place.remote {
            remote.lease(changes);
        }
        drop(place);
        if reserved {
            self.end(lease.identity.clone(), lease.key, "its key is that of a peer in the configuration");
            return Err(Refusal::KeyReserved.into());
        }
        self.tally.granted.fetch_add(1, Ordering::Relaxed);
        tracing::info!("{}: {} has a lease until {}", self.tunnel, lease.identity, lease.until);
        Ok(())
    }

    fn revoked_meanwhile(&self) {
        self.look_through();
    }

    fn refused(&self, source: IpAddr, name: Option<&Identity>, problem: &Problem) {
        self.tally.refuse(problem.word());
        // Whoever goes on after that is not worth a line each time.
        if !matches!(problem, Problem::TooMany(_)) {
            let name = name.map(|name| format!(" with the certificate of {name}")).unwrap_or_default();
            let what = format!("{}: {source}{name}: {}", self.tunnel, problem.word());
            tracing::info!("refused: {what}");
            self.refusals.note(&what);
        }
    }

    fn lost(&self, source: IpAddr, why: Lost) {
        self.tally.lose(why);
        tracing::debug!("{}: {source}: {why:?}", self.tunnel);
    }
}

/// The peer that a lease is: its addresses, and no more.
fn peer(lease: &Lease) -> PeersChange {
    let addresses = lease.v4.map(IpAddr::from).into_iter().chain(lease.v6.map(IpAddr::from));
    let change = PeerChange {
        preshared_key: Some(lease.preshared.clone()),
        replace_allowed_ips: true,
        allowed_ips: addresses.map(|address| (true, Prefix::from(address))).collect(),
        ..PeerChange::default()
    };
    PeersChange::Peer(lease.key, change)
}

#[cfg(test)]
#[path = "leases/tests.rs"]
mod tests;
