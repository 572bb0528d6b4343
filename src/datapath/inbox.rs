//! From the workers to the control thread: handshakes, packets without a session, and wishes. Every part is bounded.
//!
//! A worker may no more overtake its own packets that wait here than those that wait with the control thread. So a session
//! to send with is published while the inbox is [closed](Closed): the control thread sends what is still in it, posts the
//! session to all workers, and counts an edition. A worker that has a packet for the inbox names the edition that it knows;
//! if there is a newer one its packet is not taken, for it may have a session by now. Whoever seals, with a session that it
//! knows, is not concerned.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use adit_wireguard::PeerId;

use super::framing::Path;
use super::sync::{Condvar, Mutex, MutexGuard, lock};
use super::wireguard::Note;

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
    pub from: Path,
    /// Its bytes.
    pub message: Vec<u8>,
}

/// The queues. `N` is what workers have to say that is no handshake, `C` what else the control thread is asked to do.
#[derive(Debug)]
pub struct Inbox<N, C> {
    queues: Mutex<Queues<N, C>>,
    filled: Condvar,
    /// Commands were taken out of a full queue.
    emptied: Condvar,
}

#[derive(Debug)]
struct Queues<N, C> {
    handshakes: VecDeque<Handshake>,
    notes: VecDeque<N>,
    gone: bool,
    /// Bytes of packets among the notes.
    unsent: usize,
    edition: u64,
    commands: VecDeque<C>,
}

/// The inbox while nobody else can leave anything in it.
#[derive(Debug)]
pub struct Closed<'a, N, C>(MutexGuard<'a, Queues<N, C>>);

impl<C> Closed<'_, Note, C> {
    /// Takes the packets without a session, in order of arrival.
    pub fn take_unsent(&mut self) -> Vec<(PeerId, Vec<u8>)> {
        let mut taken = Vec::new();
        for note in std::mem::take(&mut self.0.notes) {
            match note {
                Note::Unsent(peer, packet) => taken.push((peer, packet)),
                Note::Want(_) | Note::Confirmed(_) => self.0.notes.push_back(note),
            }
        }
        self.0.unsent = 0;
        taken
    }

    /// Counts one more edition of the sessions to send with. What is new in it is posted before the inbox opens.
    pub fn next_edition(&mut self) -> u64 {
        self.0.edition += 1;
        self.0.edition
    }
}

/// What one look at the inbox brought.
#[derive(Debug)]
pub struct Taken<N, C> {
    /// What workers have to say, in order of arrival.
    pub notes: VecDeque<N>,
    /// A worker ended: the device is gone.
    pub gone: bool,
    /// Requests, in order of arrival.
    pub commands: VecDeque<C>,
    /// The oldest handshakes.
    pub handshakes: Vec<Handshake>,
    /// How many handshakes waited when these were taken.
    pub depth: usize,
}

impl<N, C> Default for Inbox<N, C> {
    fn default() -> Self {
        let queues = Queues {
            handshakes: VecDeque::new(),
            notes: VecDeque::new(),
            gone: false,
            unsent: 0,
            edition: 0,
            commands: VecDeque::new(),
        };
        Self { queues: Mutex::new(queues), filled: Condvar::new(), emptied: Condvar::new() }
    }
}

