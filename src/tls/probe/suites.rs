//! Suites, groups and versions by their numbers (IANA, "TLS Parameters"), and what is wrong with some of them.

/// A suite of TLS 1.2 and before, or of TLS 1.3.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Suite {
    /// Its number.
    pub number: u16,
    /// Its name.
    pub name: &'static str,
    /// What is wrong with it.
    pub fault: Option<&'static str>,
}

const STATIC: Option<&str> = Some("no forward secrecy");
const CBC: Option<&str> = Some("CBC, no AEAD");
const FINITE: Option<&str> = Some("finite-field Diffie-Hellman");
const BROKEN: Option<&str> = Some("broken");
const NONE: Option<&str> = Some("no encryption or no authentication");

const fn suite(number: u16, name: &'static str, fault: Option<&'static str>) -> Suite {
    Suite { number, name, fault }
}

/// Those that are asked for, good ones first.
pub const SUITES: &[Suite] = &[
    suite(0x1301, "TLS_AES_128_GCM_SHA256", None),
    suite(0x1302, "TLS_AES_256_GCM_SHA384", None),
    suite(0x1303, "TLS_CHACHA20_POLY1305_SHA256", None),
    suite(0x1304, "TLS_AES_128_CCM_SHA256", None),
    suite(0x1305, "TLS_AES_128_CCM_8_SHA256", Some("a tag of 8 bytes")),
    suite(0xc02b, "ECDHE-ECDSA-AES128-GCM-SHA256", None),
    suite(0xc02c, "ECDHE-ECDSA-AES256-GCM-SHA384", None),
    suite(0xcca9, "ECDHE-ECDSA-CHACHA20-POLY1305", None),
    suite(0xc02f, "ECDHE-RSA-AES128-GCM-SHA256", None),
    suite(0xc030, "ECDHE-RSA-AES256-GCM-SHA384", None),
    suite(0xcca8, "ECDHE-RSA-CHACHA20-POLY1305", None),
    suite(0xc0ac, "ECDHE-ECDSA-AES128-CCM", None),
    suite(0xc0ad, "ECDHE-ECDSA-AES256-CCM", None),
    suite(0x009e, "DHE-RSA-AES128-GCM-SHA256", FINITE),
    suite(0x009f, "DHE-RSA-AES256-GCM-SHA384", FINITE),
    suite(0xccaa, "DHE-RSA-CHACHA20-POLY1305", FINITE),
    suite(0xc023, "ECDHE-ECDSA-AES128-SHA256", CBC),
    suite(0xc024, "ECDHE-ECDSA-AES256-SHA384", CBC),
    suite(0xc027, "ECDHE-RSA-AES128-SHA256", CBC),
    suite(0xc028, "ECDHE-RSA-AES256-SHA384", CBC),
    suite(0xc009, "ECDHE-ECDSA-AES128-SHA", CBC),
    suite(0xc00a, "ECDHE-ECDSA-AES256-SHA", CBC),
    suite(0xc013, "ECDHE-RSA-AES128-SHA", CBC),
    suite(0xc014, "ECDHE-RSA-AES256-SHA", CBC),
    suite(0x0067, "DHE-RSA-AES128-SHA256", CBC),
    suite(0x006b, "DHE-RSA-AES256-SHA256", CBC),
    suite(0x0033, "DHE-RSA-AES128-SHA", CBC),
    suite(0x0039, "DHE-RSA-AES256-SHA", CBC),
    suite(0x0045, "DHE-RSA-CAMELLIA128-SHA", CBC),
    suite(0x0088, "DHE-RSA-CAMELLIA256-SHA", CBC),
    suite(0x009c, "AES128-GCM-SHA256", STATIC),
    suite(0x009d, "AES256-GCM-SHA384", STATIC),
    suite(0x003c, "AES128-SHA256", STATIC),
    suite(0x003d, "AES256-SHA256", STATIC),
    suite(0x002f, "AES128-SHA", STATIC),
    suite(0x0035, "AES256-SHA", STATIC),
    suite(0x0041, "CAMELLIA128-SHA", STATIC),
    suite(0x0084, "CAMELLIA256-SHA", STATIC),
    suite(0xc008, "ECDHE-ECDSA-DES-CBC3-SHA", BROKEN),
    suite(0xc012, "ECDHE-RSA-DES-CBC3-SHA", BROKEN),
    suite(0x0016, "DHE-RSA-DES-CBC3-SHA", BROKEN),
    suite(0x000a, "DES-CBC3-SHA", BROKEN),
    suite(0xc007, "ECDHE-ECDSA-RC4-SHA", BROKEN),
    suite(0xc011, "ECDHE-RSA-RC4-SHA", BROKEN),
    suite(0x0005, "RC4-SHA", BROKEN),
    suite(0x0004, "RC4-MD5", BROKEN),
    suite(0x0003, "EXP-RC4-MD5", BROKEN),
    suite(0x0009, "DES-CBC-SHA", BROKEN),
    suite(0xc006, "ECDHE-ECDSA-NULL-SHA", NONE),
    suite(0xc010, "ECDHE-RSA-NULL-SHA", NONE),
    suite(0x003b, "NULL-SHA256", NONE),
    suite(0x0002, "NULL-SHA", NONE),
    suite(0xc018, "AECDH-AES128-SHA", NONE),
    suite(0x0034, "ADH-AES128-SHA", NONE),
    suite(0x00a6, "ADH-AES128-GCM-SHA256", NONE),
];

/// Groups that are asked for, with their names.
pub const GROUPS: &[(u16, &str)] = &[
    (0x11ec, "X25519MLKEM768"),
    (0x11eb, "SecP256r1MLKEM768"),
    (0x11ed, "SecP384r1MLKEM1024"),
    (29, "X25519"),
    (23, "P-256"),
    (24, "P-384"),
    (25, "P-521"),
    (30, "X448"),
    (256, "ffdhe2048"),
    (257, "ffdhe3072"),
    (258, "ffdhe4096"),
];

/// The name of a group.
#[must_use]
pub fn group_name(number: u16) -> String {
    let known = GROUPS.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| format!("0x{number:04x}"), |(_, name)| (*name).to_owned())
}

/// The name of a version.
#[must_use]
pub fn version_name(number: u16) -> &'static str {
    match number {
        0x0304 => "TLS 1.3",
        0x0303 => "TLS 1.2",
        0x0302 => "TLS 1.1",
        0x0301 => "TLS 1.0",
        0x0300 => "SSL 3.0",
        _ => "unknown",
    }
}
