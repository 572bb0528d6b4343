//! Headers that are for one hop alone, and those by which backends are told of clients: nobody else sets them (RFC 7239;
//! RFC 9110, section 7.6.1).

use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use hyper::Version;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, COOKIE, EXPECT,
    FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const REAL: HeaderName = HeaderName::from_static("x-real-ip");
/// The id of a request.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How all headers begin that tell of a hop before.
const FORWARDED_AS: &str = "x-forwarded-";
/// For one hop, whether `Connection` lists them or not.
const HOP: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Headers that a request gets beside those: its id, and its host.
const BESIDE: usize = 2;

/// What backends are told of a client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct About<'a> {
    /// Its address.
    pub(super) client: SocketAddr,
    /// Ours.
    pub(super) local: Option<SocketAddr>,
    /// What it asked for: host, and port if there was one.
    pub(super) host: &'a str,
    /// Under which header, and who it is by its certificate.
    pub(super) identity: Option<(&'a HeaderName, Option<&'a HeaderValue>)>,
}

/// Takes away what is for one hop. Of `TE`, `trailers` may stay, which gRPC asks for.
pub(super) fn strip(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // Whom it is for is no matter of a hop, whoever says so.
        .filter(|name| *name != HOST && *name != TE)
        .collect();
    let trailers = headers.get_all(TE).iter().any(|value| {
        let words = value.to_str().unwrap_or_default().split(',');
        words.into_iter().any(|word| word.trim().eq_ignore_ascii_case("trailers"))
    });
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    for name in HOP.iter().chain(&listed) {
        headers.remove(name);
    }
    headers.remove(TE);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// All lengths that a message says it has; one that is no text is empty.
pub(super) fn lengths(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(CONTENT_LENGTH).iter();
    values.flat_map(|value| value.to_str().unwrap_or_default().split(',').map(str::trim))
}

/// Says once the length of an answer that its backend said more often, and leaves out one that is none (RFC 9110, section 8.6).
pub(super) fn merge_lengths(headers: &mut HeaderMap) {
    let all = || lengths(headers);
    let Some(length) = all().next() else { return };
    let is_one = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    if !is_one || all().any(|other| other != length) {
        headers.remove(CONTENT_LENGTH);
    } else if all().nth(1).is_some() {
        let length = length.to_owned();
        set(headers, CONTENT_LENGTH, &length);
    }
}

/// Takes away what only we may say, also in the spelling that some backends take for it.
pub(super) fn distrust(headers: &mut HeaderMap, identity: Option<&HeaderName>) {
    let ours = |name: &HeaderName| {
        let name = name.as_str();
        let known = ["forwarded", "x-real-ip", "x-request-id", "proxy"];
        known.iter().any(|known| is_alike(name, known))
            || name.get(..FORWARDED_AS.len()).is_some_and(|start| is_alike(start, FORWARDED_AS))
            || identity.is_some_and(|identity| is_alike(name, identity.as_str()))
    };
    let found: Vec<_> = headers.keys().filter(|name| ours(name)).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// The same for what follows a body, which some backends merge with the headers. What frames a message, or says whom it is for
/// or who sends it, is none either (RFC 9110, section 6.5.1).
pub(super) fn strip_trailers(trailers: &mut HeaderMap, identity: Option<&HeaderName>) {
    const NEVER: [HeaderName; 10] = [
        HOST,
        TE,
        EXPECT,
        TRAILER,
        CONTENT_LENGTH,
        CONTENT_TYPE,
        CONTENT_ENCODING,
        CONTENT_RANGE,
        AUTHORIZATION,
        COOKIE,
    ];
    strip(trailers);
    distrust(trailers, identity);
    for name in NEVER {
        trailers.remove(name);
    }
}

/// Whether two names are the same to somebody for whom `_` is `-`, as it is under CGI: some servers take any other sign for it
/// too.
fn is_alike(one: &str, other: &str) -> bool {
    let plain = |byte: u8| if byte.is_ascii_alphanumeric() { byte } else { b'-' };
    one.len() == other.len() && one.bytes().zip(other.bytes()).all(|(one, other)| plain(one) == plain(other))
}

/// What backends were told last of one client: the next request most often asks for the same host.
#[derive(Debug, Default)]
pub(super) struct Told(RefCell<Option<(String, HeaderMap)>>);

impl Told {
    /// Tells the backend of the client. What came under these names has to be gone. `about` differs in its host alone.
    pub(super) fn tell(&self, headers: &mut HeaderMap, about: &About<'_>) {
        let mut last = self.0.borrow_mut();
        let (_, said) = match last.take() {
            Some(known) if known.0 == about.host => last.insert(known),
            _ => {
                let mut said = HeaderMap::new();
                tell(&mut said, about);
                last.insert((about.host.to_owned(), said))
            }
        };
        headers.reserve(said.len() + BESIDE);
        for (name, value) in &*said {
            headers.insert(name, value.clone());
        }
    }
}

fn tell(headers: &mut HeaderMap, about: &About<'_>) {
    let address = about.client.ip().to_canonical();
    let mut forwarded = String::with_capacity(96);
    let written = match address {
        IpAddr::V4(address) => write!(forwarded, "for={address}"),
        IpAddr::V6(address) => write!(forwarded, "for=\"[{address}]\""),
    };
    let quoted = if about.host.contains([':', '[']) { "\"" } else { "" };
    let written = written.and(write!(forwarded, ";host={quoted}{}{quoted};proto=https", about.host));
    debug_assert!(written.is_ok());
    let address = address.to_string();
    set(headers, FORWARDED, &forwarded);
    set(headers, FOR, &address);
    set(headers, REAL, &address);
    headers.insert(PROTO, HeaderValue::from_static("https"));
    set(headers, FORWARDED_HOST, about.host);
    if let Some(local) = about.local {
        headers.insert(PORT, HeaderValue::from(local.port()));
    }
    if let Some((name, Some(identity))) = about.identity {
        headers.insert(name, identity.clone());
    }
}

/// Sets a header to a text that can be one.
fn set(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

/// What a request to a backend has beside: whom it is for, and what it wants to be told of this hop.
pub(super) fn address(headers: &mut HeaderMap, host: &str, version: Version, websocket: bool) {
    headers.remove(HOST);
    headers.remove(EXPECT);
    if version == Version::HTTP_2 {
        return;
    }
    set(headers, HOST, host);
    if websocket {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    } else if headers.contains_key(TE) {
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
}

/// Whether an id of a request may be passed on as it came.
pub(super) fn is_id(value: &HeaderValue) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    (1..=128).contains(&value.len()) && value.as_bytes().iter().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&str, &str)]) -> HeaderMap {
        all.iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn what_is_for_one_hop_goes_no_further() {
        let mut found = HeaderMap::new();
        for (name, value) in [
            ("host", "a.example"),
            ("connection", "X-Secret, close,host"),
            ("connection", "x-other"),
            ("x-secret", "1"),
            ("x-other", "2"),
            ("keep-alive", "3"),
            ("proxy-connection", "4"),
            ("te", "gzip, Trailers;q=1"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("http2-settings", "x"),
            ("accept", "*/*"),
        ] {
            found.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        }
        strip(&mut found);
        assert_eq!(found, headers(&[("host", "a.example"), ("te", "trailers"), ("accept", "*/*")]));
        let mut both = headers(&[("transfer-encoding", "chunked"), ("content-length", "3")]);
        strip(&mut both);
        assert!(both.is_empty());
    }

    #[test]
    fn an_answer_has_one_length_or_none() {
        for (said, expected) in [
            (&["5"][..], &["5"][..]),
            (&["5", "5"], &["5"]),
            (&["5, 5"], &["5"]),
            (&["5", "5,5 "], &["5"]),
            (&["5", "6"], &[]),
            (&["5, 6"], &[]),
            (&["+5"], &[]),
            (&[""], &[]),
            (&["5,"], &[]),
            (&[], &[]),
        ] {
            let mut found = HeaderMap::new();
            for length in said {
                found.append(CONTENT_LENGTH, HeaderValue::from_static(length));
            }
            merge_lengths(&mut found);
            let found: Vec<_> = found.get_all(CONTENT_LENGTH).iter().collect();
            assert_eq!(found, expected, "{said:?}");
        }
    }

    #[test]
    fn nobody_else_speaks_for_us() {
        let identity = HeaderName::from_static("x-client-identity");
        let mut found = headers(&[
            ("forwarded", "for=1.2.3.4"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x_forwarded_for", "1.2.3.4"),
            ("x.forwarded.for", "1.2.3.4"),
            ("x-forwarded-prefix", "/admin"),
            ("x-real-ip", "1.2.3.4"),
            ("x-request-id", "1"),
            ("x-client-identity", "root"),
            ("x_client-identity", "root"),
            ("x~client|identity", "root"),
            ("proxy", "http://1.2.3.4"),
            ("x_own", "1"),
        ]);
        distrust(&mut found, Some(&identity));
        assert_eq!(found, headers(&[("x_own", "1")]));
    }

    #[test]
    fn a_trailer_says_nothing_that_a_header_may_not() {
        let identity = HeaderName::from_static("x-client-identity");
        let mut found = headers(&[
            ("x-client_identity", "root"),
            ("x_real_ip", "1.2.3.4"),
            ("host", "mail.example.com"),
            ("te", "trailers"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("authorization", "Basic cm9vdA=="),
            ("grpc-status", "0"),
        ]);
        strip_trailers(&mut found, Some(&identity));
        assert_eq!(found, headers(&[("grpc-status", "0")]));
    }

    #[test]
    fn backends_are_told_of_the_client() {
        let name = HeaderName::from_static("x-client-identity");
        let value = HeaderValue::from_static("spiffe://example.org/a");
        for (client, host, forwarded, shown) in [
            ("192.0.2.7:4711", "a.example", "for=192.0.2.7;host=a.example;proto=https", "192.0.2.7"),
            (
                "[2001:db8::7]:1",
                "a.example:8443",
                "for=\"[2001:db8::7]\";host=\"a.example:8443\";proto=https",
                "2001:db8::7",
            ),
            ("[::ffff:192.0.2.7]:1", "a.example", "for=192.0.2.7;host=a.example;proto=https", "192.0.2.7"),
        ] {
            let about = About {
                client: client.parse().unwrap(),
                local: Some("192.0.2.1:8443".parse().unwrap()),
                host,
                identity: Some((&name, Some(&value))),
            };
            let (mut found, mut again, mut other) = (HeaderMap::new(), HeaderMap::new(), HeaderMap::new());
            let told = Told::default();
            told.tell(&mut other, &About { host: "other.example", ..about.clone() });
            told.tell(&mut found, &about);
            told.tell(&mut again, &about);
            assert_eq!(found, again);
            assert_eq!(other.get("x-forwarded-host").unwrap(), "other.example");
            let expected = headers(&[
                ("forwarded", forwarded),
                ("x-forwarded-for", shown),
                ("x-real-ip", shown),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", host),
                ("x-forwarded-port", "8443"),
                ("x-client-identity", "spiffe://example.org/a"),
            ]);
            assert_eq!(found, expected);
        }
    }
}
