//! `[tls.NAME.route.ROUTE]`

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::file::{Context, NAME, is_name};
use super::super::table::{Table, Value};
use super::super::unique::Unique;
use super::Route;
use super::backend::{BACKEND, backend};
use super::backend_tls::backend_tls;
use super::check::check;
use super::duration::{DAY, duration};
use super::http::http;
use crate::tls::choice::BackendAddress;
use crate::tls::names::Pattern;
use crate::tls::routes::Target;

/// What `route` may be.
const ROUTES: &str = "a table [tls.NAME.route.ROUTE] with backend = [\"ADDRESS:PORT\"]";
/// What an element of `sni` may be.
const SNI: &str = "a server's name as \"www.example.com\", or \"*.example.com\" for one label more";
/// What `proxy_protocol` may be.
const PROXY: &str = "\"v1\" or \"v2\"";
/// What wrong keys were probably meant to be.
const HINTS: &[(&str, &str)] = &[
    ("backends", "did you mean backend?"),
    (
        "tls",
        "did you mean backend_tls? Without it backends get plaintext, or with pass_through = true what the client sent",
    ),
    ("send_proxy", "did you mean proxy_protocol = \"v2\"?"),
    ("health_check", "did you mean check?"),
    ("host", "did you mean sni?"),
    ("server_name", "did you mean sni?"),
];

/// All of them, and whether TLS ends with any; `None` if there is none that is right. `certified` are the names in the
/// certificates, if those are right.
pub(super) fn routes(
    table: &mut Table<'_>,
    certified: Option<&[Pattern]>,
    context: &mut Context<'_>,
) -> Option<(BTreeMap<String, Route>, bool)> {
    let named = table.named("route", NAME, is_name);
    if named.is_empty() && table.value("route").is_none_or(|value| value.is_table()) {
        table.missing("route", ROUTES);
        return None;
    }
    let (mut names, mut defaults) = (Unique::default(), Unique::default());
    let (mut routes, mut terminates) = (BTreeMap::new(), false);
    for (name, mut table) in named {
        let pass_through = table.value("pass_through").and_then(|value| value.switch()).unwrap_or(false);
        terminates |= !pass_through;
        let whole = table.whole();
        let sni_value = table.value("sni");
        let sni = match &sni_value {
            Some(value) => value.list(SNI, |element| {
                let pattern: Pattern = element.parsed(SNI, |text| text.parse().ok())?;
                names.add(pattern.clone(), &element);
                if let Some(certified) = certified.filter(|_| !pass_through) {
                    certify(&pattern, certified, &element);
                }
                Some(pattern)
            }),
            None => {
                if let Some(whole) = &whole {
                    defaults.add((), whole);
                }
                Vec::new()
            }
        };
        // An empty list would be a default that nobody meant.
        if let Some(value) = sni_value.filter(Value::is_empty_list) {
            value.refused("an empty list", format!("{SNI}; or no sni: the route of every other name"));
        }
        let route = route(&mut table, sni, pass_through, context);
        table.end(HINTS);
        routes.insert(name.to_owned(), route);
    }
    names.end(|_, value| value.found(), "a name that no other route of this table has");
    defaults.end(|(), _| "a second route without sni".to_owned(), "sni: one route has every other name");
    Some((routes, terminates))
}

/// What a route says of its backends.
fn route(table: &mut Table<'_>, sni: Vec<Pattern>, pass_through: bool, context: &mut Context<'_>) -> Route {
    let backends = backends(table);
    let checks = table.value("check");
    let check = checks.as_ref().and_then(|value| check(value, pass_through));
    let http = http(table.value("http"), pass_through);
    let slow = table.value("slow_start");
    let slow_start = slow.as_ref().and_then(|value| duration(value, Duration::from_secs(1), DAY));
    if let Some(value) = slow.filter(|_| checks.is_none()) {
        value.refused(
            "slow_start without check",
            "slow_start beside check, which tells when a backend is up again",
        );
    }
    let proxied = table.value("proxy_protocol");
    let proxy = proxied.as_ref().and_then(|value| value.parsed(PROXY, |text| text.parse().ok()));
    if let Some(value) = proxied.filter(|_| http.is_some()) {
        value.refused("proxy_protocol beside http", "one of them: requests tell of clients by headers");
    }
    let unnamed = |target: &Target| matches!(target, Target::Address(BackendAddress::Unix(_)));
    let secured = table.value("backend_tls");
    let backend_tls =
        secured.as_ref().and_then(|value| backend_tls(value, backends.iter().any(unnamed), context));
    if let Some(value) = secured.filter(|_| pass_through) {
        value
            .refused("backend_tls beside pass_through", "one of them: what is passed through is TLS already");
    }
    Route { sni, backends, pass_through, http, check, slow_start, proxy, backend_tls }
}

fn backends(table: &mut Table<'_>) -> Vec<Target> {
    let Some(value) = table.value("backend") else {
        table.missing("backend", &format!("a list of {BACKEND}"));
        return Vec::new();
    };
    if value.is_empty_list() {
        value.refused("an empty list", format!("a list of {BACKEND}"));
    }
    let mut once = Unique::default();
    let backends = value.list(BACKEND, |element| {
        let backend = element.parsed(BACKEND, backend)?;
        once.add(backend.to_string(), &element);
        Some(backend)
    });
    once.end(|_, value| value.found(), "each backend once");
    backends
}

/// Tells of a name for which there is no certificate: every client would refuse what it is shown.
fn certify(pattern: &Pattern, certified: &[Pattern], element: &Value<'_>) {
    let covered = match pattern {
        Pattern::Exact(name) => certified.iter().any(|certified| certified.matches(name)),
        Pattern::Wildcard(_) => certified.contains(pattern),
    };
    if !covered {
        let found = format!("{}, which no certificate names", element.found());
        element.refused(found, "a name in one of the certificates, or pass_through = true");
    }
}
