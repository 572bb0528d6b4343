//! `client_certificates`

use super::super::file::Context;
use super::super::table::Value;
use super::contents::{self, Contents};
use super::{Clients, Loaded};
use crate::clock;
use crate::tls::clients::{Allow, Files, Mode, Verifier};
use crate::tls::policy::Policy;

/// What `mode` may be.
const MODE: &str = "\"required\" or \"optional\"";
/// What the files may be.
const CA: &str = "a file with the certificates of the clients' CAs in PEM";
const CRL: &str = "a file with a revocation list in PEM or DER";
/// What `allow` may be.
const ALLOW: &str = "\"spiffe://DOMAIN/PATH\", \"spiffe://DOMAIN/*\" or \"dns:NAME\"";
/// What wrong keys were probably meant to be.
const HINTS: &[(&str, &str)] = &[("crl_file", "did you mean crl_files?"), ("ca", "did you mean ca_file?")];

/// `client_certificates`; `Some(None)` if there are none, `None` if any of it is wrong.
pub(super) fn clients(
    value: Option<Value<'_>>,
    policy: Policy,
    context: &mut Context<'_>,
) -> Option<Option<Clients>> {
    let Some(whole) = value else { return Some(None) };
    let mut table = whole.entries()?;
    let mode = match table.value("mode") {
        None => {
            table.missing("mode", MODE);
            None
        }
        Some(value) => value.parsed(MODE, |text| match text {
            "required" => Some(Mode::Required),
            "optional" => Some(Mode::Optional),
            _ => None,
        }),
    };
    let authorities = table.value("ca_file");
    if authorities.is_none() {
        table.missing("ca_file", CA);
    }
    let read = authorities.as_ref().and_then(|value| contents::of(value, CA, context));
    let (mut named, mut lists) = (0, Vec::new());
    if let Some(value) = table.value("crl_files") {
        lists = value.list(CRL, |element| {
            named += 1;
            contents::of(&element, CRL, context)
        });
    }
    let mut asked = 0;
    let allow: Vec<Allow> = table.value("allow").map_or_else(Vec::new, |value| {
        value.list(ALLOW, |element| {
            asked += 1;
            element.parsed(ALLOW, |text| text.parse().ok())
        })
    });
    table.end(HINTS);
    let (authorities, Contents { path: file, bytes }) = (authorities?, read?);
    let mode = mode.filter(|_| lists.len() == named && allow.len() == asked)?;
    let revoked: Vec<_> = lists.iter().map(|list| list.bytes.to_vec()).collect();
    let all = std::iter::once(bytes.as_slice()).chain(revoked.iter().map(Vec::as_slice));
    // The verifier has the algorithms of a policy, and the rules.
    let rules = format!("{policy} {mode:?} {allow:?}");
    let contents = contents::digest(all.chain([rules.as_bytes()]));
    let files = Files { authorities: &bytes, revoked: &revoked, allow: allow.clone(), mode };
    match Verifier::load(files, policy, clock::both().wall.as_secs() as i64) {
        Ok((value, findings)) => {
            let verifier = Loaded { file, value, findings, contents };
            Some(Some(Clients { mode, allow, verifier }))
        }
        Err(findings) => {
            for finding in findings.iter() {
                authorities.refused(format!("{}: {}", authorities.found(), finding.text), CA);
            }
            None
        }
    }
}
