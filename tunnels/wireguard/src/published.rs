//! A value that many threads read often and any of them replaces seldom.

use crate::sync::{AtomicU64, Mutex, Ordering, lock};

/// Holds the value. Readers keep a [`View`] and pay one atomic load while nothing changed.
#[derive(Debug)]
pub struct Published<T> {
    generation: AtomicU64,
    value: Mutex<T>,
}

/// A reader's own copy.
#[derive(Clone, Debug)]
pub struct View<T> {
    generation: u64,
    value: T,
}

impl<T: Clone + PartialEq> Published<T> {
    /// Publishes a first value.
    pub fn new(value: T) -> Self {
        Self { generation: AtomicU64::new(0), value: Mutex::new(value) }
    }

    /// Replaces the value.
    pub fn set(&self, value: T) {
        self.update(|_| value);
    }

    /// Replaces the value by what `change` makes of it; nobody else replaces it meanwhile. The generation grows under
    /// the lock, so a view never pairs an old value with a new generation.
    pub fn update(&self, change: impl FnOnce(T) -> T) {
        let mut held = lock(&self.value);
        let value = change(held.clone());
        if *held != value {
            *held = value;
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// The value of this moment.
    pub fn get(&self) -> T {
        lock(&self.value).clone()
    }

    /// A view for a reader to keep.
    pub fn view(&self) -> View<T> {
        let held = lock(&self.value);
        View { generation: self.generation.load(Ordering::Relaxed), value: held.clone() }
    }
}

impl<T: Clone + PartialEq> View<T> {
    /// The value, fetched again only if it was replaced since. Until then the view keeps the value before it alive.
    pub fn read(&mut self, from: &Published<T>) -> T {
        if from.generation.load(Ordering::Acquire) != self.generation {
            *self = from.view();
        }
        self.value.clone()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_shared_value_is_let_go_of_when_the_last_view_reads_its_successor() {
        let (first, second) = (Arc::new(1), Arc::new(2));
        let published = Published::new(Arc::clone(&first));
        let mut views = [published.view(), published.view()];
        published.set(Arc::clone(&second));
        for view in &mut views {
            assert!(Arc::strong_count(&first) > 1);
            assert!(Arc::ptr_eq(&view.read(&published), &second));
        }
        assert_eq!(Arc::strong_count(&first), 1);
        assert_eq!(Arc::strong_count(&second), 4, "ours, the published, and one for each view");
    }

    #[test]
    fn an_equal_value_is_not_published_again() {
        let (first, equal) = (Arc::new(1), Arc::new(1));
        let published = Published::new(Arc::clone(&first));
        published.set(equal);
        assert!(Arc::ptr_eq(&published.get(), &first));
        assert!(Arc::ptr_eq(&published.view().read(&published), &first));
    }
}
