//! `aditctl pki`: the certificate authority. It works on files and needs no daemon.

pub mod arguments;
mod list;
pub(crate) mod secret;

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use self::arguments::{
    CrlArguments, Export, Init, Issue, KeyArguments, PasswordArguments, Pki, PkiCommand, Revoke,
};
use self::secret::Source;
use super::output;
use crate::clock;
use crate::pki::{
    Authority, Certificate, Crl, Error, Issued, KEY, Key, New, Passphrase, Password, Request, Subject,
    moment, pkcs12, write_new, write_public,
};

/// Does what the operator asked for.
///
/// # Errors
/// In words for the operator. Nothing was changed then.
pub(super) fn run(pki: &Pki) -> Result<()> {
    match &pki.command {
        PkiCommand::Init(init) => make(&pki.dir, init),
        PkiCommand::Issue(issue) => give(&pki.dir, issue),
        PkiCommand::Revoke(revoke) => take_back(&pki.dir, revoke),
        PkiCommand::List(list) => list::run(&Authority::open(&pki.dir)?, list),
        PkiCommand::Crl(arguments) => renew(&pki.dir, arguments),
        PkiCommand::Export(export) => show(&pki.dir, export),
    }
}

fn make(folder: &Path, init: &Init) -> Result<()> {
    if folder.join("ca.pem").exists() {
        return Err(Error::Exists(folder.to_owned()).into());
    }
    let authority = match &init.ca_cert {
        Some(certificates) => {
            let key = init.key.ca_key.as_deref().map(|path| read_key(path, &init.key)).transpose()?;
            let list = init.crl.as_deref();
            Authority::adopt(folder, certificates, key.as_ref(), list, init.next_update, now())?
        }
        None => create(folder, init)?,
    };
    let certificate = authority.certificate();
    tell(&format!("{}: {}, until {}", folder.display(), certificate.subject, moment(certificate.not_after)));
    if authority.crl()?.is_none() {
        tell("there is no revocation list yet; `aditctl pki crl --import FILE` takes one over");
    }
    Ok(())
}

fn create(folder: &Path, init: &Init) -> Result<Authority> {
    let new = New { name: &init.name, lifetime: init.lifetime, next_update: init.next_update };
    let Some(path) = &init.key.ca_key else {
        let passphrase = Passphrase::chosen(passphrase(&folder.join(KEY), &init.key).choose()?)?;
        let key = Key::generate(init.algorithm.into())?;
        return Ok(Authority::create(folder, &new, &key, Some(&passphrase), now())?);
    };
    // One that is there is used: it may be left of an attempt that was interrupted.
    let key = if path.exists() {
        tell(&format!("{}: its key is used", path.display()));
        read_key(path, &init.key)?
    } else {
        let key = Key::generate(init.algorithm.into())?;
        if init.key.passphrase_file.is_some() {
            let passphrase = Passphrase::chosen(passphrase(path, &init.key).choose()?)?;
            write_new(path, &key.encrypt(&passphrase)?)?;
        } else {
            write_new(path, key.to_pem().as_bytes())?;
        }
        key
    };
    Ok(Authority::create(folder, &new, &key, None, now())?)
}

