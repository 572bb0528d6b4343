//! `http` of a route, and `plain`.

use std::time::Duration;

use super::*;

/// `[tls.web]` with these lines in it, and these in `http` of its route.
fn web(lines: &str, http: &str) -> String {
    format!(
        "[tls.web]\nlisten = [\"[::1]:443\"]\ncertificates = [{{ chain_file = \"chain.pem\", key_file = \"web-key.pem\" }}]\n{lines}\n[tls.web.route.a]\nsni = [\"www.example.com\"]\nbackend = [\"127.0.0.1:80\"]\n{http}\n"
    )
}

#[test]
fn a_route_in_http_mode_has_sound_defaults_and_what_it_says() {
    let config = read(&web("", "http = {}")).unwrap();
    let plain = config.tls["web"].routes["a"].http.clone().unwrap();
    assert_eq!(plain, crate::tls::http::Settings::default());
    let http = "[tls.web.route.a.http]\nhsts = { max_age = \"365d\", subdomains = true, preload = true }\nclient_identity_header = \"X-Client-Identity\"\nbody_bytes = 5\nheader_timeout = \"2s\"";
    let config = read(&web("plain = [\"[::1]:80\"]", http)).unwrap();
    assert_eq!(config.tls["web"].plain, ["[::1]:80".parse().unwrap()]);
    let settings = config.tls["web"].routes["a"].http.clone().unwrap();
    assert_eq!(settings.hsts.unwrap(), "max-age=31536000; includeSubDomains; preload");
    assert_eq!(settings.identity.unwrap(), "x-client-identity");
    assert_eq!((settings.body_bytes, settings.header_timeout), (Some(5), Duration::from_secs(2)));
    assert!(read(&web("", "")).unwrap().tls["web"].routes["a"].http.is_none());
}

#[test]
fn what_http_cannot_be_is_told() {
    for (lines, http, key, found) in [
        ("", "http = true", "http", "true"),
        ("", "http = { hsts = {} }", "http.hsts.max_age", "nothing"),
        ("", "http = { hsts = { max_age = \"2y\" } }", "http.hsts.max_age", "\"2y\""),
        ("", "http = { hsts = { max_age = \"4000d\" } }", "http.hsts.max_age", "\"4000d\""),
        (
            "",
            "http = { hsts = { max_age = \"730d\", preload = true } }",
            "http.hsts",
            "preload without subdomains",
        ),
        ("", "http = { client_identity_header = \"Host\" }", "http.client_identity_header", "\"Host\""),
        (
            "",
            "http = { client_identity_header = \"X-Forwarded-By\" }",
            "http.client_identity_header",
            "\"X-Forwarded-By\"",
        ),
        ("", "http = { client_identity_header = \"X-A B\" }", "http.client_identity_header", "\"X-A B\""),
        ("", "http = { streams = 0 }", "http.streams", "0"),
        ("", "http = { header_timeout = \"0s\" }", "http.header_timeout", "\"0s\""),
        ("", "http = { max_body = 5 }", "http.max_body", "an unknown key"),
        ("", "pass_through = true\nhttp = {}", "http", "http beside pass_through"),
    ] {
        let errors = read(&web(lines, http)).unwrap_err();
        let key = format!("tls.web.route.a.{key}");
        let told = errors.iter().any(|mistake| mistake.key == key && mistake.found.contains(found));
        assert!(told, "{http}: {errors}");
    }
    for (lines, key, found) in [
        ("plain = [\"[::1]:80\"]", "tls.web.plain", "no route with http"),
        ("plain = [\"[::1]:443\"]", "tls.web.plain[0]", "[::1]:443"),
        ("plain = [\"x\"]", "tls.web.plain[0]", "\"x\""),
    ] {
        let errors = read(&web(lines, "")).unwrap_err();
        let told = errors.iter().any(|mistake| mistake.key == key && mistake.found.contains(found));
        assert!(told, "{lines}: {errors}");
    }
}
