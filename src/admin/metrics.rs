//! The metrics, as Prometheus and whatever understands its formats wants them.
//!
//! What every WireGuard exporter has keeps the names that dashboards know. What is ours begins with `adit_`.

mod exposition;
mod links;
mod process;
#[cfg(test)]
mod query_tests;
#[cfg(test)]
pub(crate) mod strict;
#[cfg(test)]
mod tests;
mod tls;

use std::collections::BTreeMap;
use std::fmt;
use std::net::TcpListener;
use std::sync::Arc;

use anyhow::{Context, Result};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;

use self::exposition::{Exposition, Labels, Value};
use self::process::Process;
use crate::config;
use crate::datapath::Reason;
use crate::status::{Batches, Clients, Macsec, State, Status, Wireguard, Worker};

/// The content type of [`render`].
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The content type of [`render_text`].
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Buckets of batch sizes, but for the last without an end: 1 packet, 2 to 3, up to 4,096 to 8,191, which is more than a
/// batch has room for. Always all of them: a series that comes and goes has no rate.
const BUCKETS: usize = 13;

/// Opens the address for metrics. To be called with the privileges that a port below 1024 takes.
///
/// # Errors
/// What the system says.
pub fn bind(config: &config::Metrics) -> Result<TcpListener> {
    TcpListener::bind(config.listen).with_context(|| format!("metrics.listen: {}", config.listen))
}

/// The metrics in the format of OpenMetrics 1.0.
#[must_use]
pub fn render(status: &Arc<Status>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Metrics { status: status.clone(), process: Process::read() }));
    let mut text = String::new();
    // A string takes everything.
    let _ = text::encode(&mut text, &registry);
    text
}

/// The metrics in Prometheus' own text format 0.0.4, where a counter's family has the name of its samples.
#[must_use]
pub fn render_text(status: &Arc<Status>) -> String {
    let open = render(status);
    let mut text = String::with_capacity(open.len() + 1_024);
    let mut help: Option<(&str, &str)> = None;
    for line in open.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some((_, words)) = help.take() {
                text += &format!("# HELP {name}{suffix} {words}\n");
            }
            text += &format!("# TYPE {name}{suffix} {kind}\n");
        } else {
            text += line;
            text.push('\n');
        }
    }
    text
}

#[derive(Debug)]
struct Metrics {
    status: Arc<Status>,
    process: Process,
}

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut out = Exposition::new(encoder);
        self.peers(&mut out)?;
        self.tunnels(&mut out)?;
        self.batches(&mut out)?;
        self.links(&mut out)?;
        self.terminators(&mut out)?;
        self.clients(&mut out)?;
        self.gateway(&mut out)?;
        self.process(&mut out)
    }
}

impl Metrics {
    /// What prometheus_wireguard_exporter calls so.
    fn peers(&self, out: &mut Exposition<'_>) -> fmt::Result {
        let mut all = Vec::new();
        for (tunnel, wireguard) in &self.status.wireguard {
            for peer in &wireguard.peers {
                let labels: Labels = vec![
                    ("interface", tunnel.clone()),
                    ("public_key", peer.public_key.clone()),
                    ("allowed_ips", peer.allowed_ips.join(",")),
                    ("friendly_name", peer.name.clone().unwrap_or_default()),
                ];
                all.push((labels, peer));
            }
        }
        let each = || all.iter().map(|(labels, peer)| (labels.clone(), *peer));
        out.counter(
            "wireguard_sent_bytes",
            "Bytes sent to the peer, in UDP payloads",
            each().map(|(labels, peer)| (labels, Value::Whole(peer.sent_bytes))),
        )?;
        out.counter(
            "wireguard_received_bytes",
            "Bytes received from the peer, in authentic UDP payloads",
            each().map(|(labels, peer)| (labels, Value::Whole(peer.received_bytes))),
        )?;
        out.gauge(
            "wireguard_latest_handshake_seconds",
            "When the last handshake with the peer was, in seconds since 1970; 0 if there was none",
            each().map(|(labels, peer)| (labels, Value::Real(peer.latest_handshake.unwrap_or(0.0)))),
        )
    }

