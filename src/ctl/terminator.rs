//! Where TLS ends.

use super::paint::escape;
use super::render::Text;
use super::units;
use crate::status::Tls;
use crate::status::tls::{Backend, Certificate, Checks, Http, Route};

/// Certificates that end within so many days are shown in red.
const SOON: f64 = 14.0;

/// Appends a table.
pub(super) fn show(text: &mut Text, name: &str, tls: &Tls) {
    let paint = text.paint;
    text.line(&format!("{}: {}", paint.interface("tls"), paint.green(&escape(name))));
    text.field("listening on", &list(&tls.listen));
    text.field("policy", &escape(&tls.policy));
    if !tls.alpn.is_empty() {
        text.field("alpn", &list(&tls.alpn));
    }
    match (&tls.client_certificates, tls.tickets.as_deref()) {
        (Some(clients), _) => {
            let who =
                if clients.allow.is_empty() { "all of the CA".to_owned() } else { list(&clients.allow) };
            text.field("client certificates", &format!("{}, {who}; no tickets", escape(&clients.mode)));
        }
        (None, Some("file")) => text.field("tickets", "under keys of a file"),
        (None, Some(_)) => text.field("tickets", "under own keys"),
        (None, None) => {}
    }
    tls.certificates.iter().for_each(|one| certificate(text, one));
    text.field("connections", &format!("{} now, {} in all", tls.open, tls.connections));
    let (full, resumed, passed) = (tls.full_handshakes, tls.resumed_handshakes, tls.passed_through);
    text.field("handshakes", &format!("{full} full, {resumed} resumed; {passed} passed through"));
    if tls.draining {
        text.field("draining", &paint.red(&format!("nothing is accepted; {} connections left", tls.open)));
    }
    if tls.turned_away > 0 {
        text.field("turned away", &tls.turned_away.to_string());
    }
    let (received, sent) = (units::bytes(tls.received_bytes, paint), units::bytes(tls.sent_bytes, paint));
    text.field("transfer", &format!("{received} received, {sent} sent"));
    if let Some(log) = &tls.access_log {
        let error = log.error.as_deref().map(|error| format!(", {}", paint.red(&escape(error))));
        let counts = format!("{} written, {} lost", log.written, log.lost);
        text.field("access log", &format!("{}: {counts}{}", escape(&log.file), error.unwrap_or_default()));
    }
    failures(text, tls);
    tls.routes.iter().for_each(|(name, one)| route(text, name, one));
}

fn list(all: &[String]) -> String {
    all.iter().map(|one| escape(one)).collect::<Vec<_>>().join(", ")
}

fn certificate(text: &mut Text, certificate: &Certificate) {
    let days = certificate.days_left;
    let left = if days < 0.0 { "has ended".to_owned() } else { format!("{} days left", days as u64) };
    let left = if days < SOON { text.paint.red(&left) } else { left };
    let stapled = if certificate.stapled { ", stapled" } else { "" };
    text.field("certificate", &format!("{}: {left}{stapled}", list(&certificate.names)));
}

fn failures(text: &mut Text, tls: &Tls) {
    if tls.failures.is_empty() {
        return;
    }
    text.field("ended before their time", &tls.failures.values().sum::<u64>().to_string());
    for (reason, count) in &tls.failures {
        let words = explain(reason).unwrap_or("a reason that this aditctl does not know");
        let label = text.paint.bold(&escape(reason));
        text.line(&format!("    {label}: {count} ({words})"));
    }
}

/// Why connections end before their time, by the names in [`crate::tls::counters::FAILURES`].
fn explain(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "hello" => "the first message was none of TLS",
        "left" => "the client went before the handshake was done",
        "handshake_time" => "the handshake took too long",
        "handshake" => "nothing in common, or a certificate that was refused",
        "refused" => "no route for the name",
        "no_backend" => "no backend took the connection",
        "truncated" => "the client broke off without saying so: what came may not be all",
        "record" => "a record that does not decrypt",
        "backend" => "the backend broke off",
        "idle" => "nothing came for too long",
        "proxy" => "who passes connections on did not say for whom (PROXY header)",
        "limit" => "there were as many as max_connections",
        "address_limit" => "there were as many of its address as max_connections_per_address",
        "address_rate" => "its address began more than max_handshakes_per_address",
        _ => return None,
    })
}

