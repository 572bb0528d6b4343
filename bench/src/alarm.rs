//! A timer of the system's, to the microsecond: that of the runtime has a grain of a millisecond, and what is due at even
//! distances would come in bursts.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Rings once each time it is set.
#[derive(Debug)]
pub(crate) struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    /// One that is not set. It belongs to the runtime of who calls.
    ///
    /// # Errors
    /// The system has none.
    #[expect(deprecated, reason = "what takes its place wants a promise that an OwnedFd keeps by itself")]
    pub(crate) fn new() -> io::Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self(AsyncFd::with_interest(timer, Interest::READABLE)?))
    }

    /// Returns when so much time has passed; at once if it is none.
    ///
    /// # Errors
    /// The system refuses it.
    pub(crate) async fn ring_in(&self, after: Duration) -> io::Result<()> {
        // Nothing would mean never.
        if after.is_zero() {
            return Ok(());
        }
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: after.as_secs() as i64, tv_nsec: after.subsec_nanos().into() },
        };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        // It need not be read: setting it again takes back that it rang.
        self.0.readable().await?.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn rings_each_time_and_sooner_than_a_millisecond_later() {
        let alarm = Alarm::new().unwrap();
        let after = Duration::from_micros(200);
        let mut late = Vec::new();
        for _ in 0..50 {
            let begun = Instant::now();
            alarm.ring_in(after).await.unwrap();
            assert!(begun.elapsed() >= after);
            late.push(begun.elapsed() - after);
        }
        late.sort_unstable();
        // The best of them: a busy machine may make others late.
        assert!(late[0] < Duration::from_micros(500), "{late:?}");
    }
}