impl<N, C> Inbox<N, C> {
    fn lock(&self) -> MutexGuard<'_, Queues<N, C>> {
        lock(&self.queues)
    }

    /// Closes the inbox until what is returned is dropped.
    pub fn close(&self) -> Closed<'_, N, C> {
        Closed(self.lock())
    }

    /// Leaves a handshake message; false if too many wait.
    #[must_use]
    pub fn handshake(&self, from: Path, message: &[u8]) -> bool {
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

    /// Leaves a note.
    pub fn note(&self, note: N) {
        self.lock().notes.push_back(note);
        self.filled.notify_one();
    }

    /// A worker ends: the device is gone.
    pub fn gone(&self) {
        self.lock().gone = true;
        self.filled.notify_one();
    }

    /// Asks the control thread for something. Waits for room where too much is asked for, so that whoever follows the
    /// network reads no faster than is acted upon, and the kernel's queue, which is bounded, holds the rest. Only for a
    /// second: a control thread that hangs is not to take others with it.
    pub fn command(&self, command: C) {
        let mut queues = self.lock();
        if queues.commands.len() >= COMMANDS {
            let end = Instant::now() + PATIENCE;
            loop {
                let left = end.saturating_duration_since(Instant::now());
                if queues.commands.len() < COMMANDS || left.is_zero() {
                    break;
                }
                queues = self.emptied.wait_timeout(queues, left).unwrap_or_else(PoisonError::into_inner).0;
            }
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
    pub fn take(&self, handshakes: usize, patience: Option<Duration>) -> Taken<N, C> {
        let mut queues = self.lock();
        let empty = |queues: &Queues<N, C>| {
            !queues.gone
                && queues.notes.is_empty()
                && queues.commands.is_empty()
                && queues.handshakes.is_empty()
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
            gone: queues.gone,
            commands: std::mem::take(&mut queues.commands),
            handshakes: queues.handshakes.drain(..first).collect(),
            depth,
        }
    }
}

impl<C> Inbox<Note, C> {
    /// Leaves packets for a peer without a session; how many, from the first on, before too many wait. `None` if the sessions
    /// to send with are of a newer edition than the worker's: it reads its mailbox first.
    #[must_use]
    pub fn unsent<'p>(
        &self,
        peer: PeerId,
        packets: impl Iterator<Item = &'p [u8]>,
        edition: u64,
    ) -> Option<usize> {
        let mut queues = self.lock();
        if queues.edition > edition {
            return None;
        }
        let mut left = 0;
        for packet in packets {
            if queues.unsent + packet.len() > UNSENT {
                break;
            }
            queues.unsent += packet.len();
            queues.notes.push_back(Note::Unsent(peer, packet.to_vec()));
            left += 1;
        }
        self.filled.notify_one();
        Some(left)
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::{Inbox, Note, PeerId};
    use crate::datapath::Mailbox;
    use crate::datapath::sync::{Mutex, lock};

    const PACKETS: u8 = 3;

    /// The network is a list.
    #[test]
    fn packets_leave_in_order_although_a_session_comes_between() {
        loom::model(|| {
            let peer = PeerId::new(1);
            let inbox = Arc::new(Inbox::<Note, ()>::default());
            let (mailbox, wire) = (Arc::new(Mailbox::default()), Arc::new(Mutex::new(Vec::new())));
            let control = {
                let (inbox, mailbox, wire) = (inbox.clone(), mailbox.clone(), wire.clone());
                thread::spawn(move || {
                    let send = |packet: Vec<u8>| lock(&wire).push(packet[0]);
                    let mut closed = inbox.close();
                    closed.take_unsent().into_iter().for_each(|(_, packet)| send(packet));
                    mailbox.post(closed.next_edition());
                })
            };
            let mut edition = 0;
            for number in 0..PACKETS {
                loop {
                    mailbox.collect(|newer| edition = newer);
                    if edition > 0 {
                        lock(&wire).push(number);
                        break;
                    }
                    if inbox.unsent(peer, [[number].as_slice()].into_iter(), edition).is_some() {
                        break;
                    }
                }
            }
            control.join().unwrap();
            let left = inbox.close().take_unsent();
            let wire = lock(&wire).clone();
            assert!(wire.is_sorted(), "{wire:?}");
            assert!(left.is_empty(), "{left:?} were overtaken by what is in {wire:?}");
            assert_eq!(wire.len(), usize::from(PACKETS));
        });
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use adit_wireguard::Udp;

    use super::*;

    fn from() -> Path {
        Path::Udp(Udp { remote: "192.0.2.1:1".parse().unwrap(), local: None })
    }

    #[test]
    fn a_flood_of_handshakes_is_bounded_and_does_not_hold_up_notes() {
        let inbox = Inbox::<Note, ()>::default();
        let accepted = (0..HANDSHAKES + 100).filter(|_| inbox.handshake(from(), &[0; 148])).count();
        assert_eq!((accepted, inbox.depth()), (HANDSHAKES, HANDSHAKES));
        inbox.note(Note::Confirmed(3));
        let taken = inbox.take(16, None);
        assert_eq!((taken.notes.len(), taken.handshakes.len(), taken.depth), (1, 16, HANDSHAKES));
        assert!(inbox.handshake(from(), &[0; 148]));
    }

    #[test]
    fn the_inbox_takes_no_packet_of_a_worker_that_does_not_know_the_newest_edition() {
        let (inbox, peer, packet) = (Inbox::<Note, ()>::default(), PeerId::new(1), [7; 20]);
        let leave = |edition| inbox.unsent(peer, [packet.as_slice(); 2].into_iter(), edition);
        assert_eq!(leave(0), Some(2));
        inbox.note(Note::Confirmed(3));
        assert_eq!(leave(0), Some(2));
        let mut closed = inbox.close();
        assert_eq!(closed.take_unsent(), vec![(peer, packet.to_vec()); 4]);
        let edition = closed.next_edition();
        drop(closed);
        assert_eq!((leave(0), leave(edition)), (None, Some(2)));
        let mut expected = vec![Note::Confirmed(3)];
        expected.extend(vec![Note::Unsent(peer, packet.to_vec()); 2]);
        assert_eq!(inbox.take(0, None).notes, expected);
    }

    #[test]
    fn whoever_asks_too_much_waits_until_it_was_looked_at() {
        let inbox = Inbox::<Note, _>::default();
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
        let inbox = Inbox::<Note, _>::default();
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
        let inbox = Inbox::<Note, _>::default();
        (0..=COMMANDS).for_each(|command| inbox.command(command));
        assert_eq!(inbox.take(0, None).commands.len(), COMMANDS + 1);
    }

    #[test]
    fn waiting_ends_after_its_time() {
        let taken = Inbox::<Note, ()>::default().take(16, Some(Duration::from_millis(1)));
        assert!(taken.notes.is_empty() && taken.handshakes.is_empty());
    }
}
