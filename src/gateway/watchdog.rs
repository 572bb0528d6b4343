//! The watchdog of systemd: fed only while every tunnel answers.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// What systemd is told of us, if it started us.
#[derive(Debug)]
pub(super) struct Watchdog {
    /// A feed is due so often; `None` without a watchdog.
    interval: Option<Duration>,
    fed: Option<Instant>,
}

impl Watchdog {
    /// The watchdog that systemd asks for by `WATCHDOG_USEC`, if any.
    pub(super) fn new() -> Self {
        Self { interval: sd_notify::watchdog_enabled().map(|limit| limit / 3), fed: None }
    }

    /// Feeds it if that is due and all is well; systemd starts the daemon anew if it is not fed for too long.
    pub(super) fn feed(&mut self, well: impl FnOnce() -> bool) {
        let Some(interval) = self.interval else { return };
        if self.fed.is_none_or(|at| at.elapsed() >= interval) && well() {
            self.fed = Some(Instant::now());
            tell(&[NotifyState::Watchdog]);
        }
    }
}

/// Says that the daemon is at work, before something that may take its time.
pub(super) fn alive() {
    if sd_notify::watchdog_enabled().is_some() {
        tell(&[NotifyState::Watchdog]);
    }
}

/// Tells systemd something; nothing happens where there is none.
pub(super) fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::error!("cannot tell systemd: {error}");
    }
}

/// Tells systemd that the configuration is read again, as `Type=notify-reload` wants it.
pub(super) fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}
