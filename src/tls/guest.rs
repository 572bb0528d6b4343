//! A connection that may stay, as far as limits go: what it counts for is given back when it is over.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::choice::Choose;
use super::limits::Limit;

/// Whose connection it is.
pub(super) struct Guest {
    choose: Arc<dyn Choose>,
    /// Of the client, as far as that is known.
    address: SocketAddr,
    /// Who the client is will be told by a PROXY header.
    passed_on: bool,
    /// At which address it is counted.
    counted: Option<IpAddr>,
}

impl Guest {
    /// A connection came from `peer`.
    ///
    /// # Errors
    /// It may not stay.
    pub(super) fn new(choose: &Arc<dyn Choose>, peer: SocketAddr) -> Result<Self, Limit> {
        choose.arrives()?;
        let passed_on = choose.expects_proxy(peer.ip());
        let mut guest = Self { choose: choose.clone(), address: peer, passed_on, counted: None };
        if !passed_on {
            guest.introduce(Some(peer))?;
        }
        Ok(guest)
    }

    /// The client is this; whoever speaks for itself alone is not counted by its address.
    ///
    /// # Errors
    /// It may not stay.
    pub(super) fn introduce(&mut self, client: Option<SocketAddr>) -> Result<(), Limit> {
        if let Some(client) = client {
            self.address = client;
            self.counted = self.choose.introduce(client.ip())?.then_some(client.ip());
        }
        Ok(())
    }

    /// The client's address.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it begins with a PROXY header.
    pub(super) fn is_passed_on(&self) -> bool {
        self.passed_on
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.choose.left(self.counted);
    }
}
