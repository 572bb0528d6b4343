//! Signals: SIGHUP has the configuration read again, SIGTERM and SIGINT end the daemon.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::iterator::exfiltrator::origin::Origin;

use super::Handle;
use crate::admin::Audit;
use crate::admin::audit::{Entry, Outcome, Via, What, Who};

/// Signals with those who sent them.
pub(super) type Signals = SignalsInfo<WithOrigin>;

/// Catches signals from now on; they wait for [`obey`]. No thread is made.
pub(super) fn catch() -> Result<Signals> {
    Signals::new([SIGHUP, SIGTERM, SIGINT, SIGUSR1]).context("cannot listen to signals")
}

/// Begins to obey them. `stopping` tells those who take their time.
pub(super) fn obey(
    mut signals: Signals,
    handle: Handle,
    audit: Audit,
    stopping: Arc<AtomicBool>,
) -> Result<()> {
    let run = move || {
        for origin in signals.forever() {
            match origin.signal {
                SIGHUP => reload(&origin, &handle, &audit),
                // Who is used to adit-wireguard sends it to see the drops, and would end every tunnel.
                SIGUSR1 => tracing::info!("SIGUSR1 does nothing here: aditctl status shows the drops"),
                _ => {
                    stopping.store(true, Ordering::Relaxed);
                    handle.stop();
                }
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(run).context("cannot listen to signals")?;
    Ok(())
}

/// A reload by a signal is in the audit trail, or is not done.
fn reload(origin: &Origin, handle: &Handle, audit: &Audit) {
    // The kernel sends it too, when a terminal closes.
    let who = origin.process.map_or_else(Who::this_process, |sender| {
        Who::new(Some(sender.uid), None, Some(sender.pid.unsigned_abs()))
    });
    let entry = |result, detail: &str| {
        let detail = detail.to_owned();
        audit.record(&Entry { who: who.clone(), what: What::Reload, via: Via::Signal, result, detail })
    };
    if let Err(error) = entry(Outcome::Attempt, "") {
        return tracing::error!("not reloaded: {error}");
    }
    let Ok(done) = handle.reload_blocking() else { return };
    let noted = match &done {
        Ok(done) => entry(done.outcome(), &done.to_string()),
        Err(error) => entry(Outcome::Refused, error),
    };
    if let Err(error) = noted {
        tracing::error!("{error}");
    }
}
