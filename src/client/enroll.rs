//! `adit enroll`, and the renewal of what it got. The other side of it is in `enrolment`.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::path::Path;

use adit_noise::PrivateKey;
use anyhow::{Result, bail};
use serde::Serialize;
use zeroize::Zeroizing;

use super::endpoints::Memory;
use super::grant::{Granted, Refusal, granted};
use super::holder::Holder;
use super::https::{self, Origin};
use super::identity::Identity;
use super::lease::Lease;
use super::places::{self, Places};
use super::status::span;
use super::trust::Trust;
use super::{Wrong, arguments, grant, running};
use crate::clock;
use crate::ctl::secret;
use crate::enrolment::Invitation;

/// What stands for standard input.
const STDIN: &str = "-";
/// Where a lease is asked for.
const ENROL: &str = "/v1/enrol";
/// Where it is prolonged.
const RENEW: &str = "/v1/renew";
/// From so many seconds on, a difference between clocks is told.
const NOTABLE: f64 = 60.0;

#[derive(Serialize)]
struct Body<'a> {
    public_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

/// Gets a lease for a new key, and writes a profile. What there is to say then.
///
/// # Errors
/// In words: the gateway's own, if it refuses. An invitation counts once: what can be wrong here is found before it is sent.
pub(super) fn run(places: &Places, arguments: &arguments::Enroll) -> Result<String> {
    let name = &arguments.name;
    places.make_room(name, arguments.replace)?;
    let (profile, skew) = enroll(arguments, &from_input)?;
    let path = places.save(name, &profile, arguments.replace)?;
    forget(&running::memory_file(places, name))?;
    let mut words = format!("{}: written; `adit up {name}` sets it up", path.display());
    if let Some(lease) = &profile.lease {
        let (identity, length) = (&lease.identity, span(lease.until.saturating_sub(lease.begin) as f64));
        words += &format!("\n{identity} has a lease of {length}, which is {}", prolonged(lease));
    }
    if skew.abs() > NOTABLE {
        let which = if skew > 0.0 { "ahead of" } else { "behind" };
        words += &format!("\nthe clock of this machine is {} {which} the gateway's", span(skew.abs()));
    }
    Ok(words)
}

/// What a token said to renewals counts no more: it has let us in just now.
fn forget(file: &Path) -> Result<()> {
    let Some(memory) = places::read_record::<Memory>(file) else { return Ok(()) };
    places::write_record(file, &Memory { refused_pin: None, renewing: None, ..memory })
}

/// Reads from standard input what is called like this.
type Input<'a> = dyn Fn(&str) -> Result<Zeroizing<String>> + 'a;

fn enroll(arguments: &arguments::Enroll, input: &Input<'_>) -> Result<Granted> {
    let link = link(arguments, input)?;
    let (url, behind) = match link.split_once('#') {
        Some((url, invitation)) => (url, Some(invitation)),
        None => (link.as_str(), None),
    };
    let origin = Origin::parse(url).map_err(Wrong)?;
    let invitation = invitation(arguments, behind, input)?;
    let identity = identity(arguments)?;
    let pin = invitation.as_ref().and_then(|invitation| invitation.authority).or(arguments.pin);
    match (&invitation, &identity) {
        (None, None) => {
            let needed = "an invitation (a link with #, --token, --token-file) or a certificate (--cert and --key) is needed";
            return Err(Wrong(needed.into()).into());
        }
        (Some(_), Some(_)) => {
            return Err(Wrong("either an invitation or a certificate is needed".into()).into());
        }
        _ => {}
    }
    if pin.is_some() && arguments.ca.is_some() {
        let found = "the invitation says which authority signs the gateway's certificate; leave --ca out";
        return Err(Wrong(found.into()).into());
    }
    let token = invitation.map(|invitation| invitation.token.to_text());
    let token = token.as_ref().map(|token| token.as_str());
    let key = PrivateKey::generate();
    let body = Body { public_key: key.public().to_base64(), token, identity: None, secret: None };
    let trust = Trust { pin, ca: arguments.ca.as_deref(), identity: identity.as_ref() };
    let answer = ask(&origin, trust, ENROL, &body)?;
    let held = |holder: fn(&Identity) -> &Holder| identity.as_ref().map(|identity| holder(identity).clone());
    let in_token = |identity: &&Identity| identity.key.uri().or(identity.certificate.uri()).is_some();
    let lease = Lease {
        url: url.to_owned(),
        identity: String::new(),
        renewal: None,
        certificate: held(|identity| &identity.certificate),
        key: held(|identity| &identity.key),
        pkcs11_module: identity.as_ref().filter(in_token).and_then(|identity| identity.module.clone()),
        ca: arguments.ca.as_ref().map(std::path::absolute).transpose()?,
        pin: pin.map(|pin| pin.to_string()),
        begin: 0,
        until: 0,
    };
    granted(&answer, key, lease, clock::both().wall.as_secs())
}

