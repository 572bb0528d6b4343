//! What a link tells of itself.

use std::collections::BTreeMap;

use adit_macsec::{Protection, Replay, SciEncoding, ValidateFrames};

use super::carrier::Carrier;
use super::keys::{Keys, hex};
use super::station::Station;
use crate::clock;
use crate::config::macsec::shown;
use crate::control::tallies;
use crate::datapath::Reason;
use crate::net::offload::Offloads;
use crate::status::State;
use crate::status::macsec::{Association, Channel, Counters, KeyAgreement, Link, Macsec, Udp};

impl Station {
    /// Everything but what only the configuration and the guard know.
    pub(super) fn report(&self) -> Macsec {
        self.count_lost();
        let port = self.secy.port();
        let settings = port.settings();
        let mut counters = counters(port.counters().iter());
        let lost = self.drops_by_reason().get(Reason::ReceiveQueueFull.as_str()).copied().unwrap_or(0);
        counters.insert("InPktsOverrun".to_owned(), lost);
        let (integrity_only, confidentiality_offset) = match self.protection {
            Protection::IntegrityOnly => (true, 0),
            Protection::Confidentiality(offset) => (false, offset.octets() as u32),
        };
        Macsec {
            state: if port.transmit().is_some() && self.device.up { State::Up } else { State::Down },
            tap: self.tap.name().unwrap_or_default(),
            mtu: u32::try_from(self.device.mtu).unwrap_or(u32::MAX),
            link: self.link(),
            udp: self.udp(),
            sci: Some(shown(settings.sci)),
            cipher: self.suite.to_string(),
            integrity_only,
            confidentiality_offset,
            validate: validate(settings.validate_frames).to_owned(),
            replay_window: match settings.replay {
                Replay::Window(frames) => Some(frames),
                Replay::Off => Some(u32::MAX),
                Replay::Bitmap => None,
            },
            sci_encoding: encoding(settings.sci_encoding).to_owned(),
            clear_tags: settings.clear_tags.into(),
            key_agreement: self.key_agreement(),
            transmit: self.transmit(),
            receive: self.receive(),
            counters,
            offloads: self.offloads().names().map(str::to_owned).collect(),
            workers: vec![tallies::worker(&self.worker)],
            drops: self.drops_by_reason(),
            ..Macsec::default()
        }
    }

    /// Those that are of use to this link.
    fn offloads(&self) -> Offloads {
        let over_udp = matches!(self.carrier, Carrier::Udp(_));
        Offloads {
            udp_gso: self.offloads.udp_gso && over_udp,
            udp_gro: self.offloads.udp_gro && over_udp,
            wide_cipher: false,
            link_xdp: self.carrier.is_direct(),
            ..self.offloads
        }
    }

    /// Dropped packets by reason.
    pub(super) fn drops_by_reason(&self) -> BTreeMap<String, u64> {
        let [outward, inward] = self.worker.tallies();
        tallies::drops(&[outward, inward, &self.tally])
    }

    /// Takes note of what the packet socket had no room for.
    pub(super) fn count_lost(&self) {
        let lost = self.carrier.take_lost();
        if lost > 0 {
            self.tally.drop_joined(Reason::ReceiveQueueFull, lost, &[], clock::now());
        }
    }

    fn link(&self) -> Option<Link> {
        let Carrier::Link(link) = &self.carrier else { return None };
        let up = link.link.is_some_and(|link| link.up);
        Some(Link { name: link.name.clone(), up, ..Link::default() })
    }

    fn udp(&self) -> Option<Udp> {
        let Carrier::Udp(udp) = &self.carrier else { return None };
        let endpoint = udp.remote.get().map(|path| path.remote.to_string());
        Some(Udp {
            listen_port: self.carrier.port().unwrap_or(0),
            fwmark: udp.mark,
            endpoint,
            ..Udp::default()
        })
    }

    fn key_agreement(&self) -> Option<KeyAgreement> {
        let Keys::Agreed { agreement, public, peer, preshared } = &self.keys else { return None };
        let status = agreement.status();
        let age = |at: adit_noise::Time| clock::now().since(at).as_secs_f64();
        Some(KeyAgreement {
            public_key: public.clone(),
            peer_public_key: peer.clone(),
            preshared_key: *preshared,
            handshakes: status.handshakes,
            handshake_queue: self.shared.inbox.depth() as u64,
            latest_handshake: status.last_handshake.map(|at| at.wall.as_secs_f64()),
            handshake_age: status.last_handshake.map(|at| age(at.mono)),
            trying_for: status.trying_since.map(age),
            heard: status.last_heard.map(age),
            disagreement: status.disagreement.map(|disagreement| disagreement.to_string()),
        })
    }

    fn transmit(&self) -> Channel {
        let port = self.secy.port();
        let sending = port.transmit().map(|sa| sa.sak().id());
        let associations = self.secy.transmit().map(|sa| Association {
            an: sa.an().number(),
            in_use: sending == Some(sa.sak().id()),
            next_pn: sa.next_pn(),
            lowest_pn: None,
            key_id: hex(sa.sak().id()),
            ssci: sa.ssci().map(|ssci| ssci.0),
            age: self.age(sa.sak().id()),
            counters: counters(sa.counters().iter()),
        });
        Channel {
            name: None,
            sci: shown(port.settings().sci),
            associations: associations.collect(),
            counters: counters(port.transmit_counters().iter()),
        }
    }

    fn receive(&self) -> Vec<Channel> {
        let names = match &self.keys {
            Keys::Static(fixed) => Some(&fixed.names),
            Keys::Agreed { .. } => None,
        };
        let channels = self.secy.port().receive().iter().map(|channel| {
            let associations = channel.associations().map(|sa| Association {
                an: sa.an().number(),
                in_use: sa.is_confirmed(),
                next_pn: sa.next_pn(),
                lowest_pn: Some(sa.lowest_pn()),
                key_id: hex(sa.sak().id()),
                ssci: sa.ssci().map(|ssci| ssci.0),
                age: self.age(sa.sak().id()),
                counters: counters(sa.counters().iter()),
            });
            Channel {
                name: names.and_then(|names| names.get(&channel.sci()).cloned()),
                sci: shown(channel.sci()),
                associations: associations.collect(),
                counters: counters(channel.counters().iter()),
            }
        });
        channels.collect()
    }

    fn age(&self, key: adit_macsec::KeyId) -> f64 {
        self.born.get(&key).map_or(0.0, |at| clock::now().since(*at).as_secs_f64())
    }
}

fn counters(all: impl Iterator<Item = (&'static str, u64)>) -> Counters {
    all.map(|(name, count)| (name.to_owned(), count)).collect()
}

/// As the configuration file has it.
const fn validate(validate: ValidateFrames) -> &'static str {
    match validate {
        ValidateFrames::Strict => "strict",
        ValidateFrames::Check => "check",
        ValidateFrames::Disabled => "disabled",
    }
}

/// As the configuration file has it.
const fn encoding(encoding: SciEncoding) -> &'static str {
    match encoding {
        SciEncoding::Included => "included",
        SciEncoding::EndStation => "end-station",
        SciEncoding::Broadcast => "broadcast",
        SciEncoding::PointToPoint => "none",
    }
}
