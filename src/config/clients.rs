//! `[clients.NAME]`: how people and machines get leases on the tunnel NAME, and what they reach by it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use adit_wireguard::{Cipher, Prefix};

use super::across::Across;
use super::endpoint::{ENDPOINT, PREFIX};
use super::file::{Context, path};
use super::table::{Table, Value};
use super::unique::Unique;
use super::{EndpointName, Naming, Wireguard};

/// `[clients.NAME]`
#[derive(Clone, Debug, PartialEq)]
pub struct Clients {
    /// `listen`: where the enrolment API answers, by HTTPS.
    pub listen: Vec<SocketAddr>,
    /// `certificate_file`: the certificates that the API shows, its own first.
    pub certificate: PathBuf,
    /// `private_key_file`: the key of the first.
    pub private_key: PathBuf,
    /// `authorities_file`, or that of `pki`: whose certificates let clients in; without it tokens alone do.
    pub authorities: Option<PathBuf>,
    /// `revocation_files`, or that of `pki`.
    pub revoked: Vec<PathBuf>,
    /// `identity`: which name of a certificate is the client's.
    pub naming: Naming,
    /// `pool`: what addresses are given out.
    pub pool: Pool,
    /// `routes` that clients are told.
    pub routes: Vec<Prefix>,
    /// `access`: what clients reach; by default the routes.
    pub access: Vec<Prefix>,
    /// `between_clients`: whether clients reach one another.
    pub between_clients: bool,
    /// `dns`: name servers that clients are told.
    pub dns: Vec<IpAddr>,
    /// `search`: domains that are asked of them.
    pub search: Vec<String>,
    /// `endpoints`: where clients reach the tunnel.
    pub endpoints: Vec<EndpointName>,
    /// `lease`: how long a lease lasts.
    pub lease: Duration,
}

/// Addresses that are given out, one range of each family at most.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pool {
    /// IPv4.
    pub v4: Option<RangeInclusive<Ipv4Addr>>,
    /// IPv6.
    pub v6: Option<RangeInclusive<Ipv6Addr>>,
}

impl Pool {
    /// The addresses of both families.
    #[must_use]
    pub fn ranges(&self) -> Vec<RangeInclusive<IpAddr>> {
        let v4 = self.v4.as_ref().map(|range| IpAddr::from(*range.start())..=IpAddr::from(*range.end()));
        let v6 = self.v6.as_ref().map(|range| IpAddr::from(*range.start())..=IpAddr::from(*range.end()));
        v4.into_iter().chain(v6).collect()
    }
}

/// How long a lease lasts that nobody has said otherwise of, in seconds.
const LEASE: u64 = 8 * 3_600;
/// What `listen` may be.
const LISTEN: &str = "an address and a port, as 0.0.0.0:8443 or [::]:8443";
/// What `pool` may be.
const POOL: &str = "a prefix as 10.9.0.0/24, or a range as 10.9.0.10-10.9.0.99, of each family at most one";
/// What `search` may be.
const DOMAIN: &str = "the name of a domain, as corp.example.org";
/// What `dns` may be.
const ADDRESS: &str = "an address, as 10.20.0.53";

/// Every `[clients.NAME]`.
pub(super) fn clients<'a>(
    root: &mut Table<'a>,
    context: &mut Context<'_>,
    across: &Across<'a>,
    tunnels: &BTreeMap<String, Wireguard>,
) -> BTreeMap<String, Clients> {
    let allowed = "the name of a [wireguard.NAME] of this file: its clients";
    let named = root.named("clients", allowed, |name| across.makes_tunnel(name));
    let mut listen = Unique::default();
    let mut all = BTreeMap::new();
    for (name, table) in named {
        if let Some(clients) = table_of_clients(table, context, tunnels.get(name), &mut listen) {
            all.insert(name.to_owned(), clients);
        }
    }
    listen.end(|_, value| value.found(), "an address and port that no other [clients.NAME] listens on");
    all
}

