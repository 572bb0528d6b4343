//! Which requests are taken, and whom they are for (RFC 9110, section 7; RFC 9112, sections 3 and 6; RFC 9113, section 8).
//!
//! hyper reads requests and refuses what is no HTTP; what is left to be judged is what two readers could understand in two
//! ways.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, TRANSFER_ENCODING, UPGRADE};
use hyper::http::request::Parts;
use hyper::{Method, Uri, Version};

use super::refusal::Refusal;
use crate::tls::hello::is_host_name;
use crate::tls::names::Pattern;

/// Whom a request is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Authority {
    /// As it was written: a name or an address, and a port if there was one.
    pub(super) text: String,
    /// Bytes of the host in it.
    host: usize,
}

impl Authority {
    /// Reads `uri-host [":" port]`; `None` if it is anything else (RFC 9110, section 7.2).
    pub(super) fn parse(text: &str) -> Option<Self> {
        let host = match text.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?.0.len() + 2,
            None => text.split_once(':').map_or(text.len(), |(host, _)| host.len()),
        };
        let (name, port) = text.split_at_checked(host)?;
        let digits = match port.strip_prefix(':') {
            Some(digits) => digits,
            None if port.is_empty() => "80",
            None => return None,
        };
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let sound = plain && digits.parse::<u16>().is_ok() && is_host(name);
        sound.then(|| Self { text: text.to_owned(), host })
    }

    /// Without the port, and without the dot at the end of a whole name.
    pub(super) fn host(&self) -> &str {
        let host = self.text.get(..self.host).unwrap_or_default();
        host.strip_suffix('.').unwrap_or(host)
    }
}

/// Whether a text is the name of a host or an address.
fn is_host(text: &str) -> bool {
    if let Some(inner) = text.strip_prefix('[') {
        return inner.strip_suffix(']').is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok());
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    is_host_name(name) || text.parse::<Ipv4Addr>().is_ok()
}

/// Whom a request is for, as all of it says.
///
/// # Errors
/// It does not say so in one way.
pub(super) fn authority(parts: &Parts) -> Result<Authority, Refusal> {
    const BAD: Refusal = Refusal::Host;
    let mut hosts = parts.headers.get_all(HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return Err(BAD);
    }
    let host = match host {
        Some(value) => Some(Authority::parse(value.to_str().map_err(|_| BAD)?).ok_or(BAD)?),
        None => None,
    };
    let target = match parts.uri.authority() {
        Some(authority) => Some(Authority::parse(authority.as_str()).ok_or(BAD)?),
        None => None,
    };
    match (host, target) {
        (Some(host), Some(target)) => {
            host.text.eq_ignore_ascii_case(&target.text).then_some(target).ok_or(BAD)
        }
        // Only HTTP/2 may do without Host.
        (None, Some(target)) if parts.version == Version::HTTP_2 => Ok(target),
        (Some(host), None) => Ok(host),
        (None, _) => Err(BAD),
    }
}

/// Judges all that does not depend on whom it is for.
///
/// # Errors
/// Why it is not passed on.
pub(super) fn judge(parts: &Parts, most: Option<u64>) -> Result<(), Refusal> {
    let (method, uri, headers) = (&parts.method, &parts.uri, &parts.headers);
    // A tunnel to anywhere, and an echo of what we add.
    if matches!(*method, Method::CONNECT | Method::TRACE) {
        return Err(Refusal::Method);
    }
    let schemes = ["https", "http"];
    if uri.scheme_str().is_some_and(|scheme| !schemes.contains(&scheme)) {
        return Err(Refusal::Target);
    }
    // With an authority and no scheme it is the form of CONNECT.
    let misplaced = uri.scheme().is_none() && uri.authority().is_some();
    let path = uri.path();
    if misplaced || !(path.starts_with('/') || path == "*" && *method == Method::OPTIONS) {
        return Err(Refusal::Target);
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let only = |coding: Option<&hyper::header::HeaderValue>| {
        coding.is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
    };
    if !only(codings.next()) || codings.next().is_some() {
        return Err(Refusal::Framing);
    }
    if headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH) {
        return Err(Refusal::Framing);
    }
    // HTTP/1.1 has one by now; over HTTP/2 the first alone was compared with the body.
    if headers.get_all(CONTENT_LENGTH).iter().count() > 1 {
        return Err(Refusal::Framing);
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.zip(most).is_some_and(|(length, most)| length > most) {
        return Err(Refusal::Body);
    }
    Ok(())
}

/// The path of a request and what it asks of it. A whole target may have no path (RFC 9112, section 3.2.1).
pub(super) fn target(uri: &Uri) -> Cow<'_, str> {
    let text = uri.path_and_query().map_or("/", |target| target.as_str());
    if text.starts_with('?') { Cow::Owned(format!("/{text}")) } else { Cow::Borrowed(text) }
}

/// Whether a request for `host` may come on a connection whose client asked for `sni`.
pub(super) fn belongs(host: &str, sni: Option<&str>, others: &[Pattern]) -> bool {
    match sni {
        Some(name) => name.strip_suffix('.').unwrap_or(name).eq_ignore_ascii_case(host),
        None => !others.iter().any(|pattern| pattern.matches(host)),
    }
}

