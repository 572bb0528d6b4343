//! Endpoints that are names: resolved when a tunnel starts, and again when the peer does not answer where it is looked for.
//! One that cannot be resolved at first is looked for where it was last.
//!
//! The system's resolver may take its time, so each question has a thread of its own; a peer has one question at most.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::time::Duration;

use adit_noise::Time;

use super::memory::{self, Memory};

/// Pauses between questions for a name that has no answer: this long at first, twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A handshake that got no answer for so long means that the peer may be elsewhere: three initiations.
pub(super) const SILENCE: Duration = Duration::from_secs(15);
/// Threads that ask at a time.
const QUESTIONS: usize = 16;

/// A peer of a tunnel, both by name.
pub(super) type PeerName = (String, String);

/// What is known of one name.
#[derive(Debug)]
struct Name {
    host: String,
    port: u16,
    /// When it is asked for next; `None` while a question is on its way, or none is needed.
    due: Option<Time>,
    asking: bool,
    pause: Duration,
    answered: Option<Time>,
    error: Option<String>,
}

/// An answer: the addresses of a peer, or what is wrong.
type Answer = (PeerName, (String, u16), Result<Vec<SocketAddr>, String>);

/// All names of the configuration.
#[derive(Debug)]
pub(super) struct Resolver {
    names: BTreeMap<PeerName, Name>,
    answers: (mpsc::Sender<Answer>, mpsc::Receiver<Answer>),
    memory: Memory,
}

impl Resolver {
    /// Without names, but with a memory.
    pub(super) fn new(memory: Memory) -> Self {
        Self { names: BTreeMap::new(), answers: mpsc::channel(), memory }
    }

    /// Takes up the names of a tunnel's peers, and forgets the others of that tunnel. A name that is known already, with the
    /// same port, is left as it is.
    pub(super) fn retain(&mut self, tunnel: &str, wanted: &BTreeMap<String, (String, u16)>, now: Time) {
        let same = |name: &Name, wanted: &(String, u16)| (&name.host, name.port) == (&wanted.0, wanted.1);
        self.names.retain(|(of, peer), name| {
            of != tunnel || wanted.get(peer).is_some_and(|wanted| same(name, wanted))
        });
        for (peer, (host, port)) in wanted {
            self.names.entry((tunnel.to_owned(), peer.clone())).or_insert_with(|| Name {
                host: host.clone(),
                port: *port,
                due: Some(now),
                asking: false,
                pause: FIRST_PAUSE,
                answered: None,
                error: None,
            });
        }
    }

    /// Whether a name of a tunnel has had neither an answer nor an error yet.
    pub(super) fn awaits(&self, tunnel: &str) -> bool {
        self.names
            .iter()
            .any(|((of, _), name)| of == tunnel && name.answered.is_none() && name.error.is_none())
    }

    /// A peer has not answered a handshake for [`SILENCE`]: it may be elsewhere by now.
    pub(super) fn doubt(&mut self, peer: &PeerName, now: Time) {
        if let Some(name) = self.names.get_mut(peer)
            && name.due.is_none()
            && !name.asking
            && name.answered.is_none_or(|at| now.since(at) >= SILENCE)
        {
            name.due = Some(now);
        }
    }

    /// The name of a peer, `host:port`, and what is wrong with it.
    pub(super) fn of(&self, peer: &PeerName) -> Option<(String, Option<&str>)> {
        let name = self.names.get(peer)?;
        Some((format!("{}:{}", name.host, name.port), name.error.as_deref()))
    }

