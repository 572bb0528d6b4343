//! The guards of Ethernet links that carry encrypted frames.
//!
//! A guard is laid before anything else is done with its link, and taken away only when a reload has a configuration in
//! which the link is not. In between a thread listens: a link that comes back, or under another number, gets its guard at
//! once; what somebody took away is put back by the [upkeep](super::upkeep).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::{io, thread};

use crate::config::Config;
use crate::config::macsec::Carrier;
use crate::net::guard::{self, Dropped, Guard};
use crate::net::link::{self, Event, Watch};
use crate::net::netlink;
use crate::status::macsec::Link;

/// Links that are to be guarded, and whether protected frames may have a VLAN tag in clear there.
pub(super) type Wanted = BTreeMap<String, bool>;

/// What a configuration wants guarded.
pub(super) fn wanted(config: &Config) -> Wanted {
    let links = config.macsec.values().filter_map(|macsec| match &macsec.carrier {
        Carrier::Link(name) => Some((name.clone(), macsec.clear_tags > 0)),
        Carrier::Udp(_) => None,
    });
    links.collect()
}

/// Every guard, for all threads.
#[derive(Clone, Debug, Default)]
pub(super) struct Guards(Arc<Mutex<BTreeMap<String, Guarded>>>);

/// A link that is to be guarded.
#[derive(Debug, Default)]
struct Guarded {
    outer_tag: bool,
    /// With the number of its link. `None` while there is no such link, or no guard can be laid.
    laid: Option<(u32, Guard)>,
    /// Why there is none, in words.
    fault: Option<String>,
}

impl Guards {
    /// Guards these links too: those that were guarded by this for the first time. A link that is not there is guarded when
    /// it comes.
    ///
    /// # Errors
    /// Why one of them cannot be guarded. Those before it are.
    pub(super) fn lay(&self, wanted: &Wanted) -> Result<Vec<String>, String> {
        let (mut guards, mut new) = (self.lock(), Vec::new());
        for (name, outer_tag) in wanted {
            let guarded = guards.entry(name.clone()).or_insert_with(|| {
                new.push(name.clone());
                Guarded { outer_tag: *outer_tag, ..Guarded::default() }
            });
            guarded.look(name, false);
            if let Some(fault) =
                guarded.fault.clone().filter(|_| guarded.laid.is_none() && link::find(name).is_ok())
            {
                return Err(fault);
            }
        }
        Ok(new)
    }

    /// Lets protected frames have a VLAN tag in clear where that is wanted, and nowhere else.
    ///
    /// # Errors
    /// What failed, in words, by link. The guards are as they were there.
    pub(super) fn set_outer_tags(&self, wanted: &Wanted) -> Vec<String> {
        let mut guards = self.lock();
        let mut faults = Vec::new();
        for (name, outer_tag) in wanted {
            let Some(guarded) = guards.get_mut(name).filter(|guarded| guarded.outer_tag != *outer_tag) else {
                continue;
            };
            guarded.outer_tag = *outer_tag;
            if let Some((_, guard)) = &mut guarded.laid
                && let Err(error) = guard.set_outer_tag(*outer_tag)
            {
                faults.push(format!("guard of {name}: {error}"));
            }
        }
        faults
    }

    /// Takes a guard away: the link carries everything from now on.
    ///
    /// # Errors
    /// What the kernel says, in words.
    pub(super) fn take_away(&self, name: &str) -> Result<(), String> {
        let guarded = self.lock().remove(name);
        let removed = guarded.and_then(|guarded| guarded.laid).map(|(_, guard)| guard.remove()).transpose();
        removed.map(drop).map_err(|error| format!("guard of {name}: {error}"))
    }

    /// Takes away the guards that are not wanted, also those that an earlier daemon left.
    ///
    /// # Errors
    /// What failed, in words.
    pub(super) fn sweep(&self, wanted: &Wanted) -> Result<(), String> {
        let stray: Vec<_> = self.lock().keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
        stray.iter().try_for_each(|name| self.take_away(name))?;
        let held: BTreeSet<_> = self.lock().values().filter_map(Guarded::name).collect();
        let left = guard::list().map_err(|error| format!("cannot list guards: {error}"));
        // Where the kernel has no guards at all there is none to take away.
        let Ok(left) = left else { return if wanted.is_empty() { Ok(()) } else { left.map(drop) } };
        for name in left.iter().filter(|name| !wanted.contains_key(*name) && !held.contains(*name)) {
            guard::remove(name).map_err(|error| format!("guard of {name}: {error}"))?;
            tracing::info!("{name}: its guard is taken away: no link of the configuration uses it");
        }
        Ok(())
    }

    /// Puts back what somebody took away. What is wrong, in words.
    pub(super) fn mend(&self) -> Vec<String> {
        let mut guards = self.lock();
        guards.iter_mut().for_each(|(name, guarded)| guarded.look(name, true));
        guards.values().filter_map(|guarded| guarded.fault.clone()).collect()
    }

    /// How a link is.
    pub(super) fn of(&self, name: &str) -> Link {
        let up = link::find(name).is_ok_and(|link| link.up);
        let guards = self.lock();
        let guard = guards.get(name).and_then(|guarded| guarded.laid.as_ref());
        let Dropped { ingress, egress } =
            guard.and_then(|(_, guard)| guard.dropped().ok()).unwrap_or_default();
        let (name, guarded) = (name.to_owned(), guard.is_some());
        Link { name, up, guarded, held_back_in: ingress, held_back_out: egress }
    }