/// Whether that is so, in words.
fn prolonged(lease: &Lease) -> &'static str {
    match lease.key.as_ref().and_then(Holder::uri) {
        Some(uri) if uri.pin().is_none() => {
            "not prolonged if the token wants its PIN, which is not kept: pin-source=file:/PATH in --key names a file with it"
        }
        Some(_) | None => "prolonged while the tunnel is up",
    }
}

/// Who we are by the certificate that was given, for use from any folder.
fn identity(arguments: &arguments::Enroll) -> Result<Option<Identity>> {
    let Some((certificate, key)) = arguments.cert.clone().zip(arguments.key.clone()) else { return Ok(None) };
    let holder = |option: &str, text: String| {
        let holder = Holder::try_from(text).map_err(|error| Wrong(format!("{option}: {error}")))?;
        anyhow::Ok(holder.absolute()?)
    };
    let module = &arguments.pkcs11_module;
    // Without a slash the loader looks where libraries are.
    let named = module.components().nth(1).is_some() || module.is_absolute();
    Ok(Some(Identity {
        certificate: holder("--cert", certificate)?,
        key: holder("--key", key)?,
        module: Some(if named { std::path::absolute(module)? } else { module.clone() }),
        attended: true,
    }))
}

/// Prolongs a lease: with the secret that came with it, or with the certificate.
///
/// # Errors
/// In words: the gateway's own, a [`Refusal`], if it refuses.
pub(super) fn renew(key: &PrivateKey, lease: &Lease) -> Result<Granted> {
    let origin = Origin::parse(&lease.url).map_err(Wrong)?;
    let secret = lease.renewal.as_deref();
    let identity = secret.map(|_| lease.identity.as_str());
    let body = Body { public_key: key.public().to_base64(), token: None, identity, secret };
    let identity = Identity::of(lease);
    let trust = Trust { pin: lease.pin()?, ca: lease.ca.as_deref(), identity: identity.as_ref() };
    let answer = ask(&origin, trust, RENEW, &body)?;
    granted(&answer, key.clone(), lease.clone(), clock::both().wall.as_secs())
}

fn ask(origin: &Origin, trust: Trust<'_>, path: &str, body: &Body<'_>) -> Result<grant::Answer> {
    let (status, answer) = https::post(origin, trust, path, serde_json::to_vec(body)?)?;
    if status == 200 {
        return grant::Answer::parse(&answer);
    }
    match Refusal::parse(&answer) {
        Some(refusal) if refusal.takes_no_certificate() && trust.identity.is_some() => {
            bail!("the gateway takes no certificates, or not this one; an invitation is needed")
        }
        Some(refusal) => Err(refusal.into()),
        None => bail!("the server answers {status}; is it a gateway?"),
    }
}

