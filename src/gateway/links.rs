//! Encrypted links: how they are made and taken away, what the kernel is held to, and what they tell.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::guards::Guards;
use super::{Gateway, hooks, resolver, warnings};
use crate::clock;
use crate::config::macsec::Carrier;
use crate::config::{self, EndpointName, Macsec};
use crate::control::macsec::{Encryptor, Setup};
use crate::net::link::{self, Settings};
use crate::net::path;
use crate::status::{self, State};

/// What the other end of a link is called where peers have names.
const PEER: &str = "peer";
/// How long what another link had may take to be free, and how often is looked.
const LEAVING: Duration = Duration::from_secs(1);
const GLANCE: Duration = Duration::from_millis(20);

/// Makes a link: its device is a port of its bridge, and up.
///
/// # Errors
/// What failed, in words. Nothing is left of it then.
pub(super) fn make(name: &str, config: &Macsec, gateway: &config::Gateway) -> Result<Encryptor, String> {
    let start = || -> Result<Encryptor> {
        let setup = Setup { state: &gateway.state, offloads: gateway.offloads, pin: gateway.pin };
        let encryptor = Encryptor::start(name, config, &setup)?;
        enslave(encryptor.index(), config.bridge.as_deref())?;
        let up = Settings { up: Some(true), ..Settings::default() };
        link::set(encryptor.index(), &up).context("cannot set its device up")?;
        Ok(encryptor)
    };
    start().map_err(|error| format!("{name}: {error:#}"))
}

/// As [`make`], where another link still lets go of what this one needs.
pub(super) fn make_after(
    name: &str,
    config: &Macsec,
    gateway: &config::Gateway,
) -> Result<Encryptor, String> {
    let begin = Instant::now();
    loop {
        match make(name, config, gateway) {
            Err(_) if begin.elapsed() < LEAVING => std::thread::sleep(GLANCE),
            made => return made,
        }
    }
}

/// Makes a device a port of this bridge, or of none.
fn enslave(device: u32, bridge: Option<&str>) -> Result<()> {
    let find = |bridge: &str| link::find(bridge).with_context(|| format!("there is no bridge {bridge}"));
    let wanted = bridge.map(find).transpose()?.map(|bridge| bridge.index);
    if link::controller(device)? != wanted {
        let settings = Settings { controller: Some(wanted.unwrap_or(0)), ..Settings::default() };
        let what = || format!("cannot make its device a port of {}", bridge.unwrap_or("no bridge"));
        link::set(device, &settings).with_context(what)?;
    }
    Ok(())
}

/// Changes what can be changed while a link runs.
///
/// # Errors
/// What failed, in words.
pub(super) fn change(name: &str, encryptor: &Encryptor, old: &Macsec, new: &Macsec) -> Result<(), String> {
    if old.mtu != new.mtu {
        encryptor.remote().set_mtu(new.mtu);
    }
    enslave(encryptor.index(), new.bridge.as_deref()).map_err(|error| format!("{name}: {error:#}"))
}

/// Makes devices ports of their bridges again. What could not be done, in words.
pub(super) fn mend(links: &BTreeMap<String, Encryptor>, config: &BTreeMap<String, Macsec>) -> Vec<String> {
    let bridged =
        links.iter().filter_map(|(name, link)| Some((name, link, config.get(name)?.bridge.as_deref()?)));
    let mended = bridged.filter_map(|(name, link, bridge)| {
        enslave(link.index(), Some(bridge)).err().map(|error| format!("{name}: {error:#}"))
    });
    mended.collect()
}

/// The name of the other end, if it has one.
pub(super) fn names(config: &Macsec) -> BTreeMap<String, (String, u16)> {
    match &config.carrier {
        Carrier::Udp(udp) => match &udp.peer {
            Some(EndpointName::Dns { host, port }) => [(PEER.to_owned(), (host.clone(), *port))].into(),
            Some(EndpointName::Address(_)) | None => BTreeMap::new(),
        },
        Carrier::Link(_) => BTreeMap::new(),
    }
}

/// Whether the other end has left handshakes without an answer for [`resolver::SILENCE`].
fn is_silent(report: &status::Macsec) -> bool {
    let trying = report.key_agreement.as_ref().and_then(|agreement| agreement.trying_for);
    trying.is_some_and(|time| time >= resolver::SILENCE.as_secs_f64())
}

impl Gateway {
    /// The other end of a link is at one of these addresses.
    pub(super) fn place_link(&self, name: &str, addresses: &[std::net::SocketAddr]) {
        let Some(remote) = self.links.get(name).map(Encryptor::remote) else { return };
        let Ok(report) = remote.report() else { return };
        let endpoint = report.udp.as_ref().and_then(|udp| udp.endpoint.as_deref()?.parse().ok());
        if let Some(next) = resolver::next(addresses, endpoint, is_silent(&report)) {
            tracing::info!("{name}: endpoint {next}");
            remote.set_endpoint(next);
        }
    }

