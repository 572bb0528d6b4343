//! The three sessions that a peer can have (WireGuard paper, section 6.3).
//!
//! ```text
//!             we began it                        the peer began it
//!                  |                                    |
//!                  v            first packet            v
//!   previous <- current <------------------------------ next
//! ```
//!
//! We send with `current` and open with all three. A session that the peer began waits in `next` until its first packet
//! comes: before, we cannot know that our response arrived. `previous` opens what was under way when the keys changed.
//! The transitions are those of the kernel's `add_new_keypair` and `wg_noise_received_with_keypair`.

use std::sync::Arc;

use adit_noise::Time;

use crate::Session;

/// Sessions that no packet is accepted for any more.
pub(crate) type Retired = [Option<Arc<Session>>; 2];

#[derive(Debug, Default)]
pub(crate) struct Keypairs {
    previous: Option<Arc<Session>>,
    current: Option<Arc<Session>>,
    next: Option<Arc<Session>>,
}

impl Keypairs {
    /// The session to send with.
    pub(crate) fn current(&self) -> Option<&Arc<Session>> {
        self.current.as_ref()
    }

    /// True if one can still be used.
    pub(crate) fn any_fresh(&self, now: Time) -> bool {
        self.iter().any(|session| session.is_fresh(now))
    }

    /// Takes in a session that we began: its response has come, so it is sent with at once.
    pub(crate) fn add_initiated(&mut self, session: Arc<Session>) -> Retired {
        let current = self.current.replace(session);
        match self.next.take() {
            Some(next) => [self.previous.replace(next), current],
            None => [std::mem::replace(&mut self.previous, current), None],
        }
    }

    /// Takes in a session that the peer began. What it displaces from `next` was never confirmed.
    pub(crate) fn add_responded(&mut self, session: Arc<Session>) -> Retired {
        [self.next.replace(session), self.previous.take()]
    }

    /// A packet came in on the session `local`. If that was `next`, it becomes `current`; `None` if it was not.
    pub(crate) fn confirm(&mut self, local: u32) -> Option<Retired> {
        let next = self.next.take_if(|next| next.local_index() == local)?;
        let current = self.current.replace(next);
        Some([std::mem::replace(&mut self.previous, current), None])
    }

    /// Takes all away.
    pub(crate) fn clear(&mut self) -> impl Iterator<Item = Arc<Session>> {
        let Self { previous, current, next } = std::mem::take(self);
        [previous, current, next].into_iter().flatten()
    }

    fn iter(&self) -> impl Iterator<Item = &Arc<Session>> {
        [&self.previous, &self.current, &self.next].into_iter().flatten()
    }
}

// Under loom, sessions exist in models only.
#[cfg(all(test, not(loom)))]
mod tests {
    use adit_aead::{Algorithm, Secret};

    use super::*;
    use crate::{Keys, PeerId, Traffic};

    fn session(local: u32, initiator: bool) -> Arc<Session> {
        let keys = Keys {
            send: Secret::from([1; 32]),
            receive: Secret::from([2; 32]),
            algorithm: Algorithm::ChaCha20Poly1305,
        };
        let traffic = Arc::new(Traffic::new(PeerId::new(1), None));
        let born = Time::from_secs(1);
        Arc::new(Session::new(traffic, &keys, local, 0, initiator, born))
    }

    fn indexes(keypairs: &Keypairs) -> [u32; 3] {
        [&keypairs.previous, &keypairs.current, &keypairs.next]
            .map(|slot| slot.as_ref().map_or(0, |session| session.local_index()))
    }

    fn retired(retired: Retired) -> Vec<u32> {
        let retired = retired.iter().flatten();
        retired.map(|session| session.local_index()).collect()
    }

    /// Each step of the kernel's table, from every filling of the slots that leads somewhere else.
    #[test]
    fn slots_move_as_in_the_kernel() {
        let mut keypairs = Keypairs::default();
        assert_eq!(retired(keypairs.add_initiated(session(1, true))), []);
        assert_eq!(indexes(&keypairs), [0, 1, 0]);
        assert_eq!(retired(keypairs.add_initiated(session(2, true))), []);
        assert_eq!(indexes(&keypairs), [1, 2, 0]);
        assert_eq!(retired(keypairs.add_initiated(session(3, true))), [1]);
        assert_eq!(indexes(&keypairs), [2, 3, 0]);
        assert_eq!(retired(keypairs.add_responded(session(4, false))), [2]);
        assert_eq!(indexes(&keypairs), [0, 3, 4]);
        assert_eq!(retired(keypairs.add_responded(session(5, false))), [4]);
        assert_eq!(indexes(&keypairs), [0, 3, 5]);
        assert!(keypairs.confirm(3).is_none(), "current is not next");
        assert!(keypairs.confirm(4).is_none(), "4 is gone");
        assert_eq!(keypairs.confirm(5).map(retired), Some(vec![]));
        assert_eq!(indexes(&keypairs), [3, 5, 0]);
        assert!(keypairs.confirm(5).is_none(), "confirmed once");
        assert_eq!(retired(keypairs.add_responded(session(6, false))), [3]);
        assert_eq!(indexes(&keypairs), [0, 5, 6]);
        assert_eq!(retired(keypairs.add_initiated(session(7, true))), [5]);
        assert_eq!(indexes(&keypairs), [6, 7, 0], "next is demoted, not lost");
        assert_eq!(keypairs.clear().count(), 2);
        assert_eq!(indexes(&keypairs), [0, 0, 0]);
    }
}