fn table_of_clients<'a>(
    mut table: Table<'a>,
    context: &mut Context<'_>,
    tunnel: Option<&Wireguard>,
    once: &mut Unique<'a, SocketAddr>,
) -> Option<Clients> {
    let listen = listen(&mut table, once);
    let certificate =
        file(&mut table, "certificate_file", "a file with the API's certificates in PEM", context);
    let private_key = file(
        &mut table,
        "private_key_file",
        "a file of mode 0600 with the key of certificate_file in PEM",
        context,
    );
    let (authorities, revoked) = authorities(&mut table, context);
    let naming = table
        .value("identity")
        .and_then(|value| value.parsed(Naming::ALLOWED, |text| text.parse().ok()))
        .unwrap_or_default();
    let pool = pool(&mut table, tunnel);
    let routes = prefixes(&mut table, "routes");
    if routes.is_none() {
        table.missing("routes", "a list of the networks that clients reach, as [\"10.20.0.0/16\"]");
    }
    let access = prefixes(&mut table, "access");
    let between_clients = table.value("between_clients").and_then(|value| value.switch()).unwrap_or(false);
    let dns = table
        .value("dns")
        .map(|value| value.list(ADDRESS, |value| value.parsed(ADDRESS, |text| text.parse().ok())));
    let search = table.value("search").map(|value| value.list(DOMAIN, |value| value.parsed(DOMAIN, domain)));
    let endpoints = required_list(&mut table, "endpoints", ENDPOINT, |value| {
        value.parsed(ENDPOINT, |text| text.parse().ok())
    });
    let lease = table.value("lease").and_then(|value| value.integer(60..=31_536_000)).unwrap_or(LEASE);
    judge(&table, tunnel);
    table.end(&[
        ("tunnel", "the table's name is that of the tunnel"),
        ("token", "no secrets in this file: `aditctl client invite` makes tokens"),
    ]);
    let routes = routes.unwrap_or_default();
    Some(Clients {
        listen,
        certificate: certificate?,
        private_key: private_key?,
        authorities,
        revoked,
        naming,
        pool: pool?,
        access: access.unwrap_or_else(|| routes.clone()),
        routes,
        between_clients,
        dns: dns.unwrap_or_default(),
        search: search.unwrap_or_default(),
        endpoints,
        lease: Duration::from_secs(lease),
    })
}

/// What the tunnel must be like.
fn judge(table: &Table<'_>, tunnel: Option<&Wireguard>) {
    let (Some(value), Some(tunnel)) = (table.whole(), tunnel) else { return };
    if tunnel.listen_port == 0 {
        value.refused(
            "clients of a tunnel without listen_port",
            "a tunnel with a listen_port, which clients are told",
        );
    }
    if tunnel.cipher != Cipher::default() {
        let found = format!("clients of a tunnel with cipher = \"{}\"", tunnel.cipher);
        value.refused(found, "a tunnel with WireGuard's own cipher: clients know no other");
    }
}

fn listen<'a>(table: &mut Table<'a>, once: &mut Unique<'a, SocketAddr>) -> Vec<SocketAddr> {
    required_list(table, "listen", LISTEN, |value| {
        let address = |text: &str| text.parse::<SocketAddr>().ok().filter(|address| address.port() != 0);
        let address = value.parsed(LISTEN, address)?;
        once.add(address, &value);
        Some(address)
    })
}

/// A list that has to be there, with something in it.
fn required_list<'a, T>(
    table: &mut Table<'a>,
    key: &'static str,
    allowed: &str,
    read: impl FnMut(Value<'a>) -> Option<T>,
) -> Vec<T> {
    let Some(value) = table.value(key) else {
        table.missing(key, &format!("a list, as [\"..\"], of {allowed}"));
        return Vec::new();
    };
    let mut elements = 0;
    let mut read = read;
    let list = value.list(allowed, |element| {
        elements += 1;
        read(element)
    });
    if elements == 0 && value.found() == "a list" {
        value.refused("an empty list", format!("at least one: {allowed}"));
    }
    list
}

/// A file that has to be named. What is in it is read when it is used, and again whenever it changes.
fn file(
    table: &mut Table<'_>,
    key: &'static str,
    allowed: &str,
    context: &mut Context<'_>,
) -> Option<PathBuf> {
    let Some(value) = table.value(key) else {
        table.missing(key, allowed);
        return None;
    };
    let path = path(&value, context.folder)?;
    context.files.push(path.clone());
    Some(path)
}

/// `pki`, or `authorities_file` with `revocation_files`.
fn authorities(table: &mut Table<'_>, context: &mut Context<'_>) -> (Option<PathBuf>, Vec<PathBuf>) {
    let pki = table.value("pki");
    let file = table.value("authorities_file");
    let lists = table.value("revocation_files");
    if let (Some(pki), Some(other)) = (&pki, file.as_ref().or(lists.as_ref())) {
        let found = format!("{}, beside pki (line {})", other.found(), pki.line());
        other.refused(found, "either pki, or authorities_file with revocation_files");
    }
    if let (Some(lists), None, None) = (&lists, &file, &pki) {
        lists.refused(format!("{} without authorities_file", lists.found()), "both, or neither");
    }
    if let Some(folder) = pki.and_then(|value| path(&value, context.folder)) {
        let (authority, list) = (folder.join("ca.pem"), folder.join("crl.pem"));
        context.files.extend([authority.clone(), list.clone()]);
        return (Some(authority), vec![list]);
    }
    let file = file.and_then(|value| path(&value, context.folder));
    let allowed = "a file with a revocation list in PEM or DER";
    let lists =
        lists.map(|value| value.list(allowed, |value| path(&value, context.folder))).unwrap_or_default();
    context.files.extend(file.iter().chain(&lists).cloned());
    (file, lists)
}

