//! `aditctl tls check`

use std::fmt::Write;
use std::net::ToSocketAddrs;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use rustls::RootCertStore;

use super::command::TlsCheck;
use super::output;
use super::paint::{Paint, escape};
use crate::config::EndpointName;
use crate::tls::certificate::{Severity, certificates};
use crate::tls::check::Report;

/// More than a chain or a system's roots need, in bytes.
const LARGEST: u64 = 4 << 20;

/// Looks at a server or at a file, and tells what it found.
///
/// # Errors
/// In words for the operator; also if anything is wrong with it.
pub(super) fn check(arguments: &TlsCheck) -> Result<()> {
    let now = SystemTime::UNIX_EPOCH.elapsed().context("the clock is before 1970")?.as_secs().cast_signed();
    let report = match Path::new(&arguments.target) {
        file if file.is_file() => of_file(file, now)?,
        _ => of_server(&arguments.target, &arguments.ca, now)?,
    };
    let text = if arguments.json {
        format!("{}\n", serde_json::to_string_pretty(&report)?)
    } else {
        render(&report, Paint::stdout())
    };
    output::write(text.as_bytes())?;
    match report.findings.iter().filter(|finding| finding.severity == Severity::Wrong).count() {
        0 => Ok(()),
        1 => bail!("one thing is wrong with it"),
        count => bail!("{count} things are wrong with it"),
    }
}

fn of_file(file: &Path, now: i64) -> Result<Report> {
    let chain = certificates(&read(file)?);
    let chain = chain.map_err(|finding| anyhow::anyhow!("{}: {}", file.display(), finding.text))?;
    Ok(Report::of_chain(&file.to_string_lossy(), &chain, now))
}

fn of_server(target: &str, ca: &Path, now: i64) -> Result<Report> {
    let endpoint: EndpointName = target
        .parse()
        .map_err(|_| anyhow::anyhow!("{target} is neither a file nor HOST:PORT, as www.example.com:443"))?;
    let (host, port) = match endpoint {
        EndpointName::Address(address) => (address.ip().to_string(), address.port()),
        EndpointName::Dns { host, port } => (host, port),
    };
    let address =
        (host.as_str(), port).to_socket_addrs().with_context(|| format!("no address of {host}"))?.next();
    let address = address.with_context(|| format!("no address of {host}"))?;
    let mut roots = RootCertStore::empty();
    let text = read(ca)?;
    let known =
        certificates(&text).map_err(|finding| anyhow::anyhow!("{}: {}", ca.display(), finding.text))?;
    roots.add_parsable_certificates(known);
    Report::of_server(target, &host, address, roots, now).with_context(|| format!("cannot ask {target}"))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let shown = || file.display().to_string();
    let size = std::fs::metadata(file).with_context(shown)?.len();
    if size > LARGEST {
        bail!("{}: more than {LARGEST} bytes", shown());
    }
    std::fs::read(file).with_context(shown)
}

fn render(report: &Report, paint: Paint) -> String {
    let mut text = format!("{}\n", paint.bold(&escape(&report.target)));
    let mut row = |label: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "  {label:<8} {}", escape(value));
        }
    };
    for version in &report.versions {
        row(version.version, &version.suites.join(", "));
    }
    row("groups", &report.groups.join(", "));
    row("names", &report.names.join(", "));
    for finding in report.findings.iter() {
        let label = match finding.severity {
            Severity::Wrong => paint.red("wrong"),
            Severity::Warning => paint.yellow("warning"),
            Severity::Note => paint.cyan("note"),
        };
        let _ = writeln!(text, "{label}: {}", escape(&finding.text));
    }
    if report.findings.iter().next().is_none() {
        text.push_str("nothing is wrong with it\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_folder::Folder;

    fn arguments(target: &Path) -> TlsCheck {
        TlsCheck { target: target.to_string_lossy().into_owned(), json: false, ca: "/nowhere".into() }
    }

    #[test]
    fn a_file_is_judged_and_one_without_certificates_is_refused() {
        let folder = Folder::new();
        let (good, bad) = (folder.path().join("good.pem"), folder.path().join("bad.pem"));
        let made = rcgen::generate_simple_self_signed(["www.example.com".to_owned()]).unwrap();
        std::fs::write(&good, made.cert.pem()).unwrap();
        std::fs::write(&bad, "nothing").unwrap();
        let report = of_file(&good, 1_767_225_600).unwrap();
        let text = render(&report, Paint::PLAIN);
        assert!(
            text.contains("\n  names    www.example.com\n")
                && text.contains("\nwarning: the certificate is self-signed"),
            "{text}"
        );
        check(&arguments(&good)).unwrap();
        let error = check(&arguments(&bad)).unwrap_err().to_string();
        assert!(
            error.ends_with("bad.pem: no certificate: expected PEM, \"-----BEGIN CERTIFICATE-----\""),
            "{error}"
        );
    }

    #[test]
    fn what_is_neither_a_file_nor_an_address_is_told() {
        let error = check(&arguments(Path::new("/not/there"))).unwrap_err().to_string();
        assert_eq!(error, "/not/there is neither a file nor HOST:PORT, as www.example.com:443");
    }
}
