//! `adit import`: a wg-quick file as a profile.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

use zeroize::Zeroizing;

use super::profile::{Gateway, KEEPALIVE, Profile, is_domain};
use crate::config::{self, Hooks, Peer, Table, Wireguard, quick};

/// Where keys would be written; nothing is.
const NOWHERE: &str = "/";

/// The profile that a wg-quick file stands for, and what could not be carried over, in words.
///
/// # Errors
/// Everything that is wrong with the file.
pub(super) fn profile(name: &str, text: &str) -> Result<(Profile, Vec<String>), String> {
    let imported = quick::import(name, text, Path::new(NOWHERE)).map_err(|errors| errors.to_string())?;
    let keys: HashMap<_, _> = imported.secrets.iter().map(|(path, key)| (path.as_path(), key)).collect();
    let secret = |path: &Path| match keys.get(path) {
        Some(key) => Ok(Zeroizing::new(key.as_bytes().to_vec())),
        // `PostUp = wg set %i private-key FILE`
        None => std::fs::read(path).map(Zeroizing::new).map_err(|error| error.to_string()),
    };
    let mut config = config::parse("", &imported.toml, &secret).map_err(|errors| errors.to_string())?;
    let tunnel = config.wireguard.remove(name).ok_or("no interface in it")?;
    let ours = |note: &String| note.starts_with("DNS = ") || note.contains("commands are run by");
    let mut notes: Vec<_> = imported.notes.into_iter().filter(|note| !ours(note)).collect();
    notes.extend(left_out(&tunnel));
    let (dns, search) = dns(&imported.dns)?;
    let mtu = Some(tunnel.mtu).filter(|mtu| *mtu != crate::control::MTU);
    let gateways: Vec<_> = tunnel.peers.into_values().map(gateway).collect();
    if tunnel.addresses.is_empty() || gateways.is_empty() {
        return Err(format!("{name}.conf: it needs an Address and a [Peer]"));
    }
    let profile = Profile {
        private_key: tunnel.private_key,
        addresses: tunnel.addresses,
        dns,
        search,
        mtu,
        listen_port: tunnel.listen_port,
        gateways,
        lease: None,
    };
    Ok((profile, notes))
}

fn gateway(peer: Peer) -> Gateway {
    // Who is never called needs nothing kept open.
    let usual = if peer.endpoint.is_some() { KEEPALIVE } else { 0 };
    Gateway {
        public_key: peer.public_key,
        preshared_key: peer.preshared_key,
        endpoints: peer.endpoint.into_iter().collect(),
        routes: peer.allowed_ips,
        keepalive: if peer.persistent_keepalive == 0 { usual } else { peer.persistent_keepalive },
    }
}

/// What `DNS` says: addresses are servers, and names are search domains.
fn dns(words: &[String]) -> Result<(Vec<IpAddr>, Vec<String>), String> {
    let (mut servers, mut search) = (Vec::new(), Vec::new());
    for word in words {
        match word.parse() {
            Ok(server) => servers.push(server),
            Err(_) if is_domain(word) => search.push(word.clone()),
            Err(_) => return Err(format!("DNS: {word:?} is neither an address nor a domain")),
        }
    }
    Ok((servers, search))
}

fn left_out(tunnel: &Wireguard) -> Vec<String> {
    let Hooks { pre_up, post_up, pre_down, post_down } = &tunnel.hooks;
    let hooks = [("PreUp", pre_up), ("PostUp", post_up), ("PreDown", pre_down), ("PostDown", post_down)];
    let hooks = hooks.into_iter().flat_map(|(key, commands)| commands.iter().map(move |it| (key, it)));
    let mut notes: Vec<_> =
        hooks.map(|(key, command)| format!("{key} = {command}: left out, adit runs no commands")).collect();
    if tunnel.table != Table::Auto {
        notes.push("Table: left out, adit chooses where its routes go".into());
    }
    if tunnel.fwmark != 0 {
        notes.push("FwMark: left out, adit has a mark of its own".into());
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "cHJpdmF0ZSBrZXkgb2YgMzIgYnl0ZXMsIG5vIG1vcmU=";
    const PEER: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";

    fn quick(interface: &str, peer: &str) -> Result<(Profile, Vec<String>), String> {
        let text = format!(
            "[Interface]\nPrivateKey = {KEY}\nAddress = 10.9.0.2/32\n{interface}\n[Peer]\nPublicKey = {PEER}\n\
             AllowedIPs = 10.0.0.0/8\n{peer}\n"
        );
        profile("office", &text)
    }

    #[test]
    fn dns_is_servers_and_domains() {
        let (profile, notes) = quick("DNS = 10.9.0.1, corp.example\nDNS = fd09::1", "").unwrap();
        assert_eq!(profile.dns, ["10.9.0.1", "fd09::1"].map(|text| text.parse::<IpAddr>().unwrap()));
        assert_eq!(profile.search, ["corp.example"]);
        assert_eq!(notes, [""; 0]);
        assert!(quick("DNS = a b", "").unwrap_err().contains("neither an address nor a domain"));
    }

    #[test]
    fn commands_are_left_out_and_that_is_told() {
        let (_, notes) = quick("PostUp = rm -rf /\nTable = 7", "").unwrap();
        let notes = notes.join("\n");
        assert!(notes.contains("PostUp = rm -rf /: left out"), "{notes}");
        assert!(notes.contains("Table: left out"), "{notes}");
    }

    #[test]
    fn a_gateway_that_is_called_is_kept_in_touch_with() {
        let keepalive = |peer| quick("", peer).unwrap().0.gateways[0].keepalive;
        assert_eq!(keepalive("Endpoint = 192.0.2.1:51820"), KEEPALIVE);
        assert_eq!(keepalive("Endpoint = 192.0.2.1:51820\nPersistentKeepalive = 10"), 10);
        assert_eq!(keepalive(""), 0);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_without_the_key() {
        let error = quick("MTU = x", "").unwrap_err();
        assert!(error.contains("office.conf:4") && !error.contains(KEY), "{error}");
    }
}