fn prefixes(table: &mut Table<'_>, key: &'static str) -> Option<Vec<Prefix>> {
    let mut list = table.value(key)?.list(PREFIX, |value| value.parsed(PREFIX, |text| text.parse().ok()));
    list.sort_unstable();
    list.dedup();
    Some(list)
}

fn domain(text: &str) -> Option<String> {
    let inside = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let sound = text.len() <= 253 && text.split('.').all(inside);
    sound.then(|| text.to_ascii_lowercase())
}

/// `pool`
fn pool(table: &mut Table<'_>, tunnel: Option<&Wireguard>) -> Option<Pool> {
    let mut pool = Pool::default();
    let mut sound = true;
    let ranges = required_list(table, "pool", POOL, |value| {
        let range =
            value.parsed(POOL, |text| range(text, tunnel)).filter(|range| fits(*range, &value, tunnel));
        sound &= range.is_some();
        range.map(|range| (range, value))
    });
    for ((first, last), value) in &ranges {
        let twice = match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => pool.v4.replace(*first..=*last).is_some(),
            (IpAddr::V6(first), IpAddr::V6(last)) => pool.v6.replace(*first..=*last).is_some(),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        };
        if twice {
            value.refused(format!("{}, a second one of this family", value.found()), POOL);
        }
    }
    (sound && !ranges.is_empty()).then_some(pool)
}

/// Reads `FIRST-LAST`, or a prefix: all of it but the addresses that name the network, and the tunnel's own at its beginning.
fn range(text: &str, tunnel: Option<&Wireguard>) -> Option<(IpAddr, IpAddr)> {
    if let Some((first, last)) = text.split_once('-') {
        let (first, last) = (first.trim().parse::<IpAddr>().ok()?, last.trim().parse::<IpAddr>().ok()?);
        return (first.is_ipv4() == last.is_ipv4() && first <= last).then_some((first, last));
    }
    let prefix: Prefix = text.parse().ok()?;
    let own = |address: IpAddr| {
        tunnel.is_some_and(|tunnel| tunnel.addresses.iter().any(|own| own.address == address))
    };
    let (bits, size) = match prefix.address() {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32 - u32::from(prefix.length())),
        IpAddr::V6(address) => (address.to_bits(), 128 - u32::from(prefix.length())),
    };
    let address = |bits: u128| match prefix.address() {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX))),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::from_bits(bits)),
    };
    // The last address of an IPv4 network is for all of it, the first of either names the network or any router on it.
    let last = bits | 1_u128.checked_shl(size).map_or(u128::MAX, |above| above - 1);
    let last = if prefix.address().is_ipv4() { last.checked_sub(1)? } else { last };
    let mut first = bits + 1;
    while first <= last && own(address(first)) {
        first += 1;
    }
    (first <= last).then(|| (address(first), address(last)))
}

/// Whether a range can be given out on a tunnel.
fn fits((first, last): (IpAddr, IpAddr), value: &Value<'_>, tunnel: Option<&Wireguard>) -> bool {
    let Some(tunnel) = tunnel else { return true };
    let inside = |address: IpAddr| (first..=last).contains(&address);
    let network = tunnel.addresses.iter().any(|own| {
        let network = Prefix::new(own.address, own.prefix_len);
        network.is_ok_and(|network| network.contains(first) && network.contains(last))
    });
    if !network {
        value.wrong("addresses in the network of one of the tunnel's addresses, which leads to them");
    }
    let own = tunnel.addresses.iter().find(|own| inside(own.address));
    if let Some(own) = own {
        let found = format!("{}, in which the tunnel's own {} is", value.found(), own.address);
        value.refused(found, "addresses of clients alone: a range as FIRST-LAST leaves others out");
    }
    let mut prefixes = tunnel
        .peers
        .iter()
        .flat_map(|(name, peer)| peer.allowed_ips.iter().map(move |prefix| (name, prefix)));
    let peer = prefixes.find(|(_, prefix)| {
        inside(prefix.address())
            || prefix.length() > 0 && network && prefix.contains(first) && prefix.contains(last)
    });
    if let Some((name, prefix)) = peer {
        let found = format!("{}, of which peer {name} has {prefix}", value.found());
        value.refused(found, "addresses of clients alone");
    }
    network && own.is_none() && peer.is_none()
}
