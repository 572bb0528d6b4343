//! `http` of a route, and `plain`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};

use super::super::table::{Table, Value};
use super::Route;
use super::duration::{DAY, duration};
use crate::tls::http::Settings;

/// What `http` may be.
const HTTP: &str = "a table, as { } or { hsts = { max_age = \"730d\" } }";
/// What `max_age` may be.
const AGE: &str = "a number of days up to 3650, as \"730d\"";
/// What `client_identity_header` may be.
const IDENTITY: &str =
    "the name of a header that begins with X-, as \"X-Client-Identity\", and is none that adit sets itself";
/// What wrong keys were probably meant to be.
const HINTS: &[(&str, &str)] = &[
    ("http2", "clients choose by ALPN; backend_http2 is for backends"),
    ("redirect", "did you mean plain = [\"0.0.0.0:80\"] of [tls.NAME]?"),
    ("max_body", "did you mean body_bytes?"),
    ("x_forwarded_for", "it is always set"),
    ("timeout", "did you mean answer_timeout?"),
];

/// `http` of a route; `None` if it is not in HTTP mode, or if what is there is no table.
pub(super) fn http(value: Option<Value<'_>>, pass_through: bool) -> Option<Settings> {
    let value = value?;
    if pass_through {
        value.refused("http beside pass_through", "one of them: what is passed through cannot be read");
    }
    if !value.is_table() {
        value.wrong(HTTP);
        return None;
    }
    let mut table = value.entries()?;
    let defaults = Settings::default();
    let hsts = table.value("hsts").and_then(hsts);
    let identity = table.value("client_identity_header").and_then(|value| value.parsed(IDENTITY, identity));
    let mut switch = |key| table.value(key).and_then(|value| value.switch()).unwrap_or(false);
    let (trust_request_id, backend_http2) = (switch("trust_request_id"), switch("backend_http2"));
    let backend_idle = number(&mut table, "backend_idle", (0, 10_000)).unwrap_or(defaults.backend_idle);
    let header_bytes = number(&mut table, "header_bytes", (1_024, 1 << 20)).unwrap_or(defaults.header_bytes);
    let headers = number(&mut table, "headers", (10, 1_000)).unwrap_or(defaults.headers);
    let body_bytes = number(&mut table, "body_bytes", (0, i128::from(i64::MAX)));
    let streams = number(&mut table, "streams", (1, 10_000)).unwrap_or(defaults.streams);
    let mut time = |key, otherwise| {
        let least = Duration::from_millis(100);
        table.value(key).and_then(|value| duration(&value, least, DAY)).unwrap_or(otherwise)
    };
    let header_timeout = time("header_timeout", defaults.header_timeout);
    let idle_timeout = time("idle_timeout", defaults.idle_timeout);
    let body_timeout = time("body_timeout", defaults.body_timeout);
    let answer_timeout = time("answer_timeout", defaults.answer_timeout);
    table.end(HINTS);
    Some(Settings {
        hsts,
        identity,
        trust_request_id,
        backend_http2,
        backend_idle,
        header_bytes,
        headers,
        body_bytes,
        streams,
        header_timeout,
        idle_timeout,
        body_timeout,
        answer_timeout,
    })
}

/// Tells of a listener in clear with nowhere to send its clients to.
pub(super) fn used(plain: Option<&(Value<'_>, Vec<SocketAddr>)>, routes: Option<&BTreeMap<String, Route>>) {
    let Some(((value, _), routes)) = plain.zip(routes) else { return };
    if !routes.values().any(|route| route.http.is_some()) {
        value.refused("plain, and no route with http", "http = { .. } of a route, which clients are sent to");
    }
}

fn number<T: TryFrom<i128>>(
    table: &mut Table<'_>,
    key: &'static str,
    (least, most): (i128, i128),
) -> Option<T> {
    table.value(key).and_then(|value| value.integer(least..=most))
}

/// `hsts`, as the header that says it.
fn hsts(value: Value<'_>) -> Option<HeaderValue> {
    let whole = value.clone();
    let mut table = value.entries()?;
    let age = table.value("max_age");
    if age.is_none() {
        table.missing("max_age", AGE);
    }
    let mut switch = |key| table.value(key).and_then(|value| value.switch()).unwrap_or(false);
    let (subdomains, preload) = (switch("subdomains"), switch("preload"));
    table.end(&[("include_subdomains", "did you mean subdomains?")]);
    let days = age?.parsed(AGE, |text| {
        let days = text.strip_suffix('d').filter(|days| days.bytes().all(|byte| byte.is_ascii_digit()));
        days?.parse::<u64>().ok().filter(|days| *days <= 3_650)
    })?;
    // What browsers' lists ask of whoever wants to be on them.
    if preload && (!subdomains || days < 365) {
        whole.refused(
            "preload without subdomains, or with a max_age of less than 365d",
            "{ max_age = \"365d\" or more, subdomains = true, preload = true }",
        );
    }
    let mut header = format!("max-age={}", days * 86_400);
    header.push_str(if subdomains { "; includeSubDomains" } else { "" });
    header.push_str(if preload { "; preload" } else { "" });
    HeaderValue::try_from(header).ok()
}

/// A header that nobody else needs.
fn identity(text: &str) -> Option<HeaderName> {
    let name: HeaderName = text.to_ascii_lowercase().parse().ok()?;
    let ours = ["x-forwarded-", "x-real-ip", "x-request-id"];
    let sound = name.as_str().starts_with("x-") && !ours.iter().any(|ours| name.as_str().starts_with(ours));
    sound.then_some(name)
}
