//! What ends TLS: how it changes with the configuration, how it ends, and what it tells.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};

use super::{Drain, Gateway, warnings};
use crate::clock;
use crate::config::{Config, Tls};
use crate::status;
use crate::status::tls::{AccessLog, Backend, Certificate, Checks, ClientCertificates, Http, Name, Route};
use crate::tls::clients::Mode;
use crate::tls::health::Record;
use crate::tls::http::Rules;
use crate::tls::lookup::{self, Found};
use crate::tls::routes;
use crate::tls::terminator::Terminator;
use crate::tls::upstream::Upstream;

/// How long connections may stay when the daemon ends, and how often is looked.
const STOPPING: Duration = Duration::from_secs(3);
const GLANCE: Duration = Duration::from_millis(20);
/// A day, in seconds.
const DAY: f64 = 86_400.0;

/// The tables by what becomes of them; those that stay as they are are in none of the lists.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Tables {
    pub(super) added: Vec<String>,
    pub(super) removed: Vec<String>,
    pub(super) changed: Vec<String>,
}

impl Tables {
    /// Compares.
    ///
    /// # Errors
    /// A certificate that is not valid would take the place of one that is.
    pub(super) fn new(old: &Config, new: &Config) -> Result<Self, String> {
        let (before, after) = (&old.tls, &new.tls);
        let changed: Vec<_> =
            after.keys().filter(|name| before.get(*name).is_some_and(|old| *old != after[*name])).collect();
        let now = clock::both().wall.as_secs() as i64;
        for name in &changed {
            worse(name, &before[*name], &after[*name], now).map_or(Ok(()), Err)?;
        }
        Ok(Self {
            added: after.keys().filter(|name| !before.contains_key(*name)).cloned().collect(),
            removed: before.keys().filter(|name| !after.contains_key(*name)).cloned().collect(),
            changed: changed.into_iter().cloned().collect(),
        })
    }
}

/// In what a certificate is worse than the one that it would take the place of.
fn worse(name: &str, old: &Tls, new: &Tls, now: i64) -> Option<String> {
    let bad = new.certificates.iter().find(|one| {
        let better = |old: &Tls| {
            let same = old.certificates.iter().filter(|old| old.value.patterns() == one.value.patterns());
            same.into_iter().any(|old| old.value.is_valid(now))
        };
        !one.value.is_valid(now) && better(old) && !better(new)
    })?;
    let file = bad.file.display();
    Some(format!("{name}: the certificate in {file} is not valid now, and the one in use is"))
}

/// Lets the daemon have as many files open as it may: each connection has two.
pub(super) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("cannot raise the number of open files: {error}");
    }
}

impl Gateway {
    /// What is due from time to time.
    pub(super) fn look_after_terminators(&mut self) {
        self.terminators.values_mut().for_each(Terminator::look_after);
        self.leaving.iter_mut().for_each(Terminator::look_after);
        self.leaving.retain(|leaving| !leaving.is_over());
    }

    /// Accepts nothing more at one of them or all, or again. How many connections each of these has.
    ///
    /// # Errors
    /// There is no such table, or an address cannot be had again.
    pub(super) fn drain(&mut self, wanted: &Drain) -> Result<BTreeMap<String, u64>, String> {
        let Drain { name, undo } = wanted;
        let there = || self.terminators.keys().cloned().collect::<Vec<_>>().join(", ");
        if self.terminators.is_empty() {
            return Err("there is no [tls.NAME] that could drain".to_owned());
        }
        if let Some(name) = name.as_ref().filter(|name| !self.terminators.contains_key(*name)) {
            return Err(format!("there is no [tls.{name}]; there is {}", there()));
        }
        let mut left = BTreeMap::new();
        for (of, terminator) in &mut self.terminators {
            if name.as_ref().is_some_and(|name| name != of) {
                continue;
            }
            match self.config.tls.get(of).filter(|_| *undo) {
                Some(config) => terminator.resume(config)?,
                None => terminator.hold(),
            }
            left.insert(of.clone(), terminator.totals().open);
        }
        let names: Vec<_> = left.keys().cloned().collect();
        let what = if *undo { "accept connections again" } else { "accept no more connections" };
        tracing::info!("{}: {what}", names.join(", "));
        Ok(left)
    }

    /// Ends all of them. Connections may end by themselves for a short time.
    pub(super) fn stop_terminators(&mut self) {
        self.leaving.extend(std::mem::take(&mut self.terminators).into_values());
        self.leaving.iter_mut().for_each(|leaving| leaving.drain(Some(STOPPING)));
        let begin = Instant::now();
        while begin.elapsed() < STOPPING && !self.leaving.iter().all(Terminator::is_over) {
            std::thread::sleep(GLANCE);
        }
    }

