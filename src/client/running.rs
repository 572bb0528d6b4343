//! A tunnel that is up: its interface, what was laid for it, and what is known of its gateways.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use adit_noise::Time;
use adit_wireguard::uapi::Change;
use adit_wireguard::{Cipher, PeerChange};
use anyhow::{Context as _, Result, bail};

use super::Wrong;
use super::dns::Wanted;
use super::endpoints::{Endpoints, Memory};
use super::facts::{Facts, Verdict, judge};
use super::laid::{self, Laid};
use super::network::{self, MARK, Network};
use super::places::{self, Places};
use super::probe::Probe;
use super::profile::{Gateway, Profile};
use super::renewal::Renewal;
use super::status::{SCHEMA, SILENCE, Tunnel};
use super::term::Term;
use crate::control::{Interface, MTU, Options};
use crate::net::offload::Offloads;
use crate::net::{kill_switch, path};
use crate::store::Wall;
use crate::{clock, status};

/// How long names of gateways may take to be looked up before the rest is set up.
const LOOK_UP: Duration = Duration::from_secs(3);
/// How often the network is asked whether the gateway can be reached, while it does not answer.
const ASK: Duration = Duration::from_secs(1);
/// A handshake without an answer for so long makes us ask.
const DOUBT: f64 = 0.4;
/// How often is looked whether what was laid is still there.
const MEND: Duration = Duration::from_secs(10);
/// What a profile's memory is called beside it.
const MEMORY: &str = "state";

/// How a tunnel is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wishes {
    /// Everything goes through it, whatever the profile says.
    pub(super) full_tunnel: bool,
    /// Nothing leaves this machine but through it.
    pub(super) kill_switch: bool,
}

/// A tunnel that is up.
pub(super) struct Running {
    pub(super) name: String,
    pub(super) places: Places,
    pub(super) wishes: Wishes,
    pub(super) profile: Profile,
    pub(super) interface: Interface,
    pub(super) laid: Laid,
    pub(super) memory: Memory,
    pub(super) renewal: Renewal,
    /// How much of the lease is over.
    pub(super) term: Option<Term>,
    /// Those of each gateway of the profile.
    endpoints: Vec<Endpoints>,
    probe: Option<Probe>,
    asked: Time,
    mended: Time,
    /// What could not be laid, or put back.
    faults: Vec<String>,
}

impl Running {
    /// Makes the interface and everything that belongs to it.
    ///
    /// # Errors
    /// In words. What was laid is taken away then; but a kill switch that was there before stays.
    pub(super) fn start(places: &Places, name: &str, wishes: Wishes) -> Result<Self> {
        let mut profile = places.load(name)?;
        fit(&mut profile, wishes)?;
        let network = Network::of(&profile);
        if network.is_full()
            && network::has_rules()?
            && Laid::of(places, name).is_none_or(|laid| !laid.network.is_full())
        {
            bail!("another full tunnel is up, or has left its rules: `adit down` takes it away");
        }
        let held = kill_switch::list().unwrap_or_default().iter().any(|known| known == name);
        let started = Self::start_with(places, name, wishes, profile, network);
        if started.is_err() && !held {
            // What was wrong first is what is told.
            let _ = laid::take_away(places, name);
        }
        started
    }

    fn start_with(
        places: &Places,
        name: &str,
        wishes: Wishes,
        profile: Profile,
        network: Network,
    ) -> Result<Self> {
        let now = clock::now();
        let mut memory: Memory = places::read_record(&memory_file(places, name)).unwrap_or_default();
        memory.renewing =
            memory.renewing.filter(|_| profile.lease.as_ref().is_some_and(|lease| lease.is_by_token()));
        let mut endpoints: Vec<_> =
            profile.gateways.iter().map(|gateway| Endpoints::new(&gateway.endpoints, now)).collect();
        let options = Options {
            name: name.to_owned(),
            workers: 1,
            offloads: Offloads::default(),
            pin: false,
            mtu: profile.mtu.unwrap_or(MTU),
            cipher: Cipher::ChaCha20Poly1305,
        };
        let interface = Interface::start(&options)?;
        let places_of: Vec<_> =
            endpoints.iter_mut().map(|endpoints| endpoints.first(LOOK_UP, &mut memory)).collect();
        interface.remote().configure(changes(&profile, &places_of)).context("cannot configure the tunnel")?;
        let before = Laid::of(places, name);
        let laid =
            Laid { network, kill_switch: wishes.kill_switch, dns: before.as_ref().and_then(|laid| laid.dns) };
        laid.write(places, name)?;
        if wishes.kill_switch {
            kill_switch::lay(name, MARK).context("cannot lay the kill switch (it takes nf_tables)")?;
        }
        if let Some(before) = before.filter(|before| before.network != laid.network) {
            before.network.take_away()?;
        }
        network::set_up(interface.index(), None).context("cannot set the interface up")?;
        laid.network.lay(interface.index())?;
        if !wishes.kill_switch {
            // One that an earlier process has left; without nf_tables there is none.
            let _ = kill_switch::remove(name);
        }
        let term = profile.lease.as_ref().map(|lease| Term::new(lease, clock::both()));
        let mut running = Self {
            name: name.to_owned(),
            term,
            places: places.clone(),
            wishes,
            profile,
            interface,
            laid,
            renewal: Renewal::new(&memory, clock::both()),
            memory,
            endpoints,
            probe: None,
            asked: now,
            mended: now,
            faults: Vec::new(),
        };
        running.lay_dns();
        Ok(running)
    }

