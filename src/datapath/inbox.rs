//! From the workers to the control thread: handshakes, packets without a session, and wishes. Every part is bounded.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use adit_wireguard::{Endpoint, PeerId};

/// Handshake messages that wait at most, as in the kernel.
const HANDSHAKES: usize = 4_096;
/// A queue of this many is a load under which cookies are asked for, as in the kernel.
pub const UNDER_LOAD: usize = HANDSHAKES / 8;
/// Bytes of packets without a session that wait at most.
const UNSENT: usize = 1 << 20;
/// Commands that wait at most, before whoever has another one waits too.
const COMMANDS: usize = 1_024;
/// How long that is at most: longer than a control thread in good health takes for them.
const PATIENCE: Duration = Duration::from_secs(1);

/// A handshake message as it came.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// Who sent it.
    pub from: Endpoint,
    /// Its bytes.
    pub message: Vec<u8>,
}

/// What a worker has to say that is no handshake. Few: each is said once until it is answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Note {
    /// A packet had to go to a peer without a session.
    Unsent(PeerId, Vec<u8>),
    /// A peer's session should be renewed.
    Want(PeerId),
    /// The first authentic packet came under a session, named by its index.
    Confirmed(u32),
    /// A worker ended: the device is gone.
    Gone,
}

/// The queues. `C` is what else the control thread is asked to do.
#[derive(Debug)]
pub struct Inbox<C> {
    queues: Mutex<Queues<C>>,
    filled: Condvar,
    /// Commands were taken out of a full queue.
    emptied: Condvar,
}

#[derive(Debug)]
struct Queues<C> {
    handshakes: VecDeque<Handshake>,
    notes: VecDeque<Note>,
    unsent: usize,
    commands: VecDeque<C>,
}

/// What one look at the inbox brought.
#[derive(Debug)]
pub struct Taken<C> {
    /// Everything but handshakes, in order of arrival.
    pub notes: VecDeque<Note>,
    /// Requests, in order of arrival.
    pub commands: VecDeque<C>,
    /// The oldest handshakes.
    pub handshakes: Vec<Handshake>,
    /// How many handshakes waited when these were taken.
    pub depth: usize,
}

impl<C> Default for Inbox<C> {
    fn default() -> Self {
        let queues = Queues {
            handshakes: VecDeque::new(),
            notes: VecDeque::new(),
            unsent: 0,
            commands: VecDeque::new(),
        };
        Self { queues: Mutex::new(queues), filled: Condvar::new(), emptied: Condvar::new() }
    }
}

impl<C> Inbox<C> {
    fn lock(&self) -> MutexGuard<'_, Queues<C>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a handshake message; false if too many wait.
    #[must_use]
    pub fn handshake(&self, from: Endpoint, message: &[u8]) -> bool {
        let mut queues = self.lock();
        if queues.handshakes.len() >= HANDSHAKES {
            return false;
        }
        queues.handshakes.push_back(Handshake { from, message: message.to_vec() });
        // Whoever takes the first takes those behind it as well. To wake for each costs more than to look at it.
        if queues.handshakes.len() == 1 {
            drop(queues);
            self.filled.notify_one();
        }
        true
    }

    /// Leaves a packet for a peer without a session; false if too many wait.
    #[must_use]
    pub fn unsent(&self, peer: PeerId, packet: &[u8]) -> bool {
        let mut queues = self.lock();
        if queues.unsent + packet.len() > UNSENT {
            return false;
        }
        queues.unsent += packet.len();
        queues.notes.push_back(Note::Unsent(peer, packet.to_vec()));
        self.filled.notify_one();
        true
    }

    /// Leaves a note.
    pub fn note(&self, note: Note) {
        self.lock().notes.push_back(note);
        self.filled.notify_one();
    }

