//! Capabilities: pieces of root's power (capabilities(7)).

use rustix::thread::{self, CapabilitySet};

/// A capability that the daemon can have use for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Capability {
    /// `CAP_NET_ADMIN`: devices, addresses, routes, rules, marks.
    NetAdmin,
    /// `CAP_NET_BIND_SERVICE`: ports below 1024.
    NetBindService,
    /// `CAP_NET_RAW`: packet sockets, for the frames of encrypted links.
    NetRaw,
}

impl Capability {
    /// Its bit.
    pub(super) fn bit(self) -> CapabilitySet {
        match self {
            Self::NetAdmin => CapabilitySet::NET_ADMIN,
            Self::NetBindService => CapabilitySet::NET_BIND_SERVICE,
            Self::NetRaw => CapabilitySet::NET_RAW,
        }
    }
}

/// The effective capabilities of this thread, as capabilities(7) names them; one that is newer than this program by its
/// number. None if the system does not tell.
#[must_use]
pub fn effective() -> Vec<String> {
    thread::capabilities(None).map(|sets| names(sets.effective)).unwrap_or_default()
}

fn names(set: CapabilitySet) -> Vec<String> {
    let mut named = set.iter_names();
    let mut names: Vec<_> = named.by_ref().map(|(name, _)| format!("CAP_{name}")).collect();
    let unnamed = named.remaining().bits();
    names.extend((0..u64::BITS).filter(|bit| unnamed >> bit & 1 == 1).map(|bit| format!("CAP_{bit}")));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_named_as_in_their_manual() {
        let set = CapabilitySet::NET_ADMIN | CapabilitySet::CHOWN | CapabilitySet::from_bits_retain(1 << 63);
        assert_eq!(names(set), ["CAP_CHOWN", "CAP_NET_ADMIN", "CAP_63"]);
        assert_eq!(names(CapabilitySet::empty()), [""; 0]);
    }

    #[test]
    fn all_that_the_kernel_says_are_named() {
        let count = thread::capabilities(None).unwrap().effective.bits().count_ones();
        assert_eq!(effective().len(), count as usize);
    }
}
