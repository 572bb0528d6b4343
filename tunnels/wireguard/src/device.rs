//! What all peers of a tunnel share.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{HashMap, VecDeque};

use adit_noise::cookie::Checker;
use adit_noise::mac::MacKey;
use adit_noise::ratelimit::Buckets;
use adit_noise::{PrivateKey, PublicKey};

use crate::replies::Replies;
use crate::staging::Budget;
use crate::{Cipher, Output, PeerId, timers};

/// Sources whose rate is known at once: as many as can matter, few enough to be a small table.
const SOURCES: usize = 8192;

/// Who we are: all that follows from the private key and the cipher.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) private: PrivateKey,
    pub(crate) public: PublicKey,
    /// Checks mac1 of what we receive.
    pub(crate) mac: MacKey,
    /// Tells messages that were made for us under the other cipher.
    pub(crate) other_mac: MacKey,
    /// Checks mac2 of it, and makes cookies.
    pub(crate) cookies: Checker,
}

impl Identity {
    pub(crate) fn new(private: PrivateKey, cipher: Cipher) -> Self {
        let public = private.public();
        let mac = |cipher: Cipher| MacKey::new(cipher.protocol().mac1_label, &public);
        Self {
            mac: mac(cipher),
            other_mac: mac(cipher.other()),
            cookies: Checker::new(cipher.protocol(), &public),
            public,
            private,
        }
    }
}

/// What the peers share: it is lent to whichever of them acts.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) identity: Option<Identity>,
    pub(crate) cipher: Cipher,
    pub(crate) up: bool,
    pub(crate) mtu: usize,
    pub(crate) indexes: Indexes,
    pub(crate) sources: Buckets,
    pub(crate) replies: Replies,
    pub(crate) budget: Budget,
    pub(crate) outputs: VecDeque<Output>,
    /// Handshakes that were completed.
    pub(crate) handshakes: u64,
}

impl Device {
    pub(crate) fn new(cipher: Cipher) -> Self {
        Self {
            identity: None,
            cipher,
            up: false,
            mtu: 1420,
            indexes: Indexes::default(),
            sources: Buckets::new(SOURCES),
            replies: Replies::default(),
            budget: Budget::default(),
            outputs: VecDeque::new(),
            handshakes: 0,
        }
    }

    pub(crate) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }
}

/// Which peer each index belongs to: of its sessions, and of the initiation that it has on its way.
#[derive(Debug, Default)]
pub(crate) struct Indexes(HashMap<u32, PeerId>);

impl Indexes {
    /// A random index that is not in use, so that nobody outside can tell which peer or how many there are. `None` if
    /// the system gives no random numbers.
    pub(crate) fn assign(&mut self, peer: PeerId) -> Option<u32> {
        loop {
            let index = getrandom::u32().ok()?;
            if let std::collections::hash_map::Entry::Vacant(vacant) = self.0.entry(index) {
                vacant.insert(peer);
                return Some(index);
            }
        }
    }

    pub(crate) fn peer(&self, index: u32) -> Option<PeerId> {
        self.0.get(&index).copied()
    }

    pub(crate) fn release(&mut self, index: u32) {
        self.0.remove(&index);
    }
}

/// A random addition to [`timers::REKEY_TIMEOUT`]. None without random numbers: it only keeps two peers apart.
pub(crate) fn jitter() -> Duration {
    let part = u128::from(getrandom::u32().unwrap_or(0));
    let nanos = (timers::REKEY_TIMEOUT_JITTER.as_nanos() * part) >> 32;
    Duration::from_nanos(nanos as u64)
}

/// Address and port as bytes, for a cookie that is good for this source only.
pub(crate) fn source(remote: core::net::SocketAddr) -> [u8; 18] {
    let mut bytes = [0; 18];
    let address = match remote.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let parts = address.octets().into_iter().chain(remote.port().to_be_bytes());
    bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_released_index_is_nobodys() {
        let mut indexes = Indexes::default();
        let peer = PeerId::new(7);
        let index = indexes.assign(peer).unwrap();
        assert_eq!(indexes.peer(index), Some(peer));
        indexes.release(index);
        assert_eq!(indexes.peer(index), None);
        assert!(indexes.0.is_empty());
    }

    #[test]
    fn sources_differ_in_address_and_port() {
        let bytes = |text: &str| source(text.parse().unwrap());
        let all = ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1", "[::]:1", "[::1]:1"].map(bytes);
        for (at, one) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|other| one != other));
        }
        assert_eq!(bytes("192.0.2.1:1"), bytes("[::ffff:192.0.2.1]:1"));
    }

    #[test]
    fn jitter_stays_below_a_third_of_a_second() {
        let drawn: Vec<_> = (0..100).map(|_| jitter()).collect();
        assert!(drawn.iter().all(|jitter| *jitter < timers::REKEY_TIMEOUT_JITTER));
        assert!(drawn.iter().any(|jitter| *jitter != drawn[0]));
    }
}
