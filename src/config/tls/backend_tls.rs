//! `backend_tls`

use rustls::pki_types::ServerName;

use super::super::file::Context;
use super::super::table::Value;
use super::Loaded;
use super::contents::{self, Contents};
use crate::clock;
use crate::tls::backend_tls::{BackendTls, Files};

/// What the files may be.
const CA: &str = "a file with the certificates of the backends' CAs in PEM";
const CHAIN: &str = "a file with our own certificate in PEM, and after it those that issued it";
const KEY: &str = "a file of mode 0600 with a private key in PEM";
/// What `name` may be.
const NAME: &str = "a host's name or an address, as the backends' certificates have it";
/// What wrong keys were probably meant to be.
const HINTS: &[(&str, &str)] = &[
    ("verify", "backends are always verified"),
    ("insecure", "backends are always verified"),
    ("insecure_skip_verify", "backends are always verified"),
    ("ca", "did you mean ca_file?"),
    ("sni", "did you mean name?"),
    ("server_name", "did you mean name?"),
    ("cert_file", "did you mean chain_file?"),
    ("certificate_file", "did you mean chain_file?"),
];

/// `backend_tls`; `None` if any of it is wrong. `unnamed`: a backend is a unix socket, by which no certificate is named.
pub(super) fn backend_tls(
    value: &Value<'_>,
    unnamed: bool,
    context: &mut Context<'_>,
) -> Option<Loaded<BackendTls>> {
    let mut table = value.clone().entries()?;
    let authorities = table.value("ca_file");
    if authorities.is_none() {
        table.missing("ca_file", CA);
    }
    let name = table.value("name").map(|value| {
        value.parsed(NAME, |text| ServerName::try_from(text.to_owned()).ok().map(|name| (text, name)))
    });
    if unnamed && name.is_none() {
        table.missing("name", &format!("{NAME}: a backend here is a unix socket"));
    }
    let (chain, key) = (table.value("chain_file"), table.value("key_file"));
    match (&chain, &key) {
        (Some(_), None) => table.missing("key_file", KEY),
        (None, Some(_)) => table.missing("chain_file", CHAIN),
        (Some(_), Some(_)) | (None, None) => {}
    }
    table.end(HINTS);
    let read = authorities.as_ref().and_then(|value| contents::of(value, CA, context));
    let own_chain = chain.as_ref().map(|value| contents::of(value, CHAIN, context));
    let own_key = key.as_ref().map(|value| contents::private(value, KEY, context));
    let Contents { path: file, bytes } = read?;
    let own = match (own_chain, own_key) {
        (None, None) => None,
        (chain, key) => Some((chain??.bytes, key??.bytes)),
    };
    let name = match name {
        Some(name) => Some(name?),
        None => None,
    };
    let own = own.as_ref().map(|(chain, key)| (chain.as_slice(), key.as_slice()));
    let (chain_bytes, key_bytes) = own.unwrap_or_default();
    let called = name.as_ref().map_or("", |(text, _)| text);
    let contents = contents::digest([bytes.as_slice(), chain_bytes, key_bytes, called.as_bytes()]);
    let files = Files { authorities: &bytes, own };
    match BackendTls::load(files, name.map(|(_, name)| name), clock::both().wall.as_secs() as i64) {
        Ok((value, findings)) => Some(Loaded { file, value, findings, contents }),
        Err(findings) => {
            for finding in findings.iter() {
                value.refused(
                    finding.text.clone(),
                    "certificates that can be used, and a key that belongs to ours",
                );
            }
            None
        }
    }
}