fn give(folder: &Path, issue: &Issue) -> Result<()> {
    let authority = Authority::open(folder)?;
    let file = |end: &str| issue.out.join(format!("{}.{end}", issue.name));
    let (whole, certificate, private) = (file("p12"), file("pem"), file("key"));
    let files = match (issue.p12, &issue.csr) {
        (true, _) => vec![&whole],
        (false, None) => vec![&private, &certificate],
        (false, Some(_)) => vec![&certificate],
    };
    if let Some(path) = files.iter().find(|path| path.symlink_metadata().is_ok()) {
        bail!("{}: there is such a file; it is not overwritten, name another --out", path.display());
    }
    if !issue.out.is_dir() {
        bail!("{}: there is no such folder", issue.out.display());
    }
    let password = if issue.p12 { Some(password(&issue.password)?) } else { None };
    let request = Request {
        name: issue.name.clone(),
        alt_names: issue.dns.iter().chain(&issue.email).chain(&issue.spiffe).cloned().collect(),
        purpose: issue.purpose.into(),
        lifetime: issue.lifetime,
        subject: match &issue.csr {
            Some(path) => Subject::read(path)?,
            None => Subject::New(issue.algorithm.into()),
        },
    };
    let ca_key = ca_key(folder, &issue.key)?;
    let (issued, key) = authority.unlock(&ca_key, now())?.issue(&request)?;
    match (&password, &key) {
        (Some(password), Some(key)) => {
            write_new(&whole, &pkcs12(&issued, key, authority.certificates(), password)?)?;
        }
        (None, Some(key)) => {
            write_new(&private, key.to_pem().as_bytes())?;
            write_new(&certificate, chain(&issued, &authority).as_bytes())?;
        }
        (_, None) => write_new(&certificate, chain(&issued, &authority).as_bytes())?,
    }
    if issue.json {
        let row = list::Row::new(&issued, None, now());
        output::write(format!("{}\n", serde_json::to_string_pretty(&row)?).as_bytes())?;
    }
    let ends = moment(issued.certificate.not_after);
    let names: Vec<_> = files.iter().map(|path| path.display().to_string()).collect();
    let names = names.join(" and ");
    tell(&format!("{}: serial {}, until {ends}, in {names}", issued.name, issued.certificate.serial));
    show_password(&issue.password, password.as_ref());
    Ok(())
}

fn take_back(folder: &Path, revoke: &Revoke) -> Result<()> {
    let authority = Authority::open(folder)?;
    let certificates = match (&revoke.target, &revoke.cert) {
        (_, Some(path)) => {
            let certificate = Certificate::read(path)?;
            if !authority.certificate().signed(&certificate) {
                return Err(Error::Signature(path.clone()).into());
            }
            vec![certificate]
        }
        (Some(target), None) => {
            authority.find(target)?.into_iter().map(|issued| issued.certificate).collect()
        }
        (None, None) => bail!("neither a name nor a certificate was given"),
    };
    let key = ca_key(folder, &revoke.key)?;
    let signer = authority.unlock(&key, now())?;
    let before = authority.crl()?;
    let live = |certificate: &&Certificate| certificate.not_after > now();
    let listed = |certificate: &Certificate| {
        before.as_ref().is_some_and(|list| list.entry(&certificate.serial).is_some())
    };
    let (already, fresh): (Vec<_>, Vec<_>) =
        certificates.iter().filter(live).map(|it| (it, listed(it))).partition(|(_, listed)| *listed);
    for (certificate, _) in &already {
        tell(&format!("{}: is revoked already", certificate.serial));
    }
    if fresh.is_empty() {
        if already.is_empty() {
            bail!("it has ended; what has ended need not be revoked");
        }
        return Ok(());
    }
    let serials: Vec<_> = fresh.iter().map(|(certificate, _)| certificate.serial.clone()).collect();
    let list = signer.revoke(&serials, revoke.reason.into(), revoke.next_update)?;
    serials.iter().for_each(|serial| tell(&format!("{serial}: revoked")));
    tell_list(&authority, &list);
    Ok(())
}

fn renew(folder: &Path, arguments: &CrlArguments) -> Result<()> {
    let authority = Authority::open(folder)?;
    let list = match &arguments.import {
        Some(path) => authority.import_list(path)?,
        None => {
            let key = ca_key(folder, &arguments.key)?;
            authority.unlock(&key, now())?.renew_list(arguments.next_update)?
        }
    };
    tell_list(&authority, &list);
    Ok(())
}