    /// Tells this machine's keeper of names the profile's servers. What fails shows in the status: the tunnel is of use
    /// without.
    pub(super) fn lay_dns(&mut self) {
        let Profile { dns, search, .. } = &self.profile;
        if dns.is_empty() {
            return;
        }
        let wanted = Wanted { servers: dns, search, all: self.laid.network.is_full() };
        if let Err(error) = laid::lay_dns(&self.places, &self.name, &mut self.laid, wanted) {
            tracing::error!("{}: {error:#}", self.name);
            self.faults.push(format!("the site's names are not resolved: {error:#}"));
        }
    }

    /// To be called a few times a second.
    pub(super) fn look_after(&mut self) {
        let now = clock::now();
        if now.since(self.mended) >= MEND {
            self.mended = now;
            self.mend();
        }
        // Asking also has the interface look at its clock, which may have jumped: the machine slept.
        let Ok(report) = self.interface.remote().report() else { return };
        let known = self.main(&report).cloned();
        self.renew(known.as_ref());
        self.remember(&report);
        self.place(&report, now);
        let main = self.main(&report);
        let doubted = main.is_some_and(|peer| peer.trying_for.is_some_and(|time| time >= DOUBT));
        let endpoint = main.and_then(|peer| peer.endpoint.as_deref()?.parse().ok());
        match endpoint.filter(|_| doubted) {
            None => self.probe = None,
            Some(to) if now.since(self.asked) >= ASK || self.probe.is_none() => {
                self.asked = now;
                if self.probe.as_ref().is_none_or(|probe| probe.to() != to) {
                    self.probe = Probe::new(to).ok();
                }
                let _ = self.probe.as_mut().map(Probe::ask);
            }
            Some(_) => {}
        }
    }

    /// How it is.
    pub(super) fn status(&mut self) -> Tunnel {
        let report = self.interface.remote().report().unwrap_or_default();
        let peer = self.main(&report).cloned().unwrap_or_default();
        let gateway = self.profile.gateways.first();
        let name = gateway.and_then(|gateway| gateway.endpoints.first()).map(ToString::to_string);
        let path =
            peer.endpoint.as_deref().and_then(|endpoint| Some(path::mtu(endpoint.parse().ok()?, MARK)));
        let (path_mtu, route_error) = match path {
            Some(Ok(mtu)) => (Some(mtu), None),
            Some(Err(error)) => (None, Some(plain(&error))),
            None => (None, None),
        };
        let now = clock::both();
        let facts = Facts {
            up: report.state == status::State::Up,
            gateway: name.clone().unwrap_or_default(),
            endpoint: peer.endpoint.clone(),
            handshake_age: peer.handshake_age,
            trying_for: peer.trying_for,
            name_error: self.endpoints.first().and_then(Endpoints::error).map(str::to_owned),
            route_error,
            verdict: self.probe.as_mut().map_or(Verdict::Silence, Probe::look),
            wall: now.wall.as_secs_f64(),
            wall_of_handshake: self.memory.wall_of_handshake,
            skew: self.memory.skew,
            lease_left: self.term.map(|term| term.left(now.mono)),
            renewal_error: self.renewal.error().map(str::to_owned),
            removed: self.renewal.is_removed(),
            answers_https: self.answers_https(&peer, now.mono),
        };
        let (state, mut problems) = judge(&facts);
        problems.extend(self.faults.iter().cloned());
        Tunnel {
            schema: SCHEMA,
            profile: self.name.clone(),
            state,
            problems,
            pid: Some(std::process::id()),
            transport: "WireGuard over UDP".into(),
            gateway: name,
            endpoint: peer.endpoint,
            handshake_age: peer.handshake_age,
            trying_for: peer.trying_for,
            path_mtu,
            mtu: report.mtu,
            received_bytes: peer.received_bytes,
            sent_bytes: peer.sent_bytes,
            addresses: self.profile.addresses.iter().map(ToString::to_string).collect(),
            routes: self.laid.network.routes().map(str::to_owned).collect(),
            full_tunnel: self.laid.network.is_full(),
            kill_switch: self.laid.kill_switch,
            dns: self.profile.dns.iter().map(ToString::to_string).collect(),
            dns_keeper: self.laid.dns,
            lease_end: facts.lease_left.map(|left| (facts.wall + left).max(0.0).round() as Wall),
        }
    }

    /// Ends it in good order.
    ///
    /// # Errors
    /// In words: what could not be taken away.
    pub(super) fn stop(mut self) -> Result<()> {
        if self.renewal.is_under_way() && self.memory.renewing.take().is_some() {
            // That nobody waits for it any more is not its fault.
            self.keep_memory();
        }
        let Self { interface, places, name, .. } = self;
        // The device goes first: what is on its way meets the guards.
        drop(interface);
        laid::take_away(&places, &name).map(drop)
    }

