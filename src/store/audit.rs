//! The audit trail of clients. It is in the same transaction as what it tells of.

use super::Wall;

/// How many entries are kept; the oldest go first.
pub(super) const MOST: u64 = 1 << 18;

/// What was done. The numbers stand in files: they are never used again for something else.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A token was given out.
    Invited,
    /// An identity has its first lease, or a lease after it had none.
    Enrolled,
    /// A lease was renewed.
    Renewed,
    /// A lease ran out.
    Expired,
    /// A lease was ended.
    Ended,
    /// An identity was removed.
    Removed,
    /// Somebody who may was refused all the same.
    Refused,
}

const EVENTS: [(u8, Event); 7] = [
    (1, Event::Invited),
    (2, Event::Enrolled),
    (3, Event::Renewed),
    (4, Event::Expired),
    (5, Event::Ended),
    (6, Event::Removed),
    (7, Event::Refused),
];

impl Event {
    pub(super) fn number(self) -> u8 {
        EVENTS.iter().find(|(_, event)| *event == self).map_or(0, |(number, _)| *number)
    }

    pub(super) fn from_number(number: u8) -> Option<Self> {
        EVENTS.iter().find(|(known, _)| *known == number).map(|(_, event)| *event)
    }
}

/// One entry.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Entry {
    /// Its number; none is used twice.
    pub number: u64,
    /// When.
    pub at: Wall,
    /// What.
    pub event: Event,
    /// Whom it is about.
    pub identity: String,
    /// More about it, in words. There are no secrets in it.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_a_number_of_its_own() {
        for (number, event) in EVENTS {
            assert_eq!((event.number(), Event::from_number(number)), (number, Some(event)));
        }
        assert_eq!(Event::from_number(0), None);
    }
}
