//! Tells the control thread what becomes of links, addresses and routes.

use std::io;
use std::sync::{Arc, Weak};

use super::Command;
use crate::datapath::Inbox;
use crate::net::link::{Event, Monitor, find};

/// Follows the link `name` and the routes until the control thread is gone.
///
/// # Errors
/// What the system says: no netlink socket or no thread is left.
pub(super) fn start(name: &str, inbox: &Arc<Inbox<Command>>) -> io::Result<()> {
    let monitor = Monitor::new()?;
    let inbox = Arc::downgrade(inbox);
    let name = name.to_owned();
    std::thread::Builder::new()
        .name("monitor".into())
        .spawn(move || follow(&monitor, &name, &inbox))
        .map(drop)
}

fn follow(monitor: &Monitor, name: &str, inbox: &Weak<Inbox<Command>>) {
    loop {
        let events = match monitor.read() {
            Ok(events) => events,
            // Changes were lost: what is true now is asked for.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                find(name).map(Event::Link).into_iter().chain([Event::Routes]).collect()
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Vec::new(),
            Err(error) => {
                return tracing::error!("netlink: {error}; changes of links are not followed any more");
            }
        };
        let Some(inbox) = inbox.upgrade() else { return };
        for event in events {
            inbox.command(Command::Network(event));
        }
    }
}
