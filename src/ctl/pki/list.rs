//! `aditctl pki list`

use anyhow::Result;
use serde::Serialize;
use time::OffsetDateTime;

use super::arguments::List;
use super::now;
use crate::ctl::output;
use crate::ctl::paint::Paint;
use crate::pki::{Authority, Crl, Issued, Purpose, Reason, moment};

/// What became of a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Valid,
    Expired,
    Revoked,
}

/// A certificate in JSON. Fields are added, never renamed.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    name: String,
    serial: String,
    purpose: &'static str,
    alt_names: Vec<String>,
    not_before: String,
    not_after: String,
    state: State,
    revoked_at: Option<String>,
    reason: Option<Reason>,
}

/// The whole answer in JSON.
#[derive(Debug, Serialize)]
struct Answer {
    schema: u32,
    authority: AuthorityRow,
    certificates: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct AuthorityRow {
    subject: String,
    serial: String,
    not_after: String,
    crl_number: Option<String>,
    crl_next_update: Option<String>,
}

impl Row {
    pub(super) fn new(issued: &Issued, list: Option<&Crl>, now: OffsetDateTime) -> Self {
        let certificate = &issued.certificate;
        let entry = list.and_then(|list| list.entry(&certificate.serial));
        let state = if entry.is_some() {
            State::Revoked
        } else if certificate.not_after <= now {
            State::Expired
        } else {
            State::Valid
        };
        Self {
            name: issued.name.to_string(),
            serial: certificate.serial.to_string(),
            purpose: match certificate.purpose {
                Some(Purpose::Client) => "client",
                Some(Purpose::Server) => "server",
                None => "other",
            },
            alt_names: certificate.alt_names.clone(),
            not_before: moment(certificate.not_before),
            not_after: moment(certificate.not_after),
            state,
            revoked_at: entry.map(|entry| moment(entry.at)),
            reason: entry.map(|entry| entry.reason),
        }
    }

    fn words(&self) -> String {
        match (self.state, &self.revoked_at, self.reason) {
            (State::Revoked, Some(at), Some(Reason::Unspecified)) => format!("revoked {at}"),
            (State::Revoked, Some(at), Some(reason)) => format!("revoked {at}, {reason}"),
            (State::Expired, _, _) => "expired".to_owned(),
            (State::Valid | State::Revoked, _, _) => "valid".to_owned(),
        }
    }
}

/// Lists what was issued.
///
/// # Errors
/// There is no authority, no such certificate, or what the system says.
pub(super) fn run(authority: &Authority, arguments: &List) -> Result<()> {
    let now = now();
    let issued = match &arguments.target {
        Some(target) => authority.find(target)?,
        None => authority.issued()?,
    };
    let list = authority.crl()?;
    let rows: Vec<_> = issued.iter().map(|issued| Row::new(issued, list.as_ref(), now)).collect();
    if arguments.json {
        let authority = about(authority, list.as_ref());
        let mut text = serde_json::to_string_pretty(&Answer { schema: 1, authority, certificates: rows })?;
        text.push('\n');
        return output::write(text.as_bytes());
    }
    let ended = |row: &Row| row.not_after <= moment(now);
    let all = arguments.all || arguments.target.is_some();
    let shown: Vec<_> = rows.iter().filter(|row| all || !ended(row)).collect();
    let hidden = rows.len() - shown.len();
    let mut text = head(authority, list.as_ref(), now);
    text.push_str(&table(&shown));
    if hidden > 0 {
        text.push_str(&format!("{hidden} more have ended; --all shows them\n"));
    }
    output::write(text.as_bytes())
}

fn about(authority: &Authority, list: Option<&Crl>) -> AuthorityRow {
    let certificate = authority.certificate();
    AuthorityRow {
        subject: certificate.subject.clone(),
        serial: certificate.serial.to_string(),
        not_after: moment(certificate.not_after),
        crl_number: list.map(number),
        crl_next_update: list.and_then(|list| list.next_update).map(moment),
    }
}

fn head(authority: &Authority, list: Option<&Crl>, now: OffsetDateTime) -> String {
    let paint = Paint::stdout();
    let certificate = authority.certificate();
    let subject = crate::ctl::paint::escape(&certificate.subject).into_owned();
    let mut text = format!("{}: {subject}\n", paint.interface("authority"));
    text.push_str(&format!("  {}: {}\n", paint.bold("ends"), moment(certificate.not_after)));
    let Some(list) = list else {
        text.push_str(&paint.warning("  no revocation list: what is revoked is not known\n"));
        text.push('\n');
        return text;
    };
    let due = list.next_update.map_or("never".to_owned(), moment);
    text.push_str(&format!(
        "  {}: number {}, next update {due}\n",
        paint.bold("revocation list"),
        number(list)
    ));
    if list.next_update.is_some_and(|due| due <= now) {
        text.push_str(
            &paint.warning("  the revocation list has run out; sign a new one by `aditctl pki crl`"),
        );
        text.push('\n');
    }
    text.push('\n');
    text
}

fn table(rows: &[&Row]) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0).max("NAME".len());
    let serials = rows.iter().map(|row| row.serial.len()).max().unwrap_or(0).max("SERIAL".len());
    let mut text = format!("{:width$}  {:serials$}  FOR     ENDS                  STATE\n", "NAME", "SERIAL");
    for row in rows {
        let (name, serial, words) = (&row.name, &row.serial, row.words());
        text.push_str(&format!(
            "{name:width$}  {serial:serials$}  {:6}  {}  {words}\n",
            row.purpose, row.not_after
        ));
    }
    text
}

/// The number of a list, as openssl prints it but in capitals.
pub(super) fn number(list: &Crl) -> String {
    let digits: String = list.number.iter().map(|byte| format!("{byte:02X}")).collect();
    match digits.trim_start_matches('0') {
        "" => "0x0".to_owned(),
        digits => format!("0x{digits}"),
    }
}