fn route(text: &mut Text, name: &str, route: &Route) {
    let names = if route.sni.is_empty() { "every other name".to_owned() } else { list(&route.sni) };
    let mut how = if route.pass_through { ", passed through".to_owned() } else { String::new() };
    if route.backend_tls {
        how += ", over TLS";
    }
    if let Some(version) = &route.proxy_protocol {
        how += &format!(", PROXY {}", escape(version));
    }
    text.field("route", &format!("{} ({names}{how})", text.paint.green(&escape(name))));
    if let Some(http) = &route.http {
        requests(text, http);
    }
    route.backends.iter().for_each(|one| backend(text, one));
}

fn requests(text: &mut Text, http: &Http) {
    let all: u64 = http.buckets.iter().sum();
    let classes = http.requests.iter().filter(|(_, count)| **count > 0);
    let classes: Vec<_> = classes.map(|(class, count)| format!("{count} {}", escape(class))).collect();
    let mean = if all > 0 { http.seconds * 1e3 / all as f64 } else { 0.0 };
    let Http { left, retried, .. } = http;
    let classes = if classes.is_empty() { "none".to_owned() } else { classes.join(", ") };
    text.line(&format!(
        "    requests: {classes}; {mean:.1} ms each; {left} left by clients, {retried} sent once more"
    ));
}

fn backend(text: &mut Text, backend: &Backend) {
    let Backend { address, name, open, connections, failures, failing, checks, share, .. } = backend;
    let mut words = String::new();
    match checks {
        Some(Checks { up: false, error, .. }) => {
            let why = error.as_deref().map(|error| format!(" ({})", escape(error))).unwrap_or_default();
            words += &format!(", {}{why}", text.paint.red("down"));
        }
        Some(_) => words += ", up",
        None => {}
    }
    if *failing {
        words += &format!(", {}", text.paint.red("failing"));
    }
    if let Some(share) = share {
        words += &format!(", at {:.0} % of its share", share * 100.0);
    }
    let name = name.as_deref().map(|name| format!(" ({})", escape(name))).unwrap_or_default();
    let address = text.paint.yellow(&escape(address));
    text.line(&format!("    {address}{name}: {open} now, {connections} in all, {failures} failed{words}"));
}

#[cfg(test)]
mod tests {
    use super::super::paint::Paint;
    use super::*;
    use crate::status::sample;
    use crate::tls::counters::FAILURES;

    #[test]
    fn everything_there_is_to_tell_is_told() {
        let mut text = Text { out: String::new(), paint: Paint::PLAIN };
        show(&mut text, "web", &sample::full().tls["web"]);
        let all = "\
tls: web
  listening on: [::]:443, 0.0.0.0:443
  policy: intermediate
  alpn: http/1.1
  client certificates: required, dns:a.example.net; no tickets
  certificate: www.example.com, *.example.com: 12 days left, stapled
  connections: 3 now, 70 in all
  handshakes: 40 full, 20 resumed; 5 passed through
  turned away: 2
  transfer: 1.00 KiB received, 2.00 KiB sent
  access log: /var/log/adit/web.log: 65 written, 2 lost, No space left on device (os error 28)
  ended before their time: 4
    handshake: 4 (nothing in common, or a certificate that was refused)
  route: app (www.example.com, passed through, over TLS, PROXY v2)
    requests: 11 2xx, 6 4xx; 44.1 ms each; 8 left by clients, 14 sent once more
    127.0.0.1:8080 (app.internal): 1 now, 60 in all, 7 failed, down (GET /health: 503 Service Unavailable), failing, at 25 % of its share
";
        assert_eq!(text.out, all);
        let mut text = Text { out: String::new(), paint: Paint::PLAIN };
        show(&mut text, "web", &Tls { draining: true, open: 7, ..Tls::default() });
        assert!(text.out.contains("  draining: nothing is accepted; 7 connections left\n"), "{}", text.out);
    }

    #[test]
    fn every_reason_is_explained() {
        assert!(FAILURES.into_iter().all(|reason| explain(reason).is_some()));
    }
}
