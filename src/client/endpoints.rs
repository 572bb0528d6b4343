//! Where a gateway may be: addresses of the profile, and those that its names lead to, each in its turn.
//!
//! Names are looked up when the tunnel is set up, and again when nobody answers: the gateway may be elsewhere. With a full
//! tunnel the system's resolver may be behind the gateway that is looked for; then it is looked for where it was last. Where
//! no route leads to an address of IPv4, what a NAT64 makes of it is tried as well.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use adit_noise::Time;
use serde::{Deserialize, Serialize};

use super::nat64;
use super::network::MARK;
use super::token::pin::Stamp;
use crate::config::EndpointName;
use crate::net::path;
use crate::store::Wall;

/// Nobody answers at an address for so long: the next has its turn.
const TURN: Duration = Duration::from_secs(6);
/// Nobody answers anywhere for so long: the names are looked up again, and not more often than that.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// What is remembered of a profile's gateways.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Memory {
    /// Where names led, by `host:port`.
    #[serde(default)]
    pub(super) names: BTreeMap<String, Vec<SocketAddr>>,
    /// This machine's clock at the last handshake, in seconds since 1970.
    #[serde(default)]
    pub(super) wall_of_handshake: Option<f64>,
    /// By how many seconds the clock was ahead of the gateway's when a lease was got last.
    #[serde(default)]
    pub(super) skew: Option<f64>,
    /// The file with a PIN that the token refused.
    #[serde(default)]
    pub(super) refused_pin: Option<Stamp>,
    /// When a renewal by a token began that has not ended, in seconds since 1970.
    #[serde(default)]
    pub(super) renewing: Option<Wall>,
}

/// What a look-up found.
type Found = Vec<(String, Result<Vec<SocketAddr>, String>)>;

/// The places of one gateway.
#[derive(Debug)]
pub(super) struct Endpoints {
    names: Vec<EndpointName>,
    known: Vec<SocketAddr>,
    asking: Option<Receiver<Found>>,
    /// When names were looked up last, and when the last place had its turn.
    looked: Time,
    turned: Time,
    error: Option<String>,
}

impl Endpoints {
    /// The places of a gateway. Names are looked up from now on.
    #[must_use]
    pub(super) fn new(names: &[EndpointName], now: Time) -> Self {
        let mut endpoints = Self {
            names: names.to_vec(),
            known: Vec::new(),
            asking: None,
            looked: now,
            turned: now,
            error: None,
        };
        endpoints.known = endpoints.with(&BTreeMap::new());
        endpoints.ask();
        endpoints
    }

    /// Waits for the look-up for so long; then what is remembered has to do. The place to begin with.
    pub(super) fn first(&mut self, patience: Duration, memory: &mut Memory) -> Option<SocketAddr> {
        // A NAT64 is a guess: a resolver that is silent is not waited for as long as for a name.
        let named = self.names.iter().any(|name| matches!(name, EndpointName::Dns { .. }));
        let patience = if named { patience } else { patience / 3 };
        if let Some(answer) = &self.asking
            && let Ok(found) = answer.recv_timeout(patience)
        {
            self.take(found, memory);
        }
        self.known = self.with(&memory.names);
        let reachable = self.known.iter().find(|place| path::mtu(**place, MARK).is_ok());
        reachable.or(self.known.first()).copied()
    }

    /// The place to go to in place of `at`, where there has been no answer for `silent`; `None` to stay.
    pub(super) fn poll(
        &mut self,
        at: Option<SocketAddr>,
        silent: Duration,
        memory: &mut Memory,
        now: Time,
    ) -> Option<SocketAddr> {
        if let Some(found) = self.asking.as_ref().and_then(|answer| answer.try_recv().ok()) {
            self.take(found, memory);
            self.known = self.with(&memory.names);
        }
        if (silent >= LOOK_AGAIN || at.is_none()) && now.since(self.looked) >= LOOK_AGAIN {
            self.looked = now;
            self.ask();
        }
        let turn = at.is_none() || (silent >= TURN && now.since(self.turned) >= TURN);
        let next = self.next(at).filter(|_| turn)?;
        self.turned = now;
        Some(next)
    }

    /// Why there is no place.
    #[must_use]
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// The one after this; those to which no route leads are passed over.
    fn next(&self, at: Option<SocketAddr>) -> Option<SocketAddr> {
        let from = self.known.iter().position(|place| Some(*place) == at).map_or(0, |index| index + 1);
        let turns = self.known.iter().cycle().skip(from).take(self.known.len());
        turns.copied().find(|place| Some(*place) != at && path::mtu(*place, MARK).is_ok())
    }

    /// All places, in the profile's order.
    fn with(&self, names: &BTreeMap<String, Vec<SocketAddr>>) -> Vec<SocketAddr> {
        let prefixes = names.get(nat64::NAME).cloned().unwrap_or_default();
        let places = self.names.iter().flat_map(|name| match name {
            EndpointName::Address(address) => {
                let behind = prefixes.iter().filter_map(|prefix| behind(*prefix, *address));
                [*address].into_iter().chain(behind).collect()
            }
            EndpointName::Dns { .. } => names.get(&name.to_string()).cloned().unwrap_or_default(),
        });
        places.collect()
    }

