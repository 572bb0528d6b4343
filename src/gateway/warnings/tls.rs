//! What is wrong where TLS ends, or soon will be.

use crate::config::Tls;
use crate::status;
use crate::tls::certificate::{Finding, Severity};

/// Of a table's certificates at the time `now`, in seconds since 1970.
pub(in super::super) fn of_certificates(config: &Tls, now: i64) -> Vec<String> {
    let matters = |finding: &&Finding| finding.severity != Severity::Note;
    let mut warnings = Vec::new();
    for loaded in &config.certificates {
        let file = loaded.file.display();
        let findings = loaded.value.findings_at(now);
        let words = findings.iter().filter(matters).map(|found| format!("in {file}: {}", found.text));
        warnings.extend(words);
    }
    warnings
}

/// Of a table at the time `now`, in seconds since 1970. `stale`: the file of ticket keys is too old to issue any.
pub(in super::super) fn of(config: &Tls, report: &status::Tls, stale: bool, now: i64) -> Vec<String> {
    let mut warnings = of_certificates(config, now);
    if let Some(clients) = &config.clients {
        let file = clients.verifier.file.display();
        if clients.verifier.value.until().is_some_and(|until| until < now) {
            warnings.push(format!(
                "a revocation list of the CAs in {file} has ended: no client of that CA is let in until there is a newer one, and a reload"
            ));
        }
    }
    if let Some(keys) = config.ticket_keys.as_ref().filter(|_| stale) {
        warnings.push(format!(
            "no ticket is issued, since {} was written more than 12 hours ago: write it anew with another key first, and reload",
            keys.file.display()
        ));
    }
    if report.draining {
        warnings.push(format!("it drains, and accepts nothing; {} connections are left", report.open));
    }
    if let Some(error) = report.access_log.as_ref().and_then(|log| log.error.as_ref()) {
        warnings.push(format!("the access log is not written: {error}"));
    }
    for (name, route) in &report.routes {
        for one in &route.names {
            if let Some(error) = &one.error {
                let (host, kept) = (&one.name, one.addresses);
                warnings.push(format!(
                    "the backend {host} of route {name} is not found: {error}; {kept} addresses of before are used"
                ));
            }
        }
        for backend in &route.backends {
            let address = &backend.address;
            match &backend.checks {
                Some(checks) if !checks.up => {
                    let error = checks.error.as_deref().unwrap_or("it is not up yet");
                    warnings.push(format!("the backend {address} of route {name} is down: {error}"));
                }
                Some(_) | None if backend.failing => {
                    let why = backend.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
                    warnings.push(format!(
                        "the backend {address} of route {name} refused the last connection, or did not answer{why}"
                    ));
                }
                Some(_) | None => {}
            }
        }
    }
    warnings
}
