//! `certificates` and `ticket_key_file`.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::super::file::Context;
use super::super::table::{Table, Value};
use super::Loaded;
use super::contents::{self, Contents};
use crate::clock;
use crate::tls::certificate::{Certificate, Files, Findings};
use crate::tls::tickets::TicketKeys;

/// What `certificates` may be.
pub(super) const CERTIFICATES: &str = "a list of { chain_file = \"FILE\", key_file = \"FILE\" }";
/// What the files may be.
const CHAIN: &str = "a file with the server's certificate in PEM, and after it those that issued it";
const KEY: &str = "a file of mode 0600 with a private key in PEM";
const OCSP: &str = "a file with an OCSP response in DER";
const TICKETS: &str = "a file of mode 0600 with a line for each key: a name, and 32 bytes in base64";
/// What a chain and its key may be.
const PAIR: &str = "a chain in which each certificate is signed by the next, and the key of the first";
/// What wrong keys were probably meant to be.
const HINTS: &[(&str, &str)] = &[
    ("cert_file", "did you mean chain_file?"),
    ("certificate_file", "did you mean chain_file?"),
    ("private_key_file", "did you mean key_file?"),
    ("key", "no keys in this file: write it to a file of mode 0600 and name that as key_file"),
];

/// `certificates`; `None` if any is wrong.
pub(super) fn certificates(
    table: &mut Table<'_>,
    context: &mut Context<'_>,
) -> Option<Vec<Loaded<Certificate>>> {
    let Some(value) = table.value("certificates") else { return Some(Vec::new()) };
    let mut all = true;
    let loaded = value.list(CERTIFICATES, |element| {
        let loaded = certificate(element, context);
        all &= loaded.is_some();
        loaded
    });
    // What is no list was told of.
    (all && value.is_list()).then_some(loaded)
}

fn certificate(element: Value<'_>, context: &mut Context<'_>) -> Option<Loaded<Certificate>> {
    let mut table = element.clone().entries()?;
    let (chain, key) = (table.value("chain_file"), table.value("key_file"));
    let ocsp = table.value("ocsp_file");
    for (key, value, allowed) in [("chain_file", &chain, CHAIN), ("key_file", &key, KEY)] {
        if value.is_none() {
            table.missing(key, allowed);
        }
    }
    table.end(HINTS);
    let read_chain = chain.as_ref().and_then(|value| contents::of(value, CHAIN, context));
    let read_key = key.as_ref().and_then(|value| contents::private(value, KEY, context));
    let read_ocsp = ocsp.as_ref().map(|value| contents::of(value, OCSP, context));
    let (chain, Contents { path, bytes }, key) = (chain?, read_chain?, read_key?);
    let ocsp = match read_ocsp {
        Some(ocsp) => Some(ocsp?.bytes),
        None => None,
    };
    let ocsp = ocsp.as_ref().map(|bytes| bytes.as_slice());
    let files = Files { chain: &bytes, key: &key.bytes, ocsp };
    let contents = contents::digest([bytes.as_slice(), key.bytes.as_slice(), ocsp.unwrap_or_default()]);
    match Certificate::load(files, clock::both().wall.as_secs() as i64) {
        Ok(value) => {
            let findings = value.findings().clone();
            Some(Loaded { file: path, value, findings, contents })
        }
        Err(findings) => {
            for finding in findings.iter() {
                chain.refused(format!("{}: {}", chain.found(), finding.text), PAIR);
            }
            None
        }
    }
}

/// `ticket_key_file`; `Some(None)` if there is none, `None` if it is wrong.
pub(super) fn ticket_keys(
    value: Option<&Value<'_>>,
    context: &mut Context<'_>,
) -> Option<Option<Loaded<TicketKeys>>> {
    let Some(value) = value else { return Some(None) };
    let Contents { path: file, bytes } = contents::private(value, TICKETS, context)?;
    let written = written(&file).as_secs();
    match TicketKeys::parse(&bytes, written) {
        Ok(keys) => {
            let contents = contents::digest([bytes.as_slice(), &written.to_be_bytes()]);
            Some(Some(Loaded { file, value: keys, findings: Findings::default(), contents }))
        }
        Err(error) => {
            value.refused(format!("{}: {error}", value.found()), TICKETS);
            None
        }
    }
}

/// When a file was last written, since 1970: its keys age from then on.
fn written(path: &Path) -> Duration {
    let modified = std::fs::metadata(path).and_then(|found| found.modified());
    modified.ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok()).unwrap_or_default()
}
