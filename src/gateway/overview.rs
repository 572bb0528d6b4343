//! What the gateway tells of itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use adit_noise::PublicKey;

use super::clients::RemoteAccess;
use super::warnings;
use super::{Gateway, Gone};
use crate::config::Wireguard;
use crate::control::Interface;
use crate::net::path;
use crate::status::{self, Owner, Privileges, State, Status};
use crate::{clock, privilege};

/// Peers of a tunnel whose paths are looked at: each costs the kernel a socket.
const PATHS: usize = 256;

impl Gateway {
    /// Everything there is to tell.
    pub(super) fn overview(&self) -> Status {
        let running = self.tunnels.iter().map(|(name, tunnel)| (name.clone(), self.tunnel(name, tunnel)));
        let ended = self.ended.iter().map(|(name, gone)| (name.clone(), ended(gone)));
        let wireguard: BTreeMap<_, _> = running.chain(ended).collect();
        Status {
            schema: status::SCHEMA,
            version: env!("CARGO_PKG_VERSION").into(),
            name: self.config.gateway.name(),
            pid: std::process::id(),
            started: self.started.as_secs_f64(),
            now: clock::both().wall.as_secs_f64(),
            configuration: self.history.clone(),
            privileges: Privileges { user: privilege::user_name(), capabilities: privilege::effective() },
            warnings: self.warnings(),
            wireguard,
            macsec: self.links_overview(),
            clients: self.clients_overview(),
            tls: self.terminators_overview(),
        }
    }

    /// What is wrong with the gateway as a whole.
    fn warnings(&self) -> Vec<String> {
        let since_start = self.findings.iter().cloned();
        let undone =
            self.faults.values().flatten().map(|fault| format!("not done by the last reload: {fault}"));
        let missing = self.upkeep.faults().iter().cloned();
        since_start.chain(warnings::of_history(&self.history)).chain(undone).chain(missing).collect()
    }

    fn clients_overview(&self) -> BTreeMap<String, status::Clients> {
        let config = &self.config.clients;
        let report = |(name, clients): (&String, &RemoteAccess)| {
            Some((name.clone(), clients.report(config.get(name)?)))
        };
        self.clients.iter().filter_map(report).collect()
    }

    fn tunnel(&self, name: &str, tunnel: &Interface) -> status::Wireguard {
        let Ok(mut report) = tunnel.remote().report() else {
            let warnings = vec!["its control thread does not answer".to_owned()];
            return status::Wireguard { state: State::Stuck, warnings, ..status::Wireguard::default() };
        };
        let Some(config) = self.config.wireguard.get(name) else { return report };
        report.addresses =
            config.addresses.iter().map(|net| format!("{}/{}", net.address, net.prefix_len)).collect();
        report.fail_closed = super::is_guarded(config);
        self.complete_peers(name, config, &mut report);
        report.warnings = warnings::of_tunnel(config, &report);
        report
    }

    /// Puts to the peers what the tunnel itself does not know.
    fn complete_peers(&self, name: &str, config: &Wireguard, report: &mut status::Wireguard) {
        let named: BTreeMap<_, _> =
            config.peers.iter().map(|(peer, settings)| (settings.public_key.to_base64(), peer)).collect();
        let (inside, mark) = ((report.mtu, config.cipher), report.fwmark);
        for (at, peer) in report.peers.iter_mut().enumerate() {
            let known = named.get(&peer.public_key).filter(|_| peer.owner == Owner::File);
            peer.name = known.map(|name| (*name).clone());
            if let (Owner::Lease, Some(clients)) = (peer.owner, self.clients.get(name)) {
                let key = PublicKey::from_base64(&peer.public_key).ok();
                peer.name = key.and_then(|key| clients.leases().holder(&key)).map(|name| name.to_string());
            }
            let endpoint = peer.endpoint.as_deref().and_then(|endpoint| endpoint.parse::<SocketAddr>().ok());
            peer.path_mtu = endpoint.filter(|_| at < PATHS).and_then(|remote| path::mtu(remote, mark).ok());
            let dns = known.and_then(|known| self.resolver.of(&(name.to_owned(), (*known).clone())));
            peer.endpoint_name = dns.as_ref().map(|(name, _)| name.clone());
            peer.warnings = warnings::of_peer(peer, inside, endpoint, dns.and_then(|(_, error)| error));
        }
        report
            .peers
            .sort_by(|one, other| (one.name.is_none(), &one.name).cmp(&(other.name.is_none(), &other.name)));
    }
}

/// A tunnel that is no more.
fn ended(gone: &Gone) -> status::Wireguard {
    let (fail_closed, warnings) = (gone.fail_closed, vec![gone.to_string()]);
    status::Wireguard { state: State::Gone, fail_closed, warnings, ..status::Wireguard::default() }
}
