//! The authority in its folder: made, taken over from elsewhere, opened, looked at.

use std::path::{Path, PathBuf};
use std::time::Duration;

use time::OffsetDateTime;

use super::files::{self, Existing, Lock};
use super::{Certificate, Crl, Error, Issued, Key, Name, Passphrase, Serial, Signer, issue};

/// How a new authority is made.
#[derive(Clone, Debug)]
pub struct New<'a> {
    /// Its name.
    pub name: &'a str,
    /// How long its certificate lasts.
    pub lifetime: Duration,
    /// How long its first revocation list lasts.
    pub next_update: Duration,
}

/// A certificate authority in its folder. It can be used for verification; to sign it takes its [key](Self::unlock).
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    certificates: Vec<Certificate>,
    certificate: Certificate,
}

impl Authority {
    /// Makes an authority of its own. The key goes into the folder if there is a passphrase for it; else whoever calls
    /// keeps it.
    ///
    /// # Errors
    /// There is one already, or what the system says.
    pub fn create(
        folder: &Path,
        new: &New<'_>,
        key: &Key,
        passphrase: Option<&Passphrase>,
        now: OffsetDateTime,
    ) -> Result<Self, Error> {
        let now = whole(now);
        let params = issue::authority(new.name, new.lifetime, now)?;
        let made = params.self_signed(key).map_err(Error::make("certificate"))?;
        let certificate = Certificate::from_der(&folder.join("ca.pem"), made.der())?;
        let encrypted = passphrase.map(|passphrase| key.encrypt(passphrase)).transpose()?;
        let lock = vacant(folder)?;
        if let Some(encrypted) = encrypted {
            files::write(&folder.join(super::KEY), &encrypted, Existing::Replace)?;
        }
        let first = First::Signed { key, number: vec![1], next: new.next_update, now };
        Self::settle(folder, vec![certificate], first, lock)
    }

    /// Takes over an authority that exists: its certificate, those above it, and its last revocation list if there is one.
    /// Without its key it serves for verification alone. A list that follows none has the time as its number: greater than
    /// what counts lists.
    ///
    /// # Errors
    /// There is one already, these are not an authority's, or what the system says.
    pub fn adopt(
        folder: &Path,
        certificates: &Path,
        key: Option<&Key>,
        list: Option<&Path>,
        next_update: Duration,
        now: OffsetDateTime,
    ) -> Result<Self, Error> {
        let now = whole(now);
        let all = Certificate::all_from_pem(certificates, &present(certificates)?)?;
        let first = all.first().ok_or_else(|| Error::NoAuthority(certificates.to_owned()))?;
        first.check_authority(certificates, now)?;
        let chained = all.iter().zip(all.iter().skip(1)).all(|(below, above)| above.signed(below));
        if !chained {
            return Err(Error::Signature(certificates.to_owned()));
        }
        if key.is_some_and(|key| !key.is_of(&first.public_key)) {
            return Err(Error::OtherKey(certificates.to_owned()));
        }
        if key.is_some() && !first.signs_lists() {
            let why = "its key usage does not let it sign revocation lists";
            return Err(Error::NotAnAuthority { path: certificates.to_owned(), why });
        }
        let list = list.map(|path| Crl::parse(path, &present(path)?, first)).transpose()?;
        let lock = vacant(folder)?;
        let number = Serial::from_der(&now.unix_timestamp().to_be_bytes()).as_bytes().to_vec();
        let first = match (list, key) {
            (Some(list), _) => First::Imported(list),
            (None, Some(key)) => First::Signed { key, number, next: next_update, now },
            (None, None) => First::Missing,
        };
        Self::settle(folder, all, first, lock)
    }

    /// Writes what an authority has; its certificate comes last, for it makes the folder one.
    fn settle(
        folder: &Path,
        certificates: Vec<Certificate>,
        first: First<'_>,
        lock: Lock,
    ) -> Result<Self, Error> {
        let certificate =
            certificates.first().cloned().ok_or_else(|| Error::NoAuthority(folder.to_owned()))?;
        let authority = Self { folder: folder.to_owned(), certificates, certificate };
        files::make_folder(&authority.issued_folder())?;
        // A list that an attempt before this one left behind was never shown to anybody.
        let _lock = match first {
            First::Signed { key, number, next, now } => {
                let signer = Signer::new(&authority, key, now, lock)?;
                signer.sign_list(number, &[], next)?;
                signer.into_lock()
            }
            First::Imported(list) => {
                files::replace(&authority.list_file(), list.to_pem().as_bytes())?;
                lock
            }
            First::Missing => lock,
        };
        let pem: String = authority.certificates.iter().map(Certificate::to_pem).collect();
        files::place(&authority.folder.join("ca.pem"), pem.as_bytes())?;
        Ok(authority)
    }