    /// What they tell.
    pub(super) fn terminators_overview(&self) -> BTreeMap<String, status::Tls> {
        let of = |(name, terminator): (&String, &Terminator)| {
            Some((name.clone(), overview(self.config.tls.get(name)?, terminator)))
        };
        self.terminators.iter().filter_map(of).collect()
    }
}

fn overview(config: &Tls, terminator: &Terminator) -> status::Tls {
    let now = clock::both().wall.as_secs() as i64;
    let totals = terminator.totals();
    let rules = terminator.rules();
    let texts = |all: &mut dyn Iterator<Item = String>| all.collect::<Vec<_>>();
    let certificates = config.certificates.iter().map(|loaded| {
        let (value, until) = (&loaded.value, loaded.value.validity().until);
        Certificate {
            file: loaded.file.display().to_string(),
            names: texts(&mut value.patterns().iter().map(ToString::to_string)),
            until: until as f64,
            days_left: (until - now) as f64 / DAY,
            stapled: value.is_stapled(),
        }
    });
    let routes = config.routes.iter().map(|(name, route)| {
        let running = rules.routes.get(name);
        let shown = Route {
            sni: texts(&mut route.sni.iter().map(ToString::to_string)),
            pass_through: route.pass_through,
            proxy_protocol: route.proxy.map(|version| version.to_string()),
            backend_tls: route.backend_tls.is_some(),
            names: running.map(|route| names(route)).unwrap_or_default(),
            http: running.and_then(|route| route.settings.http.as_deref()).map(http),
            backends: running.map(|route| backends(route)).unwrap_or_default(),
        };
        (name.clone(), shown)
    });
    let client_certificates = config.clients.as_ref().map(|clients| ClientCertificates {
        mode: match clients.mode {
            Mode::Required => "required".to_owned(),
            Mode::Optional => "optional".to_owned(),
        },
        allow: texts(&mut clients.allow.iter().map(ToString::to_string)),
        lists_until: clients.verifier.value.until().map(|until| until as f64),
    });
    let keys = if config.ticket_keys.is_some() { "file" } else { "own" };
    let failures = totals.failures.iter().filter(|(_, count)| **count > 0);
    let mut shown = status::Tls {
        listen: texts(&mut config.listen.iter().map(ToString::to_string)),
        policy: config.policy.to_string(),
        alpn: config.alpn.clone(),
        client_certificates,
        tickets: terminator.tickets().map(|_| keys.to_owned()),
        certificates: certificates.collect(),
        routes: routes.collect(),
        open: totals.open,
        connections: totals.accepted,
        full_handshakes: totals.full,
        resumed_handshakes: totals.resumed,
        passed_through: totals.passed,
        turned_away: totals.crowded,
        received_bytes: totals.upward,
        sent_bytes: totals.downward,
        failures: failures.map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
        draining: terminator.is_held(),
        access_log: rules.access_log.as_ref().map(|log| AccessLog {
            file: log.settings.file.display().to_string(),
            written: log.written(),
            lost: log.lost(),
            error: log.error(),
        }),
        warnings: Vec::new(),
    };
    let stale = terminator.tickets().is_some_and(crate::tls::tickets::Tickets::is_stale);
    shown.warnings = warnings::tls::of(config, &shown, stale, now);
    shown
}

fn names(route: &routes::Route) -> Vec<Name> {
    let of = |name: &std::sync::Arc<lookup::Name>| {
        let Found { addresses, error } = name.found();
        Name { name: format!("{}:{}", name.host, name.port), addresses: addresses.len() as u64, error }
    };
    route.names().map(of).collect()
}

fn http(rules: &Rules) -> Http {
    let counters = &rules.counters;
    Http {
        requests: counters.classes().map(|(class, count)| (class.to_owned(), count)).collect(),
        left: counters.left(),
        retried: counters.retried(),
        seconds: counters.seconds(),
        buckets: counters.buckets(),
    }
}

fn backends(route: &routes::Route) -> Vec<Backend> {
    let now = clock::now().as_nanos();
    let of = |upstream: &std::sync::Arc<Upstream>| {
        let checks = route.settings.check.as_ref().map(|_| {
            let Record { passed, failed, changes, error, .. } = upstream.health.record();
            Checks { up: !upstream.health.is_down(), passed, failed, changes, error }
        });
        let share = route.settings.slow_start.map(|period| upstream.health.share(period, now));
        Backend {
            address: upstream.address.to_string(),
            name: upstream.name.as_ref().map(|name| name.host.clone()),
            open: upstream.open(),
            connections: upstream.taken(),
            failures: upstream.failed(),
            failing: upstream.is_failing(),
            error: upstream.error(),
            checks,
            share: share.filter(|share| *share < 1.0),
        }
    };
    route.backends().iter().map(of).collect()
}
