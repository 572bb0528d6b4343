//! What clients send to the enrolment API, and what authorities sign about them.

use adit::config::Naming;
use adit::enrolment::{Call, LARGEST, Problem, Request};
use adit::store::{Identity, Token};
use adit::tls::clients::{Files, Mode, Verifier};
use adit::tls::policy::Policy;

/// An authority, so that lists are judged.
const AUTHORITY: &[u8] = include_bytes!("authority.pem");
/// 2027, while the seeds count.
const NOW: i64 = 1_800_000_000;

/// A body. It is taken only with a key that can be one; what is refused is not repeated, for there may be a secret in it.
pub fn enrolment_request(data: &[u8]) {
    let (call, body) = match data.split_first() {
        Some((byte, body)) if byte % 2 == 0 => (Call::Enrol, body),
        Some((_, body)) => (Call::Renew, body),
        None => (Call::Enrol, data),
    };
    match Request::parse(call, body) {
        Ok(Request::Enrol { key, .. } | Request::Renew { key, .. }) => {
            assert!(!key.is_zero() && body.len() <= LARGEST);
        }
        Err(problem) => {
            assert_eq!(problem == Problem::TooLarge, body.len() > LARGEST);
            assert!([400, 413].contains(&problem.status()));
            assert!(problem.body().len() < 300, "{problem}");
        }
    }
    let Ok(text) = std::str::from_utf8(body) else { return };
    if let Some(token) = Token::from_text(text) {
        assert_eq!(token.to_text().as_str(), text.trim());
    }
    if let Ok(identity) = text.parse::<Identity>() {
        assert_eq!(identity.as_str(), text);
        // It stands in URLs, in files and in the log as it is.
        assert!(
            text.len() <= 64
                && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"/\\%&?=\"'".contains(&byte))
        );
    }
}

/// A certificate of a client, and a revocation list. A name is taken only if there is one, and as a client can have it.
pub fn enrolment_certificate(data: &[u8]) {
    for naming in [Naming::CommonName, Naming::Email, Naming::Dns] {
        match naming.read(data) {
            Ok(identity) => assert_eq!(identity.as_str().parse().as_ref(), Ok(&identity)),
            Err(problem) => assert_eq!(problem, Problem::CertificateName(naming)),
        }
    }
    let lists = [data.to_vec()];
    let files = Files { authorities: AUTHORITY, revoked: &lists, allow: Vec::new(), mode: Mode::Optional };
    if let Ok((verifier, findings)) = Verifier::load(files, Policy::Modern, NOW) {
        // One that has ended is told of: it lets nobody in.
        let over = verifier.until().is_some_and(|until| until < NOW);
        assert!(verifier.until().is_some() && (!over || findings.iter().next().is_some()));
    }
}