    /// The first gateway that can be called: of it the status tells.
    fn main<'a>(&self, report: &'a status::Wireguard) -> Option<&'a status::Peer> {
        let gateways = || self.profile.gateways.iter();
        let gateway = gateways().find(|gateway| !gateway.endpoints.is_empty()).or(gateways().next())?;
        let key = gateway.public_key.to_base64();
        report.peers.iter().find(|peer| peer.public_key == key)
    }

    /// Whether the gateway has granted the lease since it fell silent, and there was time for a handshake after that.
    fn answers_https(&self, peer: &status::Peer, now: Time) -> bool {
        let since = self.renewal.granted().map(|at| now.since(at).as_secs_f64());
        since.is_some_and(|since| {
            since > SILENCE.as_secs_f64() && peer.trying_for.is_some_and(|time| time > since)
        })
    }

    fn mend(&mut self) {
        let mut faults = Vec::new();
        if let Err(error) = self.laid.network.lay(self.interface.index()) {
            faults.push(format!("a route or rule is missing, and cannot be put back: {error:#}"));
        }
        let held = || kill_switch::list().is_ok_and(|names| names.contains(&self.name));
        if self.laid.kill_switch && !held() {
            tracing::warn!("{}: the kill switch was taken away by somebody; it is put back", self.name);
            if let Err(error) = kill_switch::lay(&self.name, MARK) {
                faults.push(format!("the kill switch is gone, and cannot be put back: {error}"));
            }
        }
        faults.extend(self.faults.drain(..).filter(|fault| fault.starts_with("the site's names")));
        self.faults = faults;
    }

    /// Remembers what the next life needs.
    fn remember(&mut self, report: &status::Wireguard) {
        let before = self.memory.clone();
        let last = report.peers.iter().filter_map(|peer| peer.latest_handshake).reduce(f64::max);
        // Not that of an earlier life, which may have had another clock: what is new counts.
        self.memory.wall_of_handshake = last.or(self.memory.wall_of_handshake);
        if self.memory != before {
            self.keep_memory();
        }
    }

    pub(super) fn keep_memory(&self) {
        if let Err(error) = places::write_record(&memory_file(&self.places, &self.name), &self.memory) {
            tracing::warn!("{}: {error:#}", self.name);
        }
    }

    /// Looks for gateways that do not answer at their other places.
    fn place(&mut self, report: &status::Wireguard, now: Time) {
        let names = self.memory.names.clone();
        for (gateway, endpoints) in self.profile.gateways.iter().zip(&mut self.endpoints) {
            let key = gateway.public_key.to_base64();
            let Some(peer) = report.peers.iter().find(|peer| peer.public_key == key) else { continue };
            let at = peer.endpoint.as_deref().and_then(|endpoint| endpoint.parse().ok());
            let silent = Duration::from_secs_f64(peer.trying_for.unwrap_or(0.0).max(0.0));
            let Some(next) = endpoints.poll(at, silent, &mut self.memory, now) else { continue };
            tracing::info!("{}: the gateway is looked for at {next}", self.name);
            let change = PeerChange { update_only: true, endpoint: Some(next), ..PeerChange::default() };
            if let Err(error) =
                self.interface.remote().configure(vec![Change::Peer(gateway.public_key, change)])
            {
                tracing::error!("{}: {next}: {error}", self.name);
            }
        }
        if names != self.memory.names {
            self.keep_memory();
        }
    }
}

/// Makes a profile what is wished for.
///
/// # Errors
/// It cannot be.
pub(super) fn fit(profile: &mut Profile, wishes: Wishes) -> Result<()> {
    if wishes.full_tunnel {
        profile.fill().map_err(Wrong)?;
    }
    Ok(())
}

/// What an interface is told so that it is as a profile says, with each gateway at its place.
fn changes(profile: &Profile, places: &[Option<SocketAddr>]) -> Vec<Change> {
    let mut changes = vec![
        Change::ListenPort(profile.listen_port),
        Change::Fwmark(MARK),
        Change::PrivateKey(Some(profile.private_key.clone())),
    ];
    let peer = |(gateway, place): (&Gateway, &Option<SocketAddr>)| {
        let change = PeerChange {
            preshared_key: Some(gateway.preshared_key.clone()),
            endpoint: *place,
            persistent_keepalive: Some(gateway.keepalive),
            allowed_ips: gateway.routes.iter().map(|route| (true, *route)).collect(),
            ..PeerChange::default()
        };
        Change::Peer(gateway.public_key, change)
    };
    changes.extend(profile.gateways.iter().zip(places).map(peer));
    changes
}

/// Where a tunnel's memory is.
#[must_use]
pub(super) fn memory_file(places: &Places, name: &str) -> PathBuf {
    places.beside(name, MEMORY)
}

/// An error of the system without its number.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.clone(), |(words, _)| words.to_owned())
}