    /// Begins to listen, with the privileges that the calling thread has.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn watch(&self) -> io::Result<()> {
        let (watch, guards) = (Watch::new()?, Arc::downgrade(&self.0));
        thread::Builder::new().name("guards".into()).spawn(move || follow(&watch, &guards))?;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Guarded>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn follow(watch: &Watch, guards: &Weak<Mutex<BTreeMap<String, Guarded>>>) {
    loop {
        let concerned = match watch.read() {
            Ok(events) => events.iter().any(|event| matches!(event, Event::Link(_) | Event::Gone(_))),
            // Something was lost.
            Err(error) if netlink::errno(&error) == Some(libc::ENOBUFS) => true,
            Err(error) => return tracing::error!("guards: links cannot be followed any more: {error}"),
        };
        let Some(guards) = guards.upgrade().map(Guards) else { return };
        if concerned {
            guards.lock().iter_mut().for_each(|(name, guarded)| guarded.look(name, false));
        }
    }
}

impl Guarded {
    /// Guards the link that has this name now. A link that was given another name stays guarded. `closely`: looks at what the
    /// kernel has, not only whether it is the same link.
    fn look(&mut self, name: &str, closely: bool) {
        let before = self.fault.take();
        if self.laid.as_ref().is_some_and(|(index, _)| link::find_index(*index).is_err()) {
            tracing::warn!("{name}: the link is gone; it is guarded when it comes back");
            // It goes first: it owns the table that the next one replaces.
            self.laid = None;
        }
        match (&mut self.laid, link::find(name)) {
            (Some((_, guard)), _) if closely => match guard.mend() {
                Ok(true) => tracing::warn!("put back: guard of {name}"),
                Ok(false) => {}
                Err(error) => self.fault = Some(format!("guard of {name}: {error}")),
            },
            (Some(_), _) => self.fault = before.clone(),
            (None, Ok(found)) => match Guard::lay(found.index, self.outer_tag) {
                Ok(guard) => {
                    tracing::info!("{name}: what is in clear is held back");
                    self.laid = Some((found.index, guard));
                }
                Err(error) => self.fault = Some(format!("guard of {name}: {error}")),
            },
            (None, Err(_)) => self.fault = Some(format!("{name}: there is no such link")),
        }
        // Whoever looks closely tells it.
        if let Some(fault) = self.fault.as_ref().filter(|_| !closely && self.fault != before) {
            tracing::error!("{fault}");
        }
    }

    /// What its link is called now.
    fn name(&self) -> Option<String> {
        self.laid.as_ref().and_then(|(index, _)| link::name(*index).ok())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::net::isolated::{isolated, make_link, remove_link};

    fn these(names: &[&str]) -> Wanted {
        names.iter().map(|name| ((*name).to_owned(), false)).collect()
    }

    fn index(guards: &Guards, name: &str) -> Option<u32> {
        guards.lock()[name].laid.as_ref().map(|(index, _)| *index)
    }

    fn soon(what: &str, mut done: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !done() {
            assert!(begin.elapsed() < Duration::from_secs(5), "not soon: {what}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn only_links_of_the_configuration_are_guarded() {
        isolated(|| {
            make_link("eth1");
            make_link("eth2");
            // What an earlier daemon left.
            drop(Guard::lay(link::find("eth2").unwrap().index, false).unwrap());
            let guards = Guards::default();
            assert_eq!(guards.lay(&these(&["eth1"])).unwrap(), ["eth1"]);
            assert_eq!(guards.lay(&these(&["eth1"])).unwrap(), [""; 0], "it is there already");
            assert_eq!(guard::list().unwrap().len(), 2);
            guards.sweep(&these(&["eth1"])).unwrap();
            assert_eq!(guard::list().unwrap(), ["eth1"]);
            let Link { up, guarded, .. } = guards.of("eth1");
            assert!(up && guarded && !guards.of("eth2").guarded);
            guards.sweep(&these(&[])).unwrap();
            assert_eq!(guard::list().unwrap(), [""; 0]);
        });
    }

    #[test]
    fn a_guard_outlives_the_daemon() {
        isolated(|| {
            make_link("eth1");
            let guards = Guards::default();
            guards.lay(&these(&["eth1"])).unwrap();
            drop(guards);
            assert_eq!(guard::list().unwrap(), ["eth1"]);
            let guards = Guards::default();
            guards.lay(&these(&["eth1"])).unwrap();
            assert!(guards.mend().is_empty() && guards.of("eth1").guarded);
        });
    }

    #[test]
    fn a_link_that_comes_back_is_guarded_at_once() {
        isolated(|| {
            let guards = Guards::default();
            assert_eq!(guards.lay(&these(&["eth1"])).unwrap(), ["eth1"]);
            assert!(!guards.of("eth1").guarded);
            assert_eq!(guards.mend(), ["eth1: there is no such link"]);
            guards.watch().unwrap();
            for _ in 0..3 {
                let made = make_link("eth1");
                soon("guarded", || index(&guards, "eth1") == Some(made));
                assert!(guards.mend().is_empty());
                remove_link(made);
                soon("gone", || index(&guards, "eth1").is_none());
            }
        });
    }

    #[test]
    fn what_somebody_takes_away_is_put_back() {
        isolated(|| {
            let made = make_link("eth1");
            let guards = Guards::default();
            guards.lay(&these(&["eth1"])).unwrap();
            assert!(guards.set_outer_tags(&[("eth1".to_owned(), true)].into()).is_empty());
            // As `nft delete table` before Linux 6.9, where nobody owns it; else it is refused.
            let refused = guard::remove("eth1").is_err();
            assert_eq!(guard::list().unwrap().is_empty(), !refused);
            assert!(guards.mend().is_empty());
            assert_eq!(
                (guard::list().unwrap(), index(&guards, "eth1")),
                (vec!["eth1".to_owned()], Some(made))
            );
            guards.take_away("eth1").unwrap();
            assert_eq!(guard::list().unwrap(), [""; 0]);
        });
    }
}