    fn take(&mut self, found: Found, memory: &mut Memory) {
        self.asking = None;
        self.error = None;
        for (name, answer) in found {
            match answer {
                Ok(places) => drop(memory.names.insert(name, places)),
                // There is no NAT64; a gateway without any name has none that is wrong.
                Err(_) if name == nat64::NAME => drop(memory.names.remove(&name)),
                Err(error) => self.error = Some(error),
            }
        }
    }

    fn ask(&mut self) {
        let leads = |address: &SocketAddr| path::mtu(*address, MARK).is_ok();
        let works = |name: &EndpointName| matches!(name, EndpointName::Address(address) if leads(address));
        let any = self.names.iter().any(works);
        let names = self.names.iter().filter_map(|name| match name {
            // Where one of the addresses works nobody is asked.
            EndpointName::Address(address) if address.is_ipv4() && !any => {
                Some((nat64::NAME.to_owned(), nat64::NAME.to_owned(), address.port()))
            }
            EndpointName::Address(_) => None,
            EndpointName::Dns { host, port } => Some((name.to_string(), host.clone(), *port)),
        });
        let names: Vec<_> = names.collect();
        if names.is_empty() || self.asking.is_some() {
            return;
        }
        let (answer, asking) = mpsc::channel();
        // The system's resolver may take its time.
        let question = move || {
            let found = names.into_iter().map(|(name, host, port)| (name, look_up(&host, port)));
            // Nobody waits once the client ends.
            let _ = answer.send(found.collect());
        };
        match thread::Builder::new().name("resolver".into()).spawn(question) {
            Ok(_) => self.asking = Some(asking),
            Err(error) => self.error = Some(error.to_string()),
        }
    }
}

/// Where an address of IPv4 is behind a NAT64, if `found` is where its known name is.
fn behind(found: SocketAddr, address: SocketAddr) -> Option<SocketAddr> {
    let (IpAddr::V6(found), IpAddr::V4(v4)) = (found.ip(), address.ip()) else { return None };
    Some(SocketAddr::new(nat64::synthesise(found, v4)?.into(), address.port()))
}

fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    match (host, port).to_socket_addrs() {
        Ok(places) if places.len() > 0 => Ok(places.collect()),
        Ok(_) => Err("the name has no address".into()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::isolated::isolated;

    const NOW: Time = Time::from_nanos(1_000_000_000_000);
    const PATIENCE: Duration = Duration::from_secs(5);

    fn names(texts: &[&str]) -> Vec<EndpointName> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn place(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_place_has_its_turn_when_nobody_answers() {
        isolated(|| {
            let mut memory = Memory::default();
            let mut endpoints =
                Endpoints::new(&names(&["127.0.0.1:1", "198.51.100.1:1", "127.0.0.2:1"]), NOW);
            let first = endpoints.first(PATIENCE, &mut memory);
            assert_eq!(first, Some(place("127.0.0.1:1")));
            let mut poll = |at, silent, later| {
                endpoints.poll(at, Duration::from_secs(silent), &mut memory, NOW + Duration::from_secs(later))
            };
            assert_eq!(poll(first, 0, 100), None, "it answers");
            let second = poll(first, 6, 100);
            assert_eq!(second, Some(place("127.0.0.2:1")), "nothing leads to the one between");
            assert_eq!(poll(second, 8, 102), None, "it has its time");
            assert_eq!(poll(second, 12, 106), first);
        });
    }

    #[test]
    fn a_name_leads_where_it_led_last_if_it_cannot_be_looked_up() {
        isolated(|| {
            let mut memory = Memory::default();
            memory.names.insert("gate.invalid:7".into(), vec![place("127.0.0.9:7")]);
            let mut endpoints = Endpoints::new(&names(&["gate.invalid:7"]), NOW);
            assert_eq!(endpoints.first(PATIENCE, &mut memory), Some(place("127.0.0.9:7")));
            assert!(endpoints.error().is_some());
            let mut nowhere = Endpoints::new(&names(&["gate.invalid:7"]), NOW);
            assert_eq!(nowhere.first(PATIENCE, &mut Memory::default()), None);
        });
    }

    #[test]
    fn an_address_of_ipv4_is_also_looked_for_behind_a_nat64() {
        isolated(|| {
            let mut memory = Memory::default();
            memory
                .names
                .insert(nat64::NAME.into(), vec![place("192.0.0.170:7"), place("[64:ff9b::c000:aa]:7")]);
            let endpoints = Endpoints::new(&names(&["198.51.100.1:7", "[2001:db8::1]:7"]), NOW);
            let all = [place("198.51.100.1:7"), place("[64:ff9b::c633:6401]:7"), place("[2001:db8::1]:7")];
            assert_eq!(endpoints.with(&memory.names), all);
        });
    }

    #[test]
    fn what_a_name_led_to_is_remembered() {
        isolated(|| {
            let mut memory = Memory::default();
            let mut endpoints = Endpoints::new(&names(&["localhost:7"]), NOW);
            let first = endpoints.first(PATIENCE, &mut memory).unwrap();
            assert!(first.ip().is_loopback());
            assert!(memory.names["localhost:7"].contains(&first));
        });
    }
}
