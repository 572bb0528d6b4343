//! What a tunnel lays that outlives its process, and how that is taken away: by the tunnel itself, or after a crash by whoever
//! comes next. A record of it is written before anything is laid.

use std::fs;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::dns::{Keeper, System, Wanted};
use super::network::Network;
use super::places::{self, Places};
use crate::net::kill_switch;

/// The file beside the profiles in which `/etc/resolv.conf` waits.
const SAVED: &str = "resolv.conf";

/// The record.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Laid {
    /// Routes and rules.
    pub(super) network: Network,
    /// Whether there is a kill switch.
    pub(super) kill_switch: bool,
    /// Who was told of name servers.
    pub(super) dns: Option<Keeper>,
}

impl Laid {
    /// What the tunnel of this name has laid, by its record.
    #[must_use]
    pub(super) fn of(places: &Places, name: &str) -> Option<Self> {
        places::read_record(&places.record(name))
    }

    /// Writes the record.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn write(&self, places: &Places, name: &str) -> Result<()> {
        places::write_record(&places.record(name), self)
    }
}

/// This machine's names, for tunnels with these places.
#[must_use]
pub(super) fn names(places: &Places) -> System {
    System::new(places.beside(SAVED, "saved"))
}

/// Tells this machine's keeper of names the servers of a tunnel, and has a process watch over it that puts them back when
/// this one is killed.
///
/// # Errors
/// In words.
pub(super) fn lay_dns(places: &Places, name: &str, laid: &mut Laid, wanted: Wanted<'_>) -> Result<()> {
    let keeper = names(places).lay(name, wanted)?;
    laid.dns = Some(keeper);
    laid.write(places, name)
}

/// Puts name servers back.
///
/// # Errors
/// In words.
pub(super) fn take_dns_back(places: &Places, name: &str) -> Result<()> {
    let Some(mut laid) = Laid::of(places, name) else { return Ok(()) };
    let Some(keeper) = laid.dns.take() else { return Ok(()) };
    names(places).take_back(name, keeper).context("cannot put DNS back")?;
    laid.write(places, name)
}

/// Takes everything away that the tunnel of this name has laid, or has left. False if there was nothing. The kill switch
/// comes last.
///
/// # Errors
/// In words: what could not be taken away. The rest is.
pub(super) fn take_away(places: &Places, name: &str) -> Result<bool> {
    let laid = Laid::of(places, name);
    let system = names(places);
    let dns = match laid.as_ref().and_then(|laid| laid.dns) {
        Some(keeper) => system.take_back(name, keeper),
        // A record does not outlive a reboot, and a resolv.conf does.
        None => system.restore(Some(name)).map(drop),
    };
    let network = laid.as_ref().map_or(Ok(()), |laid| laid.network.take_away());
    let switch = kill_switch::remove(name);
    dns.context("cannot put DNS back")?;
    network.context("cannot take routes and rules away")?;
    let switch = match switch {
        // A kernel without nf_tables has no kill switch.
        Err(_) if laid.as_ref().is_some_and(|laid| !laid.kill_switch) => false,
        switch => switch.context("cannot take the kill switch away")?,
    };
    let _ = fs::remove_file(places.record(name));
    Ok(laid.is_some() || switch)
}

/// What tunnels that do not run have left: the names, each with what is there, in words.
#[must_use]
pub(super) fn left(places: &Places, name: &str) -> Vec<String> {
    let mut words = Vec::new();
    if kill_switch::list().is_ok_and(|names| names.iter().any(|known| known == name)) {
        words.push(format!(
            "its kill switch holds back everything that leaves this machine; `adit down {name}` ends that"
        ));
    }
    if let Some(laid) = Laid::of(places, name) {
        let guarded: Vec<_> = laid.network.guarded().collect();
        if !guarded.is_empty() {
            words.push(format!("what is meant for {} is held back", guarded.join(", ")));
        }
        if laid.network.is_full() && !laid.kill_switch {
            words.push("nothing holds back what was meant for its full tunnel, which leaves in clear".into());
        }
        if laid.dns.is_some_and(|keeper| keeper != Keeper::Resolved) {
            words.push("name servers are still those of the site".into());
        }
    } else if names(places).taken_by().as_deref() == Some(name) {
        words.push("name servers are still those of the site".into());
    }
    words
}

/// The names of all tunnels that are up or have left anything.
#[must_use]
pub(super) fn all(places: &Places) -> Vec<String> {
    let mut all = places.laid();
    all.extend(kill_switch::list().unwrap_or_default());
    all.extend(names(places).taken_by());
    all.sort();
    all.dedup();
    all
}
