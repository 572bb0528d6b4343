//! Tells the control thread what becomes of its link, and of the addresses and routes of this machine.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Weak};

use adit_wireguard::Prefix;

use super::ended::Farewell;
use crate::net::link::{self, Event, Link, Watch};
use crate::net::tun::TunHandle;

/// A thread's worth of following one link.
struct Monitor<T> {
    watch: Watch,
    link: Link,
    tun: Weak<TunHandle>,
    tell: T,
}

/// Follows the link of a TUN or TAP device until nobody is left to be told (`tell` says so), also into another network
/// namespace. Returns what the link is at first; every change after that is told.
///
/// # Errors
/// What the system says: no netlink socket or no thread is left.
pub(super) fn start(
    tun: &Arc<TunHandle>,
    farewell: Farewell,
    tell: impl Fn(Event) -> bool + Send + 'static,
) -> io::Result<Link> {
    // Before the link is looked at, so that no change falls between.
    let watch = Watch::new()?;
    let link = link::find(&tun.name()?)?;
    let monitor = Monitor { watch, link, tun: Arc::downgrade(tun), tell };
    let run = move || {
        let _farewell = farewell;
        if let Err(error) = monitor.follow() {
            tracing::error!("the link cannot be followed any more: {error}");
        }
    };
    std::thread::Builder::new().name("monitor".into()).spawn(run)?;
    Ok(link)
}

impl<T: Fn(Event) -> bool> Monitor<T> {
    fn follow(mut self) -> io::Result<()> {
        loop {
            let events = match self.watch.read() {
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.everything(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Vec::new(),
                events => events?,
            };
            for event in events {
                let event = match event {
                    // What was lost may be newer than what was kept.
                    Event::Link(link) if link.index == self.link.index => {
                        let now = self.now().filter(|now| now.index == link.index);
                        self.link = now.unwrap_or(link);
                        Event::Link(self.link)
                    }
                    Event::Gone(index) if index == self.link.index => match self.follow_to_namespace() {
                        Ok(link) => Event::Link(link),
                        Err(_) => event,
                    },
                    Event::Link(_) | Event::Gone(_) => continue,
                    Event::Route(_) | Event::AddressGone(_) => event,
                };
                if !(self.tell)(event) {
                    return Ok(());
                }
            }
        }
    }

    /// Changes were lost: what is true now.
    fn everything(&self) -> Vec<Event> {
        let link = self.now().map(Event::Link);
        let any = [IpAddr::from([0; 4]), IpAddr::from([0; 16])];
        let routes = any.into_iter().filter_map(|any| Prefix::new(any, 0).ok()).map(Event::Route);
        link.into_iter().chain(routes).collect()
    }

    /// What our link is now; `None` if it is gone from here.
    fn now(&self) -> Option<Link> {
        let name = self.tun.upgrade()?.name().ok()?;
        link::find(&name).ok()
    }

    /// The link left this network namespace. Fails if it is gone altogether; otherwise this thread goes after it.
    fn follow_to_namespace(&mut self) -> io::Result<Link> {
        let tun = self.tun.upgrade().ok_or(io::ErrorKind::NotFound)?;
        tun.enter_namespace()?;
        self.watch = Watch::new()?;
        self.link = link::find(&tun.name()?)?;
        tracing::info!("{}: followed to another network namespace", tun.name()?);
        Ok(self.link)
    }
}