    /// Looks up anew where nobody answers.
    pub(super) fn doubt_silent_links(&mut self) {
        for (name, link) in &self.links {
            let named = self.config.macsec.get(name).is_some_and(|config| !names(config).is_empty());
            if named && link.remote().report().is_ok_and(|report| is_silent(&report)) {
                self.resolver.doubt(&(name.clone(), PEER.to_owned()), clock::now());
            }
        }
    }

    /// Takes note of links that ended by themselves: somebody deleted the device. Their guards stay.
    pub(super) fn bury_links(&mut self) {
        let ended: Vec<_> =
            self.links.iter().filter_map(|(name, link)| Some((name.clone(), link.ended()?))).collect();
        for (name, why) in ended {
            self.links.remove(&name);
            self.resolver.retain(&name, &BTreeMap::new(), clock::now());
            let why = format!("{why}; aditctl reload makes it anew");
            tracing::error!("{name}: {why}");
            let config = self.config.macsec.remove(&name);
            self.lost.insert(name, Lost { why, config });
        }
    }

    /// Ends a link. Its guard stays.
    pub(super) fn take_link_down(&mut self, name: &str) {
        let Some(encryptor) = self.links.remove(name) else { return };
        self.resolver.retain(name, &BTreeMap::new(), clock::now());
        let config = self.config.macsec.get(name);
        let tap = config.map_or(name, |config| &config.tap);
        let run = |kind, commands: fn(&config::Hooks) -> &Vec<String>| {
            let commands = config.map(|config| commands(&config.hooks).as_slice()).unwrap_or_default();
            if let Err(error) = hooks::run(kind, tap, commands) {
                tracing::error!("{error}");
            }
        };
        run("pre_down", |hooks| &hooks.pre_down);
        drop(encryptor);
        run("post_down", |hooks| &hooks.post_down);
    }

    /// What links tell.
    pub(super) fn links_overview(&self) -> BTreeMap<String, status::Macsec> {
        let running = self.links.iter().map(|(name, link)| (name.clone(), self.link(name, link)));
        let lost = self.lost.iter().map(|(name, lost)| (name.clone(), lost.told(&self.guards)));
        running.chain(lost).collect()
    }

    fn link(&self, name: &str, link: &Encryptor) -> status::Macsec {
        let Ok(mut report) = link.remote().report() else {
            let warnings = vec!["its control thread does not answer".to_owned()];
            return status::Macsec { state: State::Stuck, warnings, ..status::Macsec::default() };
        };
        let Some(config) = self.config.macsec.get(name) else { return report };
        report.bridge.clone_from(&config.bridge);
        if let Carrier::Link(carrier) = &config.carrier {
            let carrier = self.guards.of(carrier);
            if report.state == State::Up && !carrier.up {
                report.state = State::Down;
            }
            report.link = Some(carrier);
        }
        let dns = self.resolver.of(&(name.to_owned(), PEER.to_owned()));
        let unresolved = dns.as_ref().and_then(|(_, error)| error.map(str::to_owned));
        if let Some(udp) = &mut report.udp {
            udp.endpoint_name = dns.map(|(name, _)| name.clone());
            let endpoint = udp.endpoint.as_deref().and_then(|endpoint| endpoint.parse().ok());
            udp.path_mtu = endpoint.and_then(|remote| path::mtu(remote, udp.fwmark).ok());
        }
        report.warnings = warnings::link::of(config, &report, unresolved.as_deref());
        report
    }
}

/// A link that ended by itself, or could not be made again.
pub(super) struct Lost {
    pub(super) why: String,
    pub(super) config: Option<Macsec>,
}

impl Lost {
    fn told(&self, guards: &Guards) -> status::Macsec {
        let tap = self.config.as_ref().map(|config| config.tap.clone()).unwrap_or_default();
        let link = self.config.as_ref().and_then(|config| match &config.carrier {
            Carrier::Link(name) => Some(guards.of(name)),
            Carrier::Udp(_) => None,
        });
        let warnings = vec![self.why.clone()];
        status::Macsec { state: State::Gone, tap, link, warnings, ..status::Macsec::default() }
    }
}

/// Why a link cannot be made while the daemon runs: it has given away what that takes.
pub(super) fn missing_privilege(name: &str, config: &Macsec) -> Option<String> {
    let raw = || crate::privilege::effective().iter().any(|capability| capability == "CAP_NET_RAW");
    match &config.carrier {
        Carrier::Link(link) if !raw() => Some(format!(
            "{name}: link = \"{link}\" takes CAP_NET_RAW, which no link needed when the daemon started: that takes a restart of the daemon"
        )),
        Carrier::Link(_) | Carrier::Udp(_) => None,
    }
}