    /// Asks for what is due, and gives out the answers that came: where peers are now.
    pub(super) fn poll(&mut self, now: Time) -> Vec<(PeerName, Vec<SocketAddr>)> {
        let mut found = Vec::new();
        while let Ok((peer, asked, answer)) = self.answers.1.try_recv() {
            // The name may have changed since it was asked for.
            let same = |name: &&mut Name| (&name.host, name.port) == (&asked.0, asked.1);
            let Some(name) = self.names.get_mut(&peer).filter(same) else { continue };
            name.asking = false;
            match answer {
                Ok(addresses) => {
                    (name.error, name.pause, name.answered) = (None, FIRST_PAUSE, Some(now));
                    self.remember(&asked, &addresses);
                    found.push((peer, addresses));
                }
                Err(error) => {
                    if name.error.as_ref() != Some(&error) {
                        tracing::error!("{}: peer {}: endpoint {}: {error}", peer.0, peer.1, name.host);
                    }
                    let first = name.error.replace(error).is_none() && name.answered.is_none();
                    name.due = Some(now + name.pause);
                    name.pause = (name.pause * 2).min(LONGEST_PAUSE);
                    let known = self.memory.of(&asked.0, asked.1).filter(|_| first);
                    found.extend(known.map(|known| (peer, known.to_vec())));
                }
            }
        }
        let mut asking = self.names.values().filter(|name| name.asking).count();
        for (peer, name) in &mut self.names {
            if asking < QUESTIONS && name.due.is_some_and(|due| due <= now) {
                (name.due, name.asking) = (None, true);
                asking += 1;
                ask(peer.clone(), name.host.clone(), name.port, self.answers.0.clone());
            }
        }
        found
    }

    fn remember(&mut self, asked: &(String, u16), addresses: &[SocketAddr]) {
        if self.memory.of(&asked.0, asked.1) == Some(addresses) {
            return;
        }
        let names: BTreeSet<_> = self.names.values().map(|name| memory::key(&name.host, name.port)).collect();
        if let Err(error) = self.memory.keep(&asked.0, asked.1, addresses, |name| names.contains(name)) {
            tracing::warn!("cannot remember where {} is: {error}", asked.0);
        }
    }
}

