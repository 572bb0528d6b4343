//! The clocks, read here and nowhere else.

use std::time::{Duration, SystemTime};

use adit_noise::{Now, Time};
use rustix::time::{ClockId, clock_gettime};

/// The monotonic time, which counts suspend too: after it, sessions are as old as they are for the peer.
#[must_use]
pub fn now() -> Time {
    let time = clock_gettime(ClockId::Boottime);
    Time::from_nanos(time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs())
}

/// Both times.
#[must_use]
pub fn both() -> Now {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Now { mono: now(), wall }
}