fn show(folder: &Path, export: &Export) -> Result<()> {
    let authority = Authority::open(folder)?;
    if let (Some(path), Some(key)) = (&export.p12, &export.key) {
        return bundle(&authority, export, path, key);
    }
    let bytes = match (export.what.as_str(), export.der) {
        ("ca", false) => pem(authority.certificates()).into_bytes(),
        ("ca", true) => authority.certificate().der().to_vec(),
        ("crl", der) => {
            let list = authority.crl()?.ok_or_else(|| Error::NoList(folder.to_owned()))?;
            if der { list.der().to_vec() } else { list.to_pem().into_bytes() }
        }
        (what, false) => chain(&newest(&authority, what)?, &authority).into_bytes(),
        (what, true) => newest(&authority, what)?.certificate.der().to_vec(),
    };
    match &export.out {
        Some(path) => Ok(write_public(path, &bytes)?),
        None => output::write(&bytes),
    }
}

fn bundle(authority: &Authority, export: &Export, path: &Path, key: &Path) -> Result<()> {
    let issued = newest(authority, &export.what)?;
    let key = Key::read(key, || Err(Error::Foreign(key.to_owned())))?;
    let password = password(&export.password)?;
    write_new(path, &pkcs12(&issued, &key, authority.certificates(), &password)?)?;
    tell(&format!("{}: written", path.display()));
    show_password(&export.password, Some(&password));
    Ok(())
}

fn newest(authority: &Authority, what: &str) -> Result<Issued> {
    authority.find(what)?.pop().context("nothing was found")
}

/// A certificate, and those above it.
fn chain(issued: &Issued, authority: &Authority) -> String {
    issued.certificate.to_pem() + &pem(authority.certificates())
}

fn pem(certificates: &[Certificate]) -> String {
    certificates.iter().map(Certificate::to_pem).collect()
}

/// The authority's key: where it is said to be, or in its folder.
fn ca_key(folder: &Path, arguments: &KeyArguments) -> Result<Key> {
    match &arguments.ca_key {
        Some(path) => read_key(path, arguments),
        None if folder.join(KEY).exists() => read_key(&folder.join(KEY), arguments),
        None => Err(Error::NoKey(folder.to_owned()).into()),
    }
}

fn read_key(path: &Path, arguments: &KeyArguments) -> Result<Key> {
    // The library asks for the passphrase; why there was none is told as it is.
    let mut refused = None;
    let key = Key::read(path, || match passphrase(path, arguments).read() {
        Ok(text) => Ok(Passphrase::new(text)),
        Err(error) => {
            refused = Some(error);
            Err(Error::Passphrase(path.to_owned()))
        }
    });
    match (key, refused) {
        (Err(_), Some(error)) => Err(error),
        (key, _) => Ok(key?),
    }
}

fn passphrase<'a>(path: &Path, arguments: &'a KeyArguments) -> Source<'a> {
    let what = format!("passphrase of {}", path.display());
    Source { file: arguments.passphrase_file.as_deref(), option: "--passphrase-file", what }
}

fn password(arguments: &PasswordArguments) -> Result<Password> {
    if arguments.generate_password {
        return Ok(Password::generate()?);
    }
    let what = "password of the PKCS#12 file".to_owned();
    let option = "--password-file or --generate-password";
    let text: Zeroizing<String> =
        Source { file: arguments.password_file.as_deref(), option, what }.choose()?;
    Ok(Password::chosen(text)?)
}

fn show_password(arguments: &PasswordArguments, password: Option<&Password>) {
    if let (true, Some(password)) = (arguments.generate_password, password) {
        tell(&format!("its password, which is shown only now: {}", password.expose()));
    }
}

fn tell_list(authority: &Authority, list: &Crl) {
    let due = list.next_update.map_or_else(|| "never".to_owned(), moment);
    let file: PathBuf = authority.list_file();
    let (number, count) = (list::number(list), list.revoked.len());
    tell(&format!("{}: list {number} with {count} revoked, next update {due}", file.display()));
}

fn now() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + clock::both().wall
}

fn tell(words: &(impl Display + ?Sized)) {
    // It fails when nobody reads that.
    let _ = writeln!(std::io::stderr(), "aditctl: {}", super::paint::escape(&words.to_string()));
}