    /// What tunnels and links have in common. No two have one name.
    fn tunnels(&self, out: &mut Exposition<'_>) -> fmt::Result {
        let each = |of_tunnel: fn(&Wireguard) -> u64, of_link: fn(&Macsec) -> u64| {
            let tunnels = self.status.wireguard.iter().map(move |(name, tunnel)| (name, of_tunnel(tunnel)));
            let links = self.status.macsec.iter().map(move |(name, link)| (name, of_link(link)));
            tunnels.chain(links).map(|(name, value)| (labels(name), Value::Whole(value)))
        };
        out.gauge(
            "adit_tunnel_up",
            "1 if the tunnel or link carries traffic; 0 if it is down, gone, without a key, or its thread does not answer",
            each(|tunnel| u64::from(tunnel.state == State::Up), |link| u64::from(link.state == State::Up)),
        )?;
        out.counter(
            "adit_handshakes",
            "Handshakes that were completed, with any peer",
            each(
                |tunnel| tunnel.handshakes,
                |link| link.key_agreement.as_ref().map_or(0, |agreement| agreement.handshakes),
            ),
        )?;
        out.gauge(
            "adit_handshake_queue_depth",
            "Handshake messages that wait to be looked at",
            each(
                |tunnel| tunnel.handshake_queue,
                |link| link.key_agreement.as_ref().map_or(0, |agreement| agreement.handshake_queue),
            ),
        )?;
        let tunnels =
            self.status.wireguard.iter().map(|(name, tunnel)| {
                (name, drops(Reason::of_wireguard().map(Reason::as_str), &tunnel.drops))
            });
        let links = self
            .status
            .macsec
            .iter()
            .map(|(name, link)| (name, drops(Reason::of_macsec().map(Reason::as_str), &link.drops)));
        let all = tunnels.chain(links).flat_map(|(name, dropped)| {
            dropped.into_iter().map(move |(reason, packets)| {
                let labels = vec![("tunnel", name.clone()), ("reason", reason.to_owned())];
                (labels, Value::Whole(packets))
            })
        });
        out.counter("adit_drops", "Packets that were dropped, by reason", all)
    }

    fn batches(&self, out: &mut Exposition<'_>) -> fmt::Result {
        let tunnels = self.status.wireguard.iter().map(|(name, tunnel)| (name, &tunnel.workers));
        let links = self.status.macsec.iter().map(|(name, link)| (name, &link.workers));
        let all = tunnels.chain(links).flat_map(|(name, workers): (&String, &Vec<Worker>)| {
            let outward = merged(workers.iter().map(|worker| &worker.outward));
            let inward = merged(workers.iter().map(|worker| &worker.inward));
            [("outward", outward), ("inward", inward)].map(|(direction, histogram)| {
                (vec![("tunnel", name.clone()), ("direction", direction.to_owned())], histogram)
            })
        });
        out.histograms("adit_batch_packets", "Packets that were sealed or opened in one go", all)
    }

    fn clients(&self, out: &mut Exposition<'_>) -> fmt::Result {
        let clients = &self.status.clients;
        let each = |of: fn(&Clients) -> u64| {
            clients.iter().map(move |(name, it)| (labels(name), Value::Whole(of(it))))
        };
        out.gauge("adit_client_leases", "Leases of clients that count now", each(|it| it.leases))?;
        out.gauge("adit_client_lease_capacity", "Leases that there can be", each(|it| it.capacity))?;
        out.counter("adit_client_leases_granted", "Leases granted or renewed", each(|it| it.granted))?;
        out.counter(
            "adit_client_requests_refused",
            "Requests of clients that were refused",
            each(|it| it.refused),
        )?;
        let by = |of: fn(&Clients) -> &BTreeMap<String, u64>| {
            clients.iter().flat_map(move |(name, it)| {
                let count = |(why, count): (&String, &u64)| {
                    (vec![("tunnel", name.clone()), ("reason", why.clone())], Value::Whole(*count))
                };
                of(it).iter().map(count)
            })
        };
        out.counter("adit_client_refusals", "The same by reason", by(|it| &it.refusals))?;
        out.counter(
            "adit_client_connections_lost",
            "Connections to the enrolment API that ended without an answer, by reason",
            by(|it| &it.lost),
        )?;
        out.counter("adit_client_leases_expired", "Leases that ran out", each(|it| it.expired))?;
        out.counter(
            "adit_client_leases_ended",
            "Leases that were ended by an operator, or with a certificate that was revoked",
            each(|it| it.ended),
        )
    }

