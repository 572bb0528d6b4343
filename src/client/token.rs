//! Certificates and keys in tokens: smart cards and HSMs, by PKCS#11. The module, a shared library of whoever makes the token,
//! is loaded for one handshake and let go after it.
//!
//! A token that was given a few wrong PINs locks itself, often for good. So a PIN is given to it once for each command of a
//! person; one that is read from a file is not given in the last try, and [`pin::Stamp`] keeps a refused one from a second.

mod error;
pub(super) mod pin;
mod signer;
mod uri;

use std::path::Path;
use std::sync::Arc;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Failure, RvError};
use cryptoki::object::{Attribute, AttributeType, CertificateType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use rustls::pki_types::CertificateDer;

pub(super) use error::Error;
pub(super) use signer::TokenKey;
pub(super) use uri::Uri;

use pin::Pin;
use uri::Kind;

/// The module that knows all others that are installed.
pub(super) const DEFAULT: &str = "p11-kit-proxy.so";

/// A module that is loaded.
#[derive(Debug)]
pub(super) struct Module {
    /// Taken when it is dropped.
    pkcs11: Option<Pkcs11>,
}

impl Module {
    /// The file of the module that a URI, or else `named`, names.
    #[must_use]
    pub(super) fn path<'a>(uri: &'a Uri, named: &'a Path) -> &'a Path {
        uri.module.as_deref().unwrap_or(named)
    }

    /// Loads the module that a URI, or else `named`, names.
    ///
    /// # Errors
    /// There is none, or it does not start.
    pub(super) fn load(uri: &Uri, named: &Path) -> Result<Arc<Self>, Error> {
        let path = Self::path(uri, named);
        let failed = |error| Error::Module { path: path.to_owned(), error };
        let pkcs11 = Pkcs11::new(path).map_err(failed)?;
        pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).map_err(failed)?;
        Ok(Arc::new(Self { pkcs11: Some(pkcs11) }))
    }

    /// The one token that a URI fits.
    fn find(&self, pkcs11: &Pkcs11, uri: &Uri) -> Result<(Slot, TokenInfo), Error> {
        let slots = pkcs11.get_slots_with_initialized_token()?;
        let known = slots.into_iter().filter_map(|slot| Some((slot, pkcs11.get_token_info(slot).ok()?)));
        let known: Vec<_> = known.collect();
        let labels = |tokens: &[(Slot, TokenInfo)]| error::list(tokens.iter().map(|(_, info)| info.label()));
        let (mut fitting, others): (Vec<_>, Vec<_>) =
            known.into_iter().partition(|(_, info)| fits(uri, info));
        match (fitting.pop(), fitting.is_empty()) {
            (Some(found), true) => Ok(found),
            (Some(last), false) => {
                fitting.push(last);
                Err(Error::Tokens { found: labels(&fitting) })
            }
            (None, _) => {
                Err(Error::NoToken { wanted: uri.token.clone().unwrap_or_default(), found: labels(&others) })
            }
        }
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if let Some(pkcs11) = self.pkcs11.take() {
            // It is let go whatever it says.
            let _ = pkcs11.finalize();
        }
    }
}

fn fits(uri: &Uri, info: &TokenInfo) -> bool {
    [
        (&uri.token, info.label()),
        (&uri.manufacturer, info.manufacturer_id()),
        (&uri.model, info.model()),
        (&uri.serial, info.serial_number()),
    ]
    .iter()
    // What is padded with blanks may end in some.
    .all(|(wanted, found)| wanted.as_ref().is_none_or(|wanted| wanted.trim_end() == found.trim_end()))
}

/// A token that is spoken to. Its session ends before its module does.
#[derive(Debug)]
pub(super) struct Token {
    session: Session,
    slot: Slot,
    info: TokenInfo,
    pkcs11: Pkcs11,
    _module: Arc<Module>,
}