/// The gateway's address, with the invitation or without.
fn link(arguments: &arguments::Enroll, input: &Input<'_>) -> Result<Zeroizing<String>> {
    if let Some(url) = arguments.url.as_ref().filter(|url| *url != STDIN) {
        return Ok(Zeroizing::new(url.clone()));
    }
    let token_too = arguments.token.as_deref() == Some(STDIN)
        || arguments.token_file.as_deref() == Some(Path::new(STDIN));
    if token_too {
        let found = "standard input gives either the link or what stands behind # in it; give the address of the gateway";
        return Err(Wrong(found.into()).into());
    }
    let text = input("invitation (the whole link)")?;
    let link = text.trim();
    // It is in no message: it may be the invitation, without the address.
    if !link.starts_with("https://") {
        return Err(Wrong("what is on standard input is no link: it begins with https://".into()).into());
    }
    Ok(Zeroizing::new(link.to_owned()))
}

/// The one that was given, wherever it was.
fn invitation(
    arguments: &arguments::Enroll,
    behind: Option<&str>,
    input: &Input<'_>,
) -> Result<Option<Invitation>> {
    let typed = || input("invitation (what stands behind # in the link)");
    let (text, place) = match (behind, arguments.token.as_deref(), arguments.token_file.as_deref()) {
        (None, None, None) => return Ok(None),
        (Some(text), None, None) => {
            (Zeroizing::new(text.to_owned()), "what stands behind # in the link".into())
        }
        (None, Some(STDIN), None) => (typed()?, "standard input".to_owned()),
        (None, Some(text), None) => (Zeroizing::new(text.to_owned()), "--token".to_owned()),
        (None, None, Some(path)) if path == Path::new(STDIN) => (typed()?, "standard input".to_owned()),
        (None, None, Some(path)) => {
            let read = File::open(path).and_then(places::read);
            let failed = |error| Wrong(format!("cannot read {}: {error}", path.display()));
            (read.map_err(failed)?, path.display().to_string())
        }
        _ => return Err(Wrong("the link holds an invitation already; leave --token out".into()).into()),
    };
    match Invitation::from_text(&text) {
        Some(invitation) => Ok(Some(invitation)),
        None => Err(Wrong(format!(
            "{place}: no invitation, or not all of it: adit- and 64 hexadecimal digits are expected, and then a dot and 64 \
             more if the gateway has an authority of its own"
        ))
        .into()),
    }
}

