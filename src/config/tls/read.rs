//! Reads `[tls.NAME]`.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::super::across::Across;
use super::super::file::{Context, NAME, is_name};
use super::super::table::{Table, Value};
use super::super::unique::Unique;
use super::{Tls, access_log, certificates, clients, http, limits, routes};
use crate::tls::names::Pattern;
use crate::tls::policy::Policy;

/// What `listen` may be.
const LISTEN: &str = "an address and a port, as 192.0.2.1:443, 0.0.0.0:443 or [::]:443 (IPv6 alone)";
/// What `policy` may be.
const POLICY: &str = "\"modern\" or \"intermediate\"";
/// What `alpn` may be.
const ALPN: &str = "the name of a protocol, as \"http/1.1\", of 1 to 255 bytes";
/// What wrong keys were probably meant to be.
const HINTS: &[(&str, &str)] = &[
    ("certificate", "did you mean certificates?"),
    ("chain_file", "did you mean certificates = [{ chain_file = .., key_file = .. }]?"),
    ("key_file", "did you mean certificates = [{ chain_file = .., key_file = .. }]?"),
    ("routes", "did you mean route? Each route is a table of its own: [tls.NAME.route.ROUTE]"),
    ("backend", "did you mean [tls.NAME.route.ROUTE] with backend in it?"),
    ("ciphers", "a policy is a name: nothing weaker can be written down"),
    ("min_version", "a policy is a name: nothing weaker can be written down"),
    ("ca_file", "did you mean client_certificates = { ca_file = .. }?"),
];

/// Every `[tls.NAME]`.
pub(in crate::config) fn terminators<'a>(
    root: &mut Table<'a>,
    context: &mut Context<'_>,
    across: &mut Across<'a>,
) -> BTreeMap<String, Tls> {
    let mut addresses = Unique::default();
    let mut all = BTreeMap::new();
    for (name, table) in root.named("tls", NAME, is_name) {
        if let Some(value) = table.whole() {
            across.name(name, &value);
        }
        if let Some(tls) = terminator(table, context, &mut addresses) {
            all.insert(name.to_owned(), tls);
        }
    }
    addresses.end(|_, value| value.found(), "an address that is listened on once");
    all
}

fn terminator<'a>(
    mut table: Table<'a>,
    context: &mut Context<'_>,
    addresses: &mut Unique<'a, SocketAddr>,
) -> Option<Tls> {
    let listen = listen(&mut table, addresses);
    let plain = plain(&mut table, addresses);
    let policy = table.value("policy").map(|value| value.parsed(POLICY, |text| text.parse().ok()));
    let policy: Policy = policy.flatten().unwrap_or_default();
    let alpn = table.value("alpn").map(|value| {
        value.list(ALPN, |element| {
            let sound = |text: &&str| (1..=255).contains(&text.len());
            element.parsed(ALPN, |text| Some(text).filter(sound).map(str::to_owned))
        })
    });
    let certificates = certificates::certificates(&mut table, context);
    let tickets = table.value("ticket_key_file");
    let ticket_keys = certificates::ticket_keys(tickets.as_ref(), context);
    let client_certificates = table.value("client_certificates");
    if let Some(value) = tickets.filter(|_| client_certificates.is_some()) {
        value.refused(
            "ticket_key_file beside client_certificates",
            "one of them: there are no tickets where clients show certificates, for resumption would outlive a revocation",
        );
    }
    let clients = clients::clients(client_certificates, policy, context);
    let certified: Option<Vec<Pattern>> = certificates
        .as_ref()
        .map(|all| all.iter().flat_map(|loaded| loaded.value.patterns().iter().cloned()).collect());
    let none = certificates.as_ref().is_some_and(Vec::is_empty);
    let routes = routes::routes(&mut table, certified.as_deref().filter(|_| !none), context);
    if none && routes.as_ref().is_some_and(|(_, terminates)| *terminates) {
        table.missing("certificates", certificates::CERTIFICATES);
    }
    http::used(plain.as_ref(), routes.as_ref().map(|(routes, _)| routes));
    let accept_proxy = limits::accept_proxy(&mut table);
    let (handshake, timeouts) = limits::timeouts(&mut table);
    let limits = limits::limits(&mut table);
    let access_log = table.value("access_log").and_then(|value| access_log::access_log(value, context));
    table.end(HINTS);
    let (routes, _) = routes?;
    Some(Tls {
        listen,
        plain: plain.map(|(_, addresses)| addresses).unwrap_or_default(),
        policy,
        alpn: alpn.unwrap_or_default(),
        certificates: certificates?,
        ticket_keys: ticket_keys?,
        clients: clients?,
        accept_proxy,
        handshake,
        timeouts,
        limits,
        access_log,
        routes,
    })
}

fn listen<'a>(table: &mut Table<'a>, addresses: &mut Unique<'a, SocketAddr>) -> Vec<SocketAddr> {
    let Some(value) = table.value("listen") else {
        table.missing("listen", &format!("a list of {LISTEN}"));
        return Vec::new();
    };
    if value.is_empty_list() {
        value.refused("an empty list", format!("a list of {LISTEN}"));
    }
    usable(&value, addresses)
}

/// `plain`, if it is there, and where it stands.
fn plain<'a>(
    table: &mut Table<'a>,
    addresses: &mut Unique<'a, SocketAddr>,
) -> Option<(Value<'a>, Vec<SocketAddr>)> {
    let value = table.value("plain")?;
    let plain = usable(&value, addresses);
    Some((value, plain))
}

/// Addresses that can be listened on.
fn usable<'a>(value: &Value<'a>, addresses: &mut Unique<'a, SocketAddr>) -> Vec<SocketAddr> {
    value.list(LISTEN, |element| {
        let usable = |address: &SocketAddr| address.port() != 0 && !address.ip().is_multicast();
        let address = element.parsed(LISTEN, |text| text.parse().ok().filter(usable))?;
        addresses.add(address, &element);
        Some(address)
    })
}
