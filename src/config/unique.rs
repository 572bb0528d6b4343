//! What may be there once only.

use std::collections::HashMap;
use std::hash::Hash;

use super::table::Value;

/// Values that have to differ from one another.
#[derive(Debug)]
pub(super) struct Unique<'a, K> {
    seen: Vec<(K, Value<'a>)>,
}

impl<K> Default for Unique<'_, K> {
    fn default() -> Self {
        Self { seen: Vec::new() }
    }
}

impl<'a, K: Eq + Hash> Unique<'a, K> {
    /// Adds what `value` stands for.
    pub(super) fn add(&mut self, key: K, value: &Value<'a>) {
        self.seen.push((key, value.clone()));
    }

    /// The first value that stands for `key`, of those that were added.
    pub(super) fn first(&self, key: &K) -> Option<&Value<'a>> {
        self.seen.iter().find(|(seen, _)| seen == key).map(|(_, value)| value)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Tells of each value that is there already, with the key and the line of the first. `what` shows it.
    pub(super) fn end(mut self, what: impl Fn(&K, &Value<'a>) -> String, allowed: &str) {
        self.seen.sort_by_key(|(_, value)| value.at());
        let mut first = HashMap::new();
        for (key, value) in &self.seen {
            let before = *first.entry(key).or_insert(value);
            if before.at() != value.at() {
                let found = format!("{}, after {} (line {})", what(key, value), before.path(), before.line());
                value.refused(found, allowed);
            }
        }
    }
}
