//! Longest-prefix match over addresses of one family.

use core::fmt::Debug;
use core::ops::{BitAnd, BitXor};

/// An address as a number: `u32` or `u128`.
pub(super) trait Bits:
    Copy + Debug + Default + Eq + BitAnd<Output = Self> + BitXor<Output = Self>
{
    /// The mask that keeps `length` leading bits.
    fn mask(length: u8) -> Self;
    /// How many leading bits are zero.
    fn zeros(self) -> u8;
    /// The bit behind `length` leading bits: 0 or 1. 0 behind the last.
    fn bit(self, length: u8) -> usize;
}

macro_rules! bits {
    ($number:ty) => {
        impl Bits for $number {
            fn mask(length: u8) -> Self {
                <$number>::MAX.checked_shl(<$number>::BITS.saturating_sub(u32::from(length))).unwrap_or(0)
            }
            fn zeros(self) -> u8 {
                self.leading_zeros() as u8
            }
            #[inline]
            fn bit(self, length: u8) -> usize {
                let below = <$number>::BITS - 1;
                (self >> below.saturating_sub(u32::from(length)) & 1) as usize
            }
        }
    };
}
bits!(u32);
bits!(u128);

/// No node.
const NONE: u32 = u32::MAX;

/// A prefix, or a fork where two prefixes part.
#[derive(Clone, Copy, Debug)]
struct Node<K, V> {
    key: K,
    children: [u32; 2],
    value: Option<V>,
    length: u8,
}

impl<K: Bits, V> Node<K, V> {
    /// Where a search for `address` goes on.
    #[inline]
    fn child(&self, address: K) -> u32 {
        // The mask lets the compiler see that there always is one.
        let bit = address.bit(self.length) & 1;
        self.children.get(bit).copied().unwrap_or(NONE)
    }
}

/// Where a node hangs: at the root, or below another node.
#[derive(Clone, Copy)]
enum Link {
    Root,
    Child(u32, usize),
}

/// A path-compressed binary trie whose nodes lie in one vector and name one another by position: a clone is one copy.
/// Every fork has two children, so there are fewer forks than prefixes.
#[derive(Clone, Debug)]
pub(super) struct Trie<K, V> {
    nodes: Vec<Node<K, V>>,
    free: Vec<u32>,
    root: u32,
}

impl<K: Bits, V: Copy + Eq> Trie<K, V> {
    pub(super) const fn new() -> Self {
        Self { nodes: Vec::new(), free: Vec::new(), root: NONE }
    }

    /// The value of the longest prefix of `address`.
    #[inline]
    pub(super) fn lookup(&self, address: K) -> Option<V> {
        let mut found = None;
        let mut at = self.root;
        while let Some(node) = self.nodes.get(at as usize) {
            // Forks are passed unseen: whatever lies below a wrong turn does not match either.
            if node.value.is_some() {
                if (node.key ^ address).zeros() < node.length {
                    break;
                }
                found = node.value;
            }
            at = node.child(address);
        }
        found
    }

    /// The value of exactly this prefix.
    pub(super) fn get(&self, key: K, length: u8) -> Option<V> {
        let mut at = self.root;
        loop {
            let node = self.nodes.get(at as usize)?;
            if node.length >= length {
                return node.value.filter(|_| node.length == length && node.key == key);
            }
            at = node.child(key);
        }
    }

    /// Gives a prefix its value, and returns the one it had. Bits of `key` behind `length` must be zero.
    pub(super) fn insert(&mut self, key: K, length: u8, value: V) -> Option<V> {
        let mut link = Link::Root;
        loop {
            let at = self.target(link);
            let Some(node) = self.nodes.get_mut(at as usize) else {
                let leaf = self.add(key, length, Some(value), [NONE; 2]);
                self.hang(link, leaf);
                return None;
            };
            let shared = (node.key ^ key).zeros().min(node.length).min(length);
            if shared == node.length && shared == length {
                return node.value.replace(value);
            }
            if shared == node.length {
                link = Link::Child(at, key.bit(shared));
                continue;
            }
            let node_bit = node.key.bit(shared);
            let above = if shared == length {
                self.add(key, length, Some(value), pair(node_bit, at, NONE))
            } else {
                let leaf = self.add(key, length, Some(value), [NONE; 2]);
                let fork = key & K::mask(shared);
                self.add(fork, shared, None, pair(node_bit, at, leaf))
            };
            self.hang(link, above);
            return None;
        }
    }