impl Token {
    /// Opens the token that a URI names.
    ///
    /// # Errors
    /// There is none, or several.
    pub(super) fn open(module: &Arc<Module>, uri: &Uri) -> Result<Self, Error> {
        let pkcs11 = module.pkcs11.clone().ok_or(Error::Library(Failure::NotSupported))?;
        let (slot, info) = module.find(&pkcs11, uri)?;
        let session = pkcs11.open_ro_session(slot)?;
        Ok(Self { session, slot, info, pkcs11, _module: module.clone() })
    }

    /// Gives it the PIN, if it wants one: once. `attended` tells whether somebody is there who can be asked for it.
    ///
    /// # Errors
    /// There is no PIN, it is wrong, or the token is locked.
    pub(super) fn log_in(&self, uri: &Uri, attended: bool) -> Result<(), Error> {
        let info = &self.info;
        let token = || error::plain(info.label());
        if !info.login_required() {
            return Ok(());
        }
        if info.user_pin_locked() {
            return Err(Error::Locked { token: token() });
        }
        if !info.user_pin_initialized() {
            return Err(Error::NoPinYet { token: token() });
        }
        let pin = Pin::of(uri, info, attended)?;
        match self.session.login(UserType::User, pin.secret.as_ref()) {
            Ok(()) | Err(Failure::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(error) => Err(Error::of_log_in(error, token(), pin)),
        }
    }

    /// The certificate that a URI names.
    ///
    /// # Errors
    /// There is none, or several.
    pub(super) fn certificate(&self, uri: &Uri) -> Result<CertificateDer<'static>, Error> {
        let x509 = Attribute::CertificateType(CertificateType::X_509);
        let handle =
            self.object(uri, Kind::Certificate, &[Attribute::Class(ObjectClass::CERTIFICATE), x509])?;
        let found = self.session.get_attributes(handle, &[AttributeType::Value])?;
        let value = |attribute| if let Attribute::Value(value) = attribute { Some(value) } else { None };
        let value = found.into_iter().find_map(value).filter(|value| !value.is_empty());
        value.map(CertificateDer::from).ok_or(Error::Empty)
    }

    /// The private key that a URI names, to sign with for this certificate.
    ///
    /// # Errors
    /// There is none, several, or one that cannot sign for it.
    pub(super) fn key(self, uri: &Uri, certificate: &CertificateDer<'_>) -> Result<TokenKey, Error> {
        let class = Attribute::Class(ObjectClass::PRIVATE_KEY);
        let handle = self.object(uri, Kind::Private, &[class])?;
        TokenKey::new(self, handle, certificate)
    }

    /// The one object of a kind that a URI fits.
    fn object(&self, uri: &Uri, kind: Kind, wanted: &[Attribute]) -> Result<ObjectHandle, Error> {
        if uri.kind.is_some_and(|named| named != kind) {
            return Err(Error::OtherKind { kind });
        }
        let mut template = wanted.to_vec();
        template.extend(uri.object.as_ref().map(|label| Attribute::Label(label.clone().into_bytes())));
        template.extend(uri.id.clone().map(Attribute::Id));
        match self.session.find_objects(&template)?.as_slice() {
            [only] => Ok(*only),
            [] => Err(Error::NoObject {
                kind,
                wanted: uri.to_string(),
                token: error::plain(self.info.label()),
                found: self.labels(wanted)?,
            }),
            several => Err(Error::Objects { kind, count: several.len(), found: self.labels(wanted)? }),
        }
    }

    /// The labels of all objects like this.
    fn labels(&self, wanted: &[Attribute]) -> Result<String, Error> {
        let mut labels = Vec::new();
        for handle in self.session.find_objects(wanted)? {
            for attribute in self.session.get_attributes(handle, &[AttributeType::Label])? {
                if let Attribute::Label(label) = attribute {
                    labels.push(String::from_utf8_lossy(&label).into_owned());
                }
            }
        }
        // A token has them in no order of its own.
        labels.sort_unstable();
        Ok(error::list(labels.iter().map(String::as_str)))
    }
}