    fn gateway(&self, out: &mut Exposition<'_>) -> fmt::Result {
        let (status, configuration) = (&self.status, &self.status.configuration);
        let version = vec![("version", status.version.clone())];
        out.gauge("adit_build_info", "Always 1; the version of the daemon", [(version, Value::Whole(1))])?;
        let warnings = status.wireguard.iter().map(|(tunnel, wireguard)| {
            let of_peers = wireguard.peers.iter().map(|peer| peer.warnings.len()).sum::<usize>();
            let of_clients = status.clients.get(tunnel).map_or(0, |clients| clients.warnings.len());
            (labels(tunnel), Value::Whole((wireguard.warnings.len() + of_peers + of_clients) as u64))
        });
        let links = self.status.macsec.iter();
        let links = links.map(|(name, link)| (labels(name), Value::Whole(link.warnings.len() as u64)));
        let tls = self.status.tls.iter();
        let tls = tls.map(|(name, tls)| (labels(name), Value::Whole(tls.warnings.len() as u64)));
        let own = (labels(""), Value::Whole(status.warnings.len() as u64));
        out.gauge(
            "adit_warnings",
            "Warnings of each tunnel, its peers and its clients, of each link, and where TLS ends; those of the gateway itself have no tunnel",
            std::iter::once(own).chain(warnings).chain(links).chain(tls),
        )?;
        let mut single = |name, help, value| out.gauge(name, help, [(Labels::new(), value)]);
        single(
            "adit_config_last_reload_successful",
            "1 if the last reload took effect, or there was none; 0 if it was refused",
            Value::Whole(u64::from(configuration.error.is_none())),
        )?;
        single(
            "adit_config_last_reload_success_timestamp_seconds",
            "When what is in use was loaded, in seconds since 1970",
            Value::Real(configuration.loaded),
        )?;
        let mut single = |name, help, value| out.counter(name, help, [(Labels::new(), Value::Whole(value))]);
        single("adit_config_reloads", "Reloads that took effect", configuration.reloads)?;
        single(
            "adit_config_reload_errors",
            "Reloads that changed nothing because something was wrong",
            configuration.reloads_refused,
        )
    }

    /// The names that every Prometheus client library has.
    fn process(&self, out: &mut Exposition<'_>) -> fmt::Result {
        let process = &self.process;
        let value = |value: Option<Value>| value.map(|value| (Labels::new(), value));
        out.counter(
            "process_cpu_seconds",
            "Processor time used, in seconds",
            value(process.cpu_seconds.map(Value::Real)),
        )?;
        out.gauge(
            "process_resident_memory_bytes",
            "Resident memory in bytes",
            value(process.resident_bytes.map(Value::Whole)),
        )?;
        out.gauge("process_open_fds", "Open file descriptors", value(process.open_fds.map(Value::Whole)))?;
        out.gauge(
            "process_start_time_seconds",
            "When the daemon started, in seconds since 1970",
            value(Some(Value::Real(self.status.started))),
        )
    }
}

fn labels(tunnel: &str) -> Labels {
    vec![("tunnel", tunnel.to_owned())]
}

/// Every reason that is `known`, then any that this version does not know.
fn drops(known: impl Iterator<Item = &'static str>, found: &BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    let mut all: Vec<_> = known.map(|reason| (reason, found.get(reason).copied().unwrap_or(0))).collect();
    for (reason, packets) in found {
        if all.iter().all(|(known, _)| known != reason) {
            all.push((reason, *packets));
        }
    }
    all
}

/// The sum of packets, the number of batches, and how many batches end in each bucket.
type Histogram = (f64, u64, Vec<(f64, u64)>);

fn merged<'a>(workers: impl Iterator<Item = &'a Batches>) -> Histogram {
    let ends = (1..=BUCKETS).map(|power| ((1_u64 << power) - 1) as f64).chain([f64::INFINITY]);
    let mut buckets: Vec<_> = ends.map(|end| (end, 0)).collect();
    let mut packets = 0;
    for worker in workers {
        packets += worker.packets;
        for (at, batches) in worker.sizes.iter().enumerate() {
            buckets[at.min(BUCKETS)].1 += batches;
        }
    }
    (packets as f64, buckets.iter().map(|(_, batches)| batches).sum(), buckets)
}