    /// Opens the authority of a folder.
    ///
    /// # Errors
    /// There is none, the folder is open to others, or what the system says.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("ca.pem");
        let bytes = files::read(&path)?.ok_or_else(|| Error::NoAuthority(folder.to_owned()))?;
        files::closed(folder)?;
        let certificates = Certificate::all_from_pem(&path, &bytes)?;
        let certificate =
            certificates.first().cloned().ok_or_else(|| Error::NoAuthority(folder.to_owned()))?;
        Ok(Self { folder: folder.to_owned(), certificates, certificate })
    }

    /// Makes it one that can sign, once nobody else changes it.
    ///
    /// # Errors
    /// The key is another's, the certificate has ended, or what the system says.
    pub fn unlock<'a>(&'a self, key: &'a Key, now: OffsetDateTime) -> Result<Signer<'a>, Error> {
        let lock = Lock::take(&self.folder, &[&self.issued_folder()])?;
        Signer::new(self, key, whole(now), lock)
    }

    /// Its certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Its certificate, and those above it.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of its revocation list.
    #[must_use]
    pub fn list_file(&self) -> PathBuf {
        self.folder.join("crl.pem")
    }

    /// Its revocation list, if it has one.
    ///
    /// # Errors
    /// It was changed by somebody else, or cannot be read.
    pub fn crl(&self) -> Result<Option<Crl>, Error> {
        let path = self.list_file();
        files::read(&path)?.map(|bytes| Crl::parse(&path, &bytes, &self.certificate)).transpose()
    }

    /// Takes a revocation list that was signed elsewhere, if it follows the one that is here.
    ///
    /// # Errors
    /// It is not this authority's, or an older one.
    pub fn import_list(&self, path: &Path) -> Result<Crl, Error> {
        let list = Crl::parse(path, &present(path)?, &self.certificate)?;
        let _lock = Lock::take(&self.folder, &[])?;
        if self.crl()?.is_some_and(|before| !list.follows(&before)) {
            return Err(Error::OlderList(path.to_owned()));
        }
        files::replace(&self.list_file(), list.to_pem().as_bytes())?;
        Ok(list)
    }

    /// All certificates that were issued here, by name and then by age.
    ///
    /// # Errors
    /// What the system says, or that one of the files is damaged.
    pub fn issued(&self) -> Result<Vec<Issued>, Error> {
        let names = self.names()?.into_iter();
        let mut all = names.map(|(path, name, _)| Issued::read(path, name)).collect::<Result<Vec<_>, _>>()?;
        all.sort_by(|a, b| (&a.name, a.certificate.not_before).cmp(&(&b.name, b.certificate.not_before)));
        Ok(all)
    }

    /// The certificates that a name or a number stands for, the newest last.
    ///
    /// # Errors
    /// There is none, or what the system says.
    pub fn find(&self, wanted: &str) -> Result<Vec<Issued>, Error> {
        let serial = Serial::from_hex(wanted);
        let is = |(_, name, number): &(PathBuf, Name, Serial)| {
            name.as_str() == wanted || serial.as_ref().is_some_and(|serial| serial == number)
        };
        let found = self.names()?.into_iter().filter(is).map(|(path, name, _)| Issued::read(path, name));
        let mut found = found.collect::<Result<Vec<_>, _>>()?;
        if found.is_empty() {
            return Err(Error::Unknown(wanted.escape_debug().to_string()));
        }
        found.sort_by_key(|issued| issued.certificate.not_before);
        Ok(found)
    }

    /// The files of all that were issued.
    pub(super) fn names(&self) -> Result<Vec<(PathBuf, Name, Serial)>, Error> {
        let files = files::list(&self.issued_folder())?.into_iter();
        Ok(files.filter_map(|path| Issued::parts(&path).map(|(name, serial)| (path, name, serial))).collect())
    }

    pub(super) fn issued_folder(&self) -> PathBuf {
        self.folder.join("issued")
    }
}

/// Where the first revocation list comes from.
enum First<'a> {
    /// It is signed here.
    Signed { key: &'a Key, number: Vec<u8>, next: Duration, now: OffsetDateTime },
    /// It was signed elsewhere.
    Imported(Crl),
    /// There is none.
    Missing,
}

/// Makes the folder, and sees to it that there is no authority in it, nor comes one.
fn vacant(folder: &Path) -> Result<Lock, Error> {
    files::make_folder(folder)?;
    let lock = Lock::take(folder, &[])?;
    match files::read(&folder.join("ca.pem"))? {
        Some(_) => Err(Error::Exists(folder.to_owned())),
        None => Ok(lock),
    }
}

fn present(path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, Error> {
    files::read(path)?.ok_or_else(|| Error::file(path)(std::io::ErrorKind::NotFound.into()))
}

/// Certificates know whole seconds.
fn whole(time: OffsetDateTime) -> OffsetDateTime {
    time.replace_nanosecond(0).unwrap_or(time)
}