/// Whether a request asks to go on as a WebSocket (RFC 6455, section 4.1). No other upgrade is passed on: in `h2c` a client
/// would speak to the backend unseen.
pub(super) fn is_websocket(parts: &Parts) -> bool {
    let mut upgrades = parts.headers.get_all(UPGRADE).iter();
    let websocket = upgrades.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    websocket
        && upgrades.next().is_none()
        && parts.method == Method::GET
        && parts.version == Version::HTTP_11
        && lists(&parts.headers, "upgrade")
        && !parts.headers.contains_key(TRANSFER_ENCODING)
        && parts.headers.get(CONTENT_LENGTH).is_none_or(|length| length == "0")
}

/// Whether `Connection` lists a word.
fn lists(headers: &HeaderMap, word: &str) -> bool {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|listed| listed.trim().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    use hyper::Request;

    fn parts(version: Version, method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().version(version).method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn an_authority_is_a_host_and_perhaps_a_port_and_nothing_else() {
        for (text, host) in [
            ("www.example.com", "www.example.com"),
            ("www.example.com.:8443", "www.example.com"),
            ("192.0.2.1:443", "192.0.2.1"),
            ("[2001:db8::1]:443", "[2001:db8::1]"),
        ] {
            assert_eq!(Authority::parse(text).unwrap().host(), host);
        }
        for text in [
            "",
            "a b",
            "user@www.example.com",
            "www.example.com:",
            "www.example.com:99999",
            "a:b:c",
            "www.example.com:+1",
            "[::1",
            "[::1]x",
            "[x]",
            "www..com",
            "a/b",
            "a,b",
            "ä.de",
            ".",
            "a\tb",
            "*",
        ] {
            assert_eq!(Authority::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn one_host_is_asked_for_in_one_way_or_in_two_that_agree() {
        const H1: Version = Version::HTTP_11;
        const H2: Version = Version::HTTP_2;
        let bad = Err(Refusal::Host);
        let ok = Ok("a.example");
        for (version, target, hosts, expected) in [
            (H1, "/", &["a.example"][..], ok),
            (H1, "/", &[], bad),
            (H1, "/", &["a.example", "a.example"], bad),
            (H1, "/", &["u@a.example"], bad),
            (H1, "/", &[""], bad),
            (H1, "https://a.example/", &["A.example"], ok),
            (H1, "https://a.example/", &["b.example"], bad),
            (H1, "https://a.example/", &[], bad),
            (H1, "https://u:p@a.example/", &["a.example"], bad),
            (H2, "https://a.example/", &[], ok),
            (H2, "https://a.example/", &["b.example"], bad),
            (H2, "https://u@a.example/", &[], bad),
            (H2, "/", &[], bad),
            (Version::HTTP_10, "/", &[], bad),
        ] {
            let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            let parts = parts(version, "GET", target, &headers);
            let found = authority(&parts);
            let found = found.as_ref().map(|found| found.host().to_owned()).map_err(|refusal| *refusal);
            assert_eq!(found, expected.map(str::to_owned), "{version:?} {target} {hosts:?}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let (framing, place) = (Err(Refusal::Framing), Err(Refusal::Target));
        for (method, target, headers, expected) in [
            ("GET", "/", &[][..], Ok(())),
            ("POST", "/", &[("transfer-encoding", "Chunked")], Ok(())),
            ("POST", "/", &[("transfer-encoding", "gzip, chunked")], framing),
            ("POST", "/", &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], framing),
            ("POST", "/", &[("transfer-encoding", "chunked"), ("content-length", "3")], framing),
            ("POST", "/", &[("content-length", "3"), ("content-length", "4")], framing),
            ("POST", "/", &[("content-length", "11")], Err(Refusal::Body)),
            ("GET", "a.example", &[], place),
            ("GET", "*", &[], place),
            ("OPTIONS", "*", &[], Ok(())),
            ("GET", "ftp://a.example/", &[], place),
            ("CONNECT", "a.example:443", &[], Err(Refusal::Method)),
            ("TRACE", "/", &[], Err(Refusal::Method)),
        ] {
            let parts = parts(Version::HTTP_11, method, target, headers);
            assert_eq!(judge(&parts, Some(10)), expected, "{method} {target} {headers:?}");
        }
    }

    #[test]
    fn a_host_belongs_to_the_name_that_was_asked_for_or_to_no_other_route() {
        let others = ["mail.example.net".parse().unwrap(), "*.example.org".parse().unwrap()];
        assert!(belongs("WWW.example.com", Some("www.example.com"), &[]));
        assert!(!belongs("mail.example.com", Some("www.example.com"), &[]));
        assert!(belongs("192.0.2.1", None, &others));
        assert!(!belongs("mail.example.net", None, &others) && !belongs("a.example.org", None, &others));
    }

    #[test]
    fn of_upgrades_a_websocket_alone_is_one() {
        let with = |headers: &[(&str, &str)]| is_websocket(&parts(Version::HTTP_11, "GET", "/", headers));
        assert!(with(&[("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")]));
        assert!(!with(&[("connection", "upgrade"), ("upgrade", "h2c")]));
        assert!(!with(&[("upgrade", "websocket")]));
        assert!(!with(&[("connection", "upgrade"), ("upgrade", "websocket"), ("content-length", "5")]));
        assert!(!with(&[("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c")]));
    }
}