    /// Asks the control thread for something. Waits for room where too much is asked for, so that whoever follows the
    /// network reads no faster than is acted upon, and the kernel's queue, which is bounded, holds the rest. Only for a
    /// second: a control thread that hangs is not to take others with it.
    pub fn command(&self, command: C) {
        let mut queues = self.lock();
        if queues.commands.len() >= COMMANDS {
            let full = |queues: &mut Queues<C>| queues.commands.len() >= COMMANDS;
            let waited = self.emptied.wait_timeout_while(queues, PATIENCE, full);
            queues = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        queues.commands.push_back(command);
        self.filled.notify_one();
    }

    /// Handshakes that wait now.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.lock().handshakes.len()
    }

    /// Takes all notes and commands and up to `handshakes` handshakes; waits for the first for at most `patience`.
    pub fn take(&self, handshakes: usize, patience: Option<Duration>) -> Taken<C> {
        let mut queues = self.lock();
        let empty = |queues: &Queues<C>| {
            queues.notes.is_empty() && queues.commands.is_empty() && queues.handshakes.is_empty()
        };
        if empty(&queues) {
            queues = match patience {
                Some(patience) => {
                    let waited = self.filled.wait_timeout(queues, patience);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.filled.wait(queues).unwrap_or_else(PoisonError::into_inner),
            };
        }
        queues.unsent = 0;
        if queues.commands.len() >= COMMANDS {
            self.emptied.notify_all();
        }
        let depth = queues.handshakes.len();
        let first = depth.min(handshakes);
        Taken {
            notes: std::mem::take(&mut queues.notes),
            commands: std::mem::take(&mut queues.commands),
            handshakes: queues.handshakes.drain(..first).collect(),
            depth,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from() -> Endpoint {
        Endpoint::udp("192.0.2.1:1".parse().unwrap())
    }

    #[test]
    fn a_flood_of_handshakes_is_bounded_and_does_not_hold_up_notes() {
        let inbox = Inbox::<()>::default();
        let accepted = (0..HANDSHAKES + 100).filter(|_| inbox.handshake(from(), &[0; 148])).count();
        assert_eq!((accepted, inbox.depth()), (HANDSHAKES, HANDSHAKES));
        inbox.note(Note::Confirmed(3));
        let taken = inbox.take(16, None);
        assert_eq!((taken.notes.len(), taken.handshakes.len(), taken.depth), (1, 16, HANDSHAKES));
        assert!(inbox.handshake(from(), &[0; 148]));
    }

    #[test]
    fn whoever_asks_too_much_waits_until_it_was_looked_at() {
        let inbox = Inbox::default();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..5 * COMMANDS).for_each(|command| inbox.command(command)));
            let mut next = 0;
            while next < 5 * COMMANDS {
                let commands = inbox.take(0, None).commands;
                assert!(commands.len() <= COMMANDS, "{}", commands.len());
                assert!(commands.iter().copied().eq(next..next + commands.len()));
                next += commands.len();
            }
        });
    }

    #[test]
    fn waiting_to_ask_ends_when_there_is_room() {
        let inbox = Inbox::default();
        (0..COMMANDS).for_each(|command| inbox.command(command));
        let waited = std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let start = std::time::Instant::now();
                inbox.command(COMMANDS);
                start.elapsed()
            });
            std::thread::sleep(PATIENCE / 10);
            assert_eq!(inbox.take(0, None).commands.len(), COMMANDS);
            asking.join().unwrap()
        });
        assert!(waited < PATIENCE, "{waited:?}");
    }

    #[test]
    fn a_control_thread_that_hangs_takes_nobody_with_it() {
        let inbox = Inbox::default();
        (0..=COMMANDS).for_each(|command| inbox.command(command));
        assert_eq!(inbox.take(0, None).commands.len(), COMMANDS + 1);
    }

    #[test]
    fn waiting_ends_after_its_time() {
        let taken = Inbox::<()>::default().take(16, Some(Duration::from_millis(1)));
        assert!(taken.notes.is_empty() && taken.handshakes.is_empty());
    }
}