/// At a terminal it is asked for, and what is typed is not shown.
fn from_input(what: &str) -> Result<Zeroizing<String>> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return secret::Source { file: None, option: "it on standard input", what: what.to_owned() }.read();
    }
    let text = stdin.as_fd().try_clone_to_owned().map(File::from).and_then(places::read);
    text.map_err(|error| Wrong(format!("cannot read standard input: {error}")).into())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::client::token::Uri;
    use crate::client::token::pin::Stamp;
    use crate::enrolment::{Call, Fingerprint, Request};
    use crate::store::Token;
    use crate::test_folder::Folder;

    fn wrong(words: &[&str]) -> String {
        wrong_with(words, "")
    }

    /// The error, with this on standard input.
    fn wrong_with(words: &[&str], typed: &str) -> String {
        let command = arguments::Adit::try_parse_from([&["adit", "enroll"], words].concat()).unwrap().command;
        let arguments::Command::Enroll(enroll) = command else { panic!("{words:?}") };
        let input = |_: &str| Ok(Zeroizing::new(typed.to_owned()));
        let error = super::enroll(&enroll, &input).map(drop).unwrap_err();
        assert!(error.is::<Wrong>(), "{error}");
        error.to_string()
    }

    #[test]
    fn who_has_enrolled_anew_is_let_renew_at_once() {
        let folder = Folder::new();
        let file = folder.path().join("office.state");
        forget(&file).unwrap();
        assert!(!file.exists());
        std::fs::write(folder.path().join("pin"), "4711").unwrap();
        let uri = Uri::parse(&format!("pkcs11:?pin-source={}/pin", folder.path().display())).unwrap();
        let kept = Memory { skew: Some(2.0), ..Memory::default() };
        let memory = Memory { refused_pin: Stamp::of(&uri), renewing: Some(1), ..kept.clone() };
        assert!(memory.refused_pin.is_some());
        places::write_record(&file, &memory).unwrap();
        forget(&file).unwrap();
        assert_eq!(places::read_record(&file), Some(kept));
    }

    #[test]
    fn the_gateway_understands_what_is_sent() {
        let key = PrivateKey::from_bytes([7; 32]).public();
        let token = Token::random().unwrap().to_text();
        let body = |token, identity, secret| {
            serde_json::to_vec(&Body { public_key: key.to_base64(), token, identity, secret }).unwrap()
        };
        let parsed = Request::parse(Call::Enrol, &body(Some(token.as_str()), None, None)).unwrap();
        assert!(matches!(parsed, Request::Enrol { token: Some(_), .. }));
        let parsed = Request::parse(Call::Enrol, &body(None, None, None)).unwrap();
        assert!(matches!(parsed, Request::Enrol { token: None, .. }));
        let parsed = Request::parse(Call::Renew, &body(None, Some("alice"), Some(token.as_str()))).unwrap();
        assert!(matches!(parsed, Request::Renew { secret: Some(_), .. }));
        let parsed = Request::parse(Call::Renew, &body(None, None, None)).unwrap();
        assert!(matches!(parsed, Request::Renew { secret: None, .. }));
    }

    #[test]
    fn a_link_or_what_is_behind_it_comes_by_standard_input() {
        let token = Token::random().unwrap();
        let whole = Invitation { token, authority: Some(Fingerprint::of(b"x")) }.to_text();
        let link = format!("https://127.0.0.1:1/#{}\n", *whole);
        // The link has an invitation: that goes before an authority of a file.
        for words in [&["--ca", "ca.pem"][..], &["-", "--ca", "ca.pem"]] {
            assert!(wrong_with(words, &link).contains("leave --ca out"), "{words:?}");
        }
        let url = "https://127.0.0.1:1";
        for by in ["--token", "--token-file"] {
            assert!(wrong_with(&[url, by, "-", "--ca", "ca.pem"], &whole).contains("leave --ca out"), "{by}");
            assert!(wrong_with(&[url, by, "-"], "adit-0").contains("standard input: no invitation"), "{by}");
            assert!(wrong_with(&[by, "-"], &link).contains("either the link or"), "{by}");
        }
        let told = wrong_with(&[], &whole);
        assert!(told.contains("begins with https://") && !told.contains(&whole[10..50]), "{told}");
    }

    #[test]
    fn what_is_wrong_is_found_before_the_invitation_is_sent() {
        let link = |text: &str| format!("https://127.0.0.1:1/#{text}");
        let authority = Some(Fingerprint::of(b"x"));
        let whole = Invitation { token: Token::random().unwrap(), authority }.to_text();
        assert!(wrong(&["https://127.0.0.1:1"]).contains("an invitation (a link with #"));
        assert!(wrong(&[&link("adit-0")]).contains("behind # in the link: no invitation"));
        assert!(wrong(&[&link(&whole), "--token", &whole]).contains("leave --token out"));
        assert!(wrong(&[&link(&whole), "--ca", "ca.pem"]).contains("leave --ca out"));
        assert!(wrong(&[&link(&whole), "--cert", "c", "--key", "k"]).contains("either an invitation or"));
        assert!(wrong(&["https://127.0.0.1:1", "--token-file", "/none"]).contains("cannot read /none"));
        assert!(wrong(&["gate.example"]).contains("https://HOST"));
        let pin = "pkcs11:token=a?pin-value=473913";
        for words in [["--cert", "c", "--key", pin], ["--cert", pin, "--key", "k"]] {
            let told = wrong(&[&["https://127.0.0.1:1"][..], &words].concat());
            assert!(told.contains("pin-source=file:/PATH") && !told.contains("473913"), "{told}");
        }
        let told = wrong(&["https://127.0.0.1:1", "--token", &whole[..60]]);
        assert!(!told.contains(&whole[10..50]), "{told}");
    }
}