    /// Removes a prefix if it has this value.
    pub(super) fn remove(&mut self, key: K, length: u8, value: V) -> bool {
        let mut above = None;
        let mut link = Link::Root;
        let at = loop {
            let at = self.target(link);
            let Some(node) = self.nodes.get_mut(at as usize) else {
                return false;
            };
            if (node.key ^ key).zeros() < node.length.min(length) || node.length > length {
                return false;
            }
            if node.length == length {
                if node.value != Some(value) {
                    return false;
                }
                node.value = None;
                break at;
            }
            above = Some((link, at));
            link = Link::Child(at, key.bit(node.length));
        };
        self.compress(link, at);
        if let Some((link, at)) = above {
            self.compress(link, at);
        }
        true
    }

    /// All prefixes of a value, in no order.
    pub(super) fn prefixes_of(&self, value: V) -> impl Iterator<Item = (K, u8)> {
        self.nodes.iter().filter(move |node| node.value == Some(value)).map(|node| (node.key, node.length))
    }

    /// Takes a node without a value out of the trie unless it is a fork.
    fn compress(&mut self, link: Link, at: u32) {
        let Some(node) = self.nodes.get(at as usize) else {
            return;
        };
        let heir = match (node.value, node.children) {
            (None, [NONE, other] | [other, NONE]) => other,
            (Some(_), _) | (None, _) => return,
        };
        self.hang(link, heir);
        self.free.push(at);
    }

    fn add(&mut self, key: K, length: u8, value: Option<V>, children: [u32; 2]) -> u32 {
        let node = Node { key, children, value, length };
        let free = self.free.pop();
        if let Some(at) = free
            && let Some(place) = self.nodes.get_mut(at as usize)
        {
            *place = node;
            return at;
        }
        self.nodes.push(node);
        (self.nodes.len() - 1) as u32
    }

    fn target(&self, link: Link) -> u32 {
        match link {
            Link::Root => self.root,
            Link::Child(at, bit) => {
                self.nodes.get(at as usize).and_then(|node| node.children.get(bit)).copied().unwrap_or(NONE)
            }
        }
    }

    fn hang(&mut self, link: Link, target: u32) {
        let place = match link {
            Link::Root => Some(&mut self.root),
            Link::Child(at, bit) => {
                self.nodes.get_mut(at as usize).and_then(|node| node.children.get_mut(bit))
            }
        };
        if let Some(place) = place {
            *place = target;
        }
    }
}

/// Children: `one` on the side `bit`, `other` opposite.
fn pair(bit: usize, one: u32, other: u32) -> [u32; 2] {
    if bit == 0 { [one, other] } else { [other, one] }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Peers come and go for years: their nodes must not stay.
    #[test]
    fn what_is_removed_leaves_no_nodes_behind() {
        let mut trie = Trie::<u32, u32>::new();
        let keys: Vec<_> = (0..1000_u32).map(|number| number.wrapping_mul(0x9e37_79b9)).collect();
        for _ in 0..3 {
            for key in &keys {
                trie.insert(*key, 32, 1);
            }
            assert!(trie.nodes.len() < 2 * keys.len(), "fewer forks than prefixes");
            for key in &keys {
                assert!(trie.remove(*key, 32, 1));
            }
            assert_eq!(trie.root, NONE);
            assert_eq!(trie.free.len(), trie.nodes.len());
        }
    }
}
