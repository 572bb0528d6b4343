//! From the control thread to a worker: changes to the worker's table, in order.
//!
//! A worker's table is its own, so that it is read without a lock. Whoever changes it posts here; the worker collects
//! after it has received and before it looks anything up, so that a session which was posted before a handshake was
//! answered is there before the first packet under it.
//!
//! Letters are not counted: a change that got lost would leave a table wrong for good. What waits is bounded all the same. A
//! worker never blocks but for this mailbox's bell, and reads all letters before each batch, so none waits longer than a
//! batch takes; and the control thread rings at the end of each turn, in which it writes a few letters for each of at most
//! 16 handshakes and for each peer of a request, whose length is bounded.

use super::sync::{AtomicBool, Mutex, Ordering, lock};

/// An ordered, lossless queue with one reader, which costs that reader one atomic load while it is empty.
#[derive(Debug)]
pub struct Mailbox<T> {
    waiting: AtomicBool,
    letters: Mutex<Vec<T>>,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self { waiting: AtomicBool::new(false), letters: Mutex::new(Vec::new()) }
    }
}

impl<T> Mailbox<T> {
    /// Leaves a letter.
    pub fn post(&self, letter: T) {
        let mut letters = lock(&self.letters);
        letters.push(letter);
        self.waiting.store(true, Ordering::Release);
    }

    /// Hands over all letters, oldest first.
    pub fn collect(&self, open: impl FnMut(T)) {
        if !self.waiting.load(Ordering::Acquire) {
            return;
        }
        let letters = {
            let mut letters = lock(&self.letters);
            self.waiting.store(false, Ordering::Relaxed);
            std::mem::take(&mut *letters)
        };
        letters.into_iter().for_each(open);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicU32, Ordering};
    use loom::thread;

    use super::Mailbox;

    /// The network between a handshake's answer and the first packet under its session is an atomic here.
    #[test]
    fn a_session_is_known_before_the_packet_that_it_brings_about() {
        loom::model(|| {
            let mailbox = Arc::new(Mailbox::default());
            let wire = Arc::new(AtomicU32::new(0));
            let control = {
                let (mailbox, wire) = (mailbox.clone(), wire.clone());
                thread::spawn(move || {
                    mailbox.post(7);
                    wire.store(7, Ordering::Release);
                })
            };
            let received = wire.load(Ordering::Acquire);
            let mut table = Vec::new();
            mailbox.collect(|session| table.push(session));
            if received != 0 {
                assert!(table.contains(&received));
            }
            control.join().unwrap();
        });
    }

    #[test]
    fn letters_arrive_once_and_in_order() {
        loom::model(|| {
            let mailbox = Arc::new(Mailbox::default());
            let control = {
                let mailbox = mailbox.clone();
                thread::spawn(move || (1..=3).for_each(|letter| mailbox.post(letter)))
            };
            let mut got = Vec::new();
            mailbox.collect(|letter| got.push(letter));
            control.join().unwrap();
            mailbox.collect(|letter| got.push(letter));
            assert_eq!(got, [1, 2, 3]);
        });
    }
}
