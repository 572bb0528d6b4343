//! Buffers of one thread, taken only while there is something in them: an idle connection has none.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::record::{CONTENT, LONGEST};

/// Records that go through a large buffer at once. One system call for so many is what makes bulk cheap: 4 are half as fast.
pub(super) const RECORDS: usize = 16;
/// Room of a record beside its content, in any version.
const AROUND: usize = 30;
/// Of a small buffer: one record, whoever made it.
pub(super) const SMALL: usize = LONGEST;
/// Of a large one.
const LARGE: usize = RECORDS * (CONTENT + AROUND);
/// Free buffers that are kept, of either kind.
const SPARE: (usize, usize) = (64, 8);

/// Where buffers come from.
#[derive(Debug)]
pub(super) struct Pool {
    small: RefCell<Vec<Box<[u8]>>>,
    large: RefCell<Vec<Box<[u8]>>>,
    /// Large ones that may yet be lent.
    budget: Cell<usize>,
}

impl Pool {
    /// At most `large` large buffers at a time. Who gets none has a small one: slower, but never stopped.
    pub(super) fn new(large: usize) -> Rc<Self> {
        Rc::new(Self { small: RefCell::default(), large: RefCell::default(), budget: Cell::new(large) })
    }

    /// A buffer, large if that is asked for and can be had. What stands in it is left from others: only what was written since
    /// may be read.
    pub(super) fn take(self: &Rc<Self>, large: bool) -> Buffer {
        let large = large && self.budget.get() > 0;
        let bytes = if large {
            self.budget.set(self.budget.get() - 1);
            self.large.borrow_mut().pop().unwrap_or_else(|| vec![0; LARGE].into_boxed_slice())
        } else {
            self.small.borrow_mut().pop().unwrap_or_else(|| vec![0; SMALL].into_boxed_slice())
        };
        Buffer { bytes, start: 0, end: 0, pool: self.clone() }
    }
}

/// A buffer, and what of it is still to be sent.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    pool: Rc<Pool>,
}

impl Buffer {
    /// All of its room.
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Says what of it is to be sent.
    pub(super) fn set(&mut self, start: usize, end: usize) {
        self.end = end.min(self.bytes.len());
        self.start = start.min(self.end);
    }

    /// What is to be sent.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// So much of it went.
    pub(super) fn sent(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let (shelf, spare) = if bytes.len() == LARGE {
            self.pool.budget.set(self.pool.budget.get() + 1);
            (&self.pool.large, SPARE.1)
        } else {
            (&self.pool.small, SPARE.0)
        };
        let mut shelf = shelf.borrow_mut();
        if shelf.len() < spare {
            shelf.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_to_be_lent_again() {
        let pool = Pool::new(1);
        let mut first = pool.take(false);
        let place = first.room().as_ptr();
        drop(first);
        assert_eq!(pool.take(false).room().as_ptr(), place);
    }

    #[test]
    fn beyond_the_budget_a_buffer_is_small_and_not_refused() {
        let pool = Pool::new(1);
        let mut large = pool.take(true);
        assert_eq!(large.room().len(), LARGE);
        assert_eq!(pool.take(true).room().len(), SMALL);
        drop(large);
        assert_eq!(pool.take(true).room().len(), LARGE);
    }

    #[test]
    fn what_was_sent_is_not_sent_again() {
        let pool = Pool::new(0);
        let mut buffer = pool.take(false);
        buffer.room()[..5].copy_from_slice(b"hello");
        buffer.set(1, 5);
        buffer.sent(2);
        assert_eq!(buffer.rest(), b"lo");
        buffer.sent(9);
        assert!(buffer.rest().is_empty());
    }
}
