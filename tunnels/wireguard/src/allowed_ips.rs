//! Cryptokey routing: which peer an address belongs to (WireGuard paper, section 2).

mod prefix;
mod trie;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use prefix::{InvalidPrefix, Prefix};
use trie::Trie;

/// Longest-prefix match over both families. Each prefix belongs to one value: the last that was given it.
#[derive(Clone, Debug)]
pub struct AllowedIps<V> {
    v4: Trie<u32, V>,
    v6: Trie<u128, V>,
}

impl<V: Copy + Eq> AllowedIps<V> {
    /// No prefixes.
    #[must_use]
    pub const fn new() -> Self {
        Self { v4: Trie::new(), v6: Trie::new() }
    }

    /// Gives `prefix` to `value`, and returns whom it belonged to before.
    pub fn insert(&mut self, prefix: Prefix, value: V) -> Option<V> {
        match prefix.address() {
            IpAddr::V4(v4) => self.v4.insert(v4.to_bits(), prefix.length(), value),
            IpAddr::V6(v6) => self.v6.insert(v6.to_bits(), prefix.length(), value),
        }
    }

    /// Takes `prefix` away if it belongs to `value`, and says so.
    pub fn remove(&mut self, prefix: Prefix, value: V) -> bool {
        match prefix.address() {
            IpAddr::V4(v4) => self.v4.remove(v4.to_bits(), prefix.length(), value),
            IpAddr::V6(v6) => self.v6.remove(v6.to_bits(), prefix.length(), value),
        }
    }

    /// Takes away every prefix of `value`.
    pub fn remove_all(&mut self, value: V) {
        for prefix in self.prefixes_of(value) {
            self.remove(prefix, value);
        }
    }

    /// Whom `address` belongs to: the value of its longest prefix.
    #[must_use]
    #[inline]
    pub fn lookup(&self, address: IpAddr) -> Option<V> {
        match address {
            IpAddr::V4(v4) => self.v4.lookup(v4.to_bits()),
            IpAddr::V6(v6) => self.v6.lookup(v6.to_bits()),
        }
    }

    /// Whom `prefix` itself belongs to, whatever longer and shorter ones there are.
    #[must_use]
    pub fn get(&self, prefix: Prefix) -> Option<V> {
        match prefix.address() {
            IpAddr::V4(v4) => self.v4.get(v4.to_bits(), prefix.length()),
            IpAddr::V6(v6) => self.v6.get(v6.to_bits(), prefix.length()),
        }
    }

    /// Every prefix of `value`, in ascending order.
    #[must_use]
    pub fn prefixes_of(&self, value: V) -> Vec<Prefix> {
        let v4 =
            self.v4.prefixes_of(value).map(|(key, length)| (IpAddr::V4(Ipv4Addr::from_bits(key)), length));
        let v6 =
            self.v6.prefixes_of(value).map(|(key, length)| (IpAddr::V6(Ipv6Addr::from_bits(key)), length));
        let mut prefixes: Vec<_> =
            v4.chain(v6).filter_map(|(address, length)| Prefix::new(address, length).ok()).collect();
        prefixes.sort_unstable();
        prefixes
    }
}

impl<V: Copy + Eq> Default for AllowedIps<V> {
    fn default() -> Self {
        Self::new()
    }
}
