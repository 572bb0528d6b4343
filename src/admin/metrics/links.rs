//! Encrypted Ethernet links: the standard's counters, and how old keys are.

use std::fmt;

use adit_macsec::{ReceiveCounters, SecyCounters, TransmitCounters};

use super::exposition::{Exposition, Labels, Value};
use super::{Metrics, labels};
use crate::status::macsec::{Channel, Counters, Link};

impl Metrics {
    pub(super) fn links(&self, out: &mut Exposition<'_>) -> fmt::Result {
        for (name, _) in SecyCounters::default().iter() {
            let all = self.status.macsec.iter();
            let all = all.map(|(tunnel, link)| (labels(tunnel), count(&link.counters, name)));
            counter(out, name, "of each link", all)?;
        }
        let transmit = |name: &'static str| {
            let links = self.status.macsec.iter();
            links.map(move |(tunnel, link)| of_channel(tunnel, &link.transmit, name))
        };
        for (name, _) in TransmitCounters::default().iter() {
            counter(out, name, "of each transmit channel", transmit(name))?;
        }
        for (name, _) in ReceiveCounters::default().iter() {
            let all = self.status.macsec.iter().flat_map(|(tunnel, link)| {
                link.receive.iter().map(move |channel| of_channel(tunnel, channel, name))
            });
            counter(out, name, "of each receive channel", all)?;
        }
        self.keys(out)?;
        self.guards(out)
    }

    /// The association that is sent under. A link without one has no series.
    fn keys(&self, out: &mut Exposition<'_>) -> fmt::Result {
        let sending = || {
            self.status.macsec.iter().filter_map(|(tunnel, link)| {
                Some((labels(tunnel), link.transmit.associations.iter().find(|one| one.in_use)?))
            })
        };
        out.gauge(
            "adit_macsec_transmit_key_age_seconds",
            "For how many seconds the key that is sent with has been there",
            sending().map(|(labels, one)| (labels, Value::Real(one.age))),
        )?;
        out.gauge(
            "adit_macsec_transmit_next_pn",
            "The next packet number under the key that is sent with",
            sending().map(|(labels, one)| (labels, Value::Whole(one.next_pn))),
        )
    }

    fn guards(&self, out: &mut Exposition<'_>) -> fmt::Result {
        let links = || {
            let links = self.status.macsec.iter();
            links.filter_map(|(tunnel, link)| Some((tunnel, link.link.as_ref()?)))
        };
        out.gauge(
            "adit_macsec_link_guarded",
            "1 if nothing in clear passes the Ethernet link; 0 if it does, or nobody knows",
            links().map(|(tunnel, link)| (labels(tunnel), Value::Whole(link.guarded.into()))),
        )?;
        let held = |(tunnel, link): (&String, &Link)| {
            [("inward", link.held_back_in), ("outward", link.held_back_out)].map(|(direction, frames)| {
                let labels = vec![("tunnel", tunnel.clone()), ("direction", direction.to_owned())];
                (labels, Value::Whole(frames))
            })
        };
        out.counter(
            "adit_macsec_link_held_back",
            "Frames in clear that the guard of the Ethernet link held back",
            links().flat_map(held),
        )
    }
}

fn counter(
    out: &mut Exposition<'_>,
    name: &str,
    of: &str,
    all: impl Iterator<Item = (Labels, Value)>,
) -> fmt::Result {
    out.counter(&format!("adit_macsec_{}", snake(name)), &format!("{name} of IEEE 802.1AE, {of}"), all)
}

fn of_channel(tunnel: &str, channel: &Channel, name: &str) -> (Labels, Value) {
    let labels = vec![("tunnel", tunnel.to_owned()), ("sci", channel.sci.clone())];
    (labels, count(&channel.counters, name))
}

/// A counter that is not there has counted nothing.
fn count(counters: &Counters, name: &str) -> Value {
    Value::Whole(counters.get(name).copied().unwrap_or(0))
}

/// `InPktsNoSCI` as `in_pkts_no_sci`.
fn snake(name: &str) -> String {
    let mut text = String::new();
    let mut after_small = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && after_small {
            text.push('_');
        }
        after_small = c.is_ascii_lowercase();
        text.push(c.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::render;
    use super::*;
    use crate::status::{Status, sample};

    #[test]
    fn names_are_those_of_the_standard_as_prometheus_writes_them() {
        for (name, written) in [
            ("InPktsNoSCI", "in_pkts_no_sci"),
            ("InPktsUnknownSCI", "in_pkts_unknown_sci"),
            ("InPktsOK", "in_pkts_ok"),
            ("InPktsNotUsingSA", "in_pkts_not_using_sa"),
            ("OutOctetsEncrypted", "out_octets_encrypted"),
        ] {
            assert_eq!(snake(name), written);
        }
    }

    #[test]
    fn a_link_has_every_counter_of_the_standard_and_its_key() {
        let text = render(&Arc::new(sample::full()));
        for line in [
            "adit_macsec_in_pkts_no_tag_total{tunnel=\"uplink\"} 6",
            "adit_macsec_in_pkts_overrun_total{tunnel=\"uplink\"} 0",
            "adit_macsec_out_pkts_encrypted_total{tunnel=\"uplink\",sci=\"02:00:5e:10:00:01/1\"} 41",
            "adit_macsec_in_pkts_ok_total{tunnel=\"uplink\",sci=\"02:00:5e:10:00:01/2\"} 42",
            "adit_macsec_in_pkts_late_total{tunnel=\"uplink\",sci=\"02:00:5e:10:00:01/2\"} 0",
            "adit_macsec_transmit_key_age_seconds{tunnel=\"uplink\"} 61.5",
            "adit_macsec_transmit_next_pn{tunnel=\"uplink\"} 4294967301",
            "adit_macsec_link_guarded{tunnel=\"uplink\"} 1",
            "adit_macsec_link_held_back_total{tunnel=\"uplink\",direction=\"outward\"} 4",
            "adit_tunnel_up{tunnel=\"uplink\"} 1",
            "adit_handshakes_total{tunnel=\"uplink\"} 19",
            "adit_handshake_queue_depth{tunnel=\"uplink\"} 5",
            "adit_drops_total{tunnel=\"uplink\",reason=\"late\"} 8",
            "adit_drops_total{tunnel=\"uplink\",reason=\"no_sci\"} 0",
            "adit_batch_packets_sum{tunnel=\"uplink\",direction=\"outward\"} 107.0",
            "adit_warnings{tunnel=\"uplink\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        let none = render(&Arc::new(Status::default()));
        assert!(!none.lines().any(|line| line.starts_with("adit_macsec")), "{none}");
    }
}