fn ask(peer: PeerName, host: String, port: u16, answers: mpsc::Sender<Answer>) {
    let (again, name, back) = (peer.clone(), host.clone(), answers.clone());
    let question = move || {
        let answer = match (host.as_str(), port).to_socket_addrs() {
            Ok(addresses) if addresses.len() > 0 => Ok(addresses.collect()),
            Ok(_) => Err("the name has no address".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        // Nobody waits once the gateway ends.
        let _ = answers.send((peer, (host, port), answer));
    };
    if let Err(error) = std::thread::Builder::new().name("resolver".into()).spawn(question) {
        let _ = back.send((again, (name, port), Err(error.to_string())));
    }
}

/// The address to try in place of `now`: the one after it if it is `silent`, so that each has its turn. `None` if the peer is
/// well where it is.
pub(super) fn next(addresses: &[SocketAddr], now: Option<SocketAddr>, silent: bool) -> Option<SocketAddr> {
    let at = now.and_then(|now| addresses.iter().position(|address| *address == now));
    let next = match at {
        Some(_) if !silent => None,
        Some(at) => addresses.get((at + 1) % addresses.len()),
        None => addresses.first(),
    };
    next.copied().filter(|next| now != Some(*next))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_nanos(1_000_000_000_000);

    fn peer() -> PeerName {
        ("wg0".into(), "a".into())
    }

    fn with(host: &str) -> Resolver {
        let mut resolver = Resolver::new(Memory::default());
        resolver.retain("wg0", &[("a".to_owned(), (host.to_owned(), 51820))].into(), NOW);
        resolver
    }

    fn answer(resolver: &Resolver, answer: Result<Vec<SocketAddr>, String>) {
        let name = &resolver.names[&peer()];
        resolver.answers.0.send((peer(), (name.host.clone(), name.port), answer)).unwrap();
    }

    /// As if it had been asked for.
    fn asked(resolver: &mut Resolver) {
        let name = resolver.names.get_mut(&peer()).unwrap();
        (name.due, name.asking) = (None, true);
    }

    #[test]
    fn a_name_is_resolved_by_the_system() {
        let mut resolver = with("localhost");
        for _ in 0..500 {
            if let Some((found, addresses)) = resolver.poll(NOW).pop() {
                assert_eq!(found, peer());
                assert!(
                    addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 51820)
                );
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("localhost was not resolved");
    }

    #[test]
    fn a_name_without_an_answer_is_asked_for_ever_more_seldom() {
        let mut resolver = with("x");
        let mut pauses = Vec::new();
        let mut now = NOW;
        for _ in 0..8 {
            asked(&mut resolver);
            answer(&resolver, Err("no".into()));
            assert!(resolver.poll(now).is_empty());
            let due = resolver.names[&peer()].due.unwrap();
            pauses.push(due.since(now).as_secs());
            now = due;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(resolver.of(&peer()), Some(("x:51820".to_owned(), Some("no"))));
    }

    #[test]
    fn a_name_that_cannot_be_resolved_leads_where_it_led_last() {
        let mut resolver = with("x");
        let addresses: Vec<SocketAddr> = vec!["192.0.2.1:51820".parse().unwrap()];
        resolver.memory.keep("x", 51820, &addresses, |_| true).unwrap();
        asked(&mut resolver);
        answer(&resolver, Err("no".into()));
        assert_eq!(resolver.poll(NOW), [(peer(), addresses)]);
        asked(&mut resolver);
        answer(&resolver, Err("no".into()));
        assert!(
            resolver.poll(NOW).is_empty(),
            "it is told once: a peer that has moved since is not moved back"
        );
    }

    #[test]
    fn a_silent_peer_is_looked_up_again_but_not_without_end() {
        let mut resolver = with("x");
        asked(&mut resolver);
        answer(&resolver, Ok(vec!["192.0.2.1:1".parse().unwrap()]));
        assert_eq!(resolver.poll(NOW).len(), 1);
        resolver.doubt(&peer(), NOW + Duration::from_secs(5));
        assert_eq!(resolver.names[&peer()].due, None, "it was answered just now");
        let later = NOW + SILENCE;
        resolver.doubt(&peer(), later);
        assert_eq!(resolver.names[&peer()].due, Some(later));
    }

    #[test]
    fn an_answer_to_a_name_that_changed_is_nothing() {
        let mut resolver = with("x");
        asked(&mut resolver);
        answer(&resolver, Ok(vec!["192.0.2.1:1".parse().unwrap()]));
        resolver.retain("wg0", &[("a".to_owned(), ("y".to_owned(), 51820))].into(), NOW);
        asked(&mut resolver);
        assert!(resolver.poll(NOW).is_empty());
        resolver.retain("wg0", &BTreeMap::new(), NOW);
        assert!(!resolver.awaits("wg0"));
    }

    #[test]
    fn each_address_has_its_turn() {
        let all: Vec<SocketAddr> = ["192.0.2.1:1", "192.0.2.2:1"].map(|text| text.parse().unwrap()).into();
        assert_eq!(next(&all, None, false), Some(all[0]));
        assert_eq!(next(&all, Some(all[0]), true), Some(all[1]));
        assert_eq!(next(&all, Some(all[1]), true), Some(all[0]));
        assert_eq!(next(&all, Some("192.0.2.9:1".parse().unwrap()), true), Some(all[0]));
        assert_eq!(next(&all[..1], Some(all[0]), true), None);
        assert_eq!(next(&[], None, false), None);
    }

    #[test]
    fn a_peer_that_answers_at_one_of_its_addresses_stays_there() {
        let all: Vec<SocketAddr> = ["192.0.2.1:1", "192.0.2.2:1"].map(|text| text.parse().unwrap()).into();
        assert_eq!(next(&all, Some(all[0]), false), None);
        assert_eq!(next(&all, Some(all[1]), false), None);
        let elsewhere = Some("192.0.2.9:1".parse().unwrap());
        assert_eq!(next(&all, elsewhere, false), Some(all[0]), "the name says otherwise");
    }
}
