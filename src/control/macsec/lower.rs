//! Follows the Ethernet link that carries frames: it may be set down, deleted, and made again.

use std::io;

use crate::net::link::{self, Event, Link, Watch};

/// Follows the link of this name until nobody is left to be told (`tell` says so). Returns what it is at first; each change
/// after that is told, `None` while there is no such link.
///
/// # Errors
/// What the system says: there is no such link, no netlink socket or no thread is left.
pub(super) fn start(name: &str, tell: impl Fn(Option<Link>) -> bool + Send + 'static) -> io::Result<Link> {
    // Before the link is looked at, so that no change falls between.
    let watch = Watch::new()?;
    let (first, name) = (link::find(name)?, name.to_owned());
    let run = move || {
        if let Err(error) = follow(&watch, &name, first, &tell) {
            tracing::error!("{name}: the link cannot be followed any more: {error}");
        }
    };
    std::thread::Builder::new().name("link".into()).spawn(run)?;
    Ok(first)
}

fn follow(watch: &Watch, name: &str, first: Link, tell: &impl Fn(Option<Link>) -> bool) -> io::Result<()> {
    let mut last = Some(first);
    loop {
        match watch.read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // Changes were lost: what is true now counts.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
            events => {
                if !events?.iter().any(|event| matches!(event, Event::Link(_) | Event::Gone(_))) {
                    continue;
                }
            }
        }
        let now = link::find(name).ok();
        if now != std::mem::replace(&mut last, now) && !tell(now) {
            return Ok(());
        }
    }
}
