//! An authority whose key is at hand, and whose folder nobody else changes meanwhile.

use std::collections::HashMap;
use std::time::Duration;

use rcgen::{
    CertificateParams, CertificateRevocationListParams, Issuer, KeyIdMethod, KeyUsagePurpose,
    RevocationReason, RevokedCertParams, SerialNumber,
};
use time::OffsetDateTime;

use super::files::{self, Existing, Lock};
use super::splice::{self, Template};
use super::{
    Authority, Certificate, Crl, Error, Issued, Key, Reason, Request, Revoked, Serial, Subject, crl,
};

/// An authority that can sign.
#[derive(Debug)]
pub struct Signer<'a> {
    authority: &'a Authority,
    key: &'a Key,
    now: OffsetDateTime,
    lock: Lock,
}

impl<'a> Signer<'a> {
    pub(super) fn new(
        authority: &'a Authority,
        key: &'a Key,
        now: OffsetDateTime,
        lock: Lock,
    ) -> Result<Self, Error> {
        if !key.is_of(&authority.certificate().public_key) {
            return Err(Error::OtherKey(authority.folder().to_owned()));
        }
        let ends = authority.certificate().not_after;
        if now >= ends {
            return Err(Error::Expired(super::moment(ends)));
        }
        let starts = authority.certificate().not_before;
        if now < starts {
            let why = format!("and the authority's certificate begins at {}", super::moment(starts));
            return Err(Error::Clock { now: super::moment(now), why });
        }
        Ok(Self { authority, key, now, lock })
    }

    /// Gives the right to change the folder back.
    pub(super) fn into_lock(self) -> Lock {
        self.lock
    }

    /// Issues a certificate. It is on the disk before this returns. The key is `None` if it was asked for with a request.
    ///
    /// # Errors
    /// What is wrong with what was asked for, or what the system says.
    pub fn issue(&self, request: &Request) -> Result<(Issued, Option<Key>), Error> {
        let serial = self.unused()?;
        let params = request.params(&serial, self.authority.certificate(), self.now)?;
        let issuer = self.issuer();
        let make = || Error::make::<rcgen::Error>("certificate");
        let (template, key) = match &request.subject {
            Subject::New(algorithm) => {
                let key = Key::generate(*algorithm)?;
                (params.signed_by(&key, &issuer).map_err(make())?, Some(key))
            }
            Subject::Request(public) => (params.signed_by(&**public, &issuer).map_err(make())?, None),
        };
        let der = splice::sign(template.der(), &self.authority.certificate().name, self.key)?;
        let path = self.authority.issued_folder().join(Issued::file(&request.name, &serial));
        let certificate = Certificate::from_der(&path, &der)?;
        files::write(&path, certificate.to_pem().as_bytes(), Existing::Keep)?;
        Ok((Issued { name: request.name.clone(), certificate }, key))
    }

    /// Puts certificates on the revocation list, and signs a new one. What is on it already stays as it is. It is on the
    /// disk before this returns.
    ///
    /// # Errors
    /// There is no list that this could follow, or what the system says.
    pub fn revoke(&self, serials: &[Serial], reason: Reason, next: Duration) -> Result<Crl, Error> {
        let fresh = serials.iter().map(|serial| Revoked { serial: serial.clone(), at: self.now, reason });
        self.follow(fresh.collect(), next)
    }

    /// Signs a new revocation list; the next one is due after `next`.
    ///
    /// # Errors
    /// As for [`Self::revoke`].
    pub fn renew_list(&self, next: Duration) -> Result<Crl, Error> {
        self.follow(Vec::new(), next)
    }

    fn follow(&self, fresh: Vec<Revoked>, next: Duration) -> Result<Crl, Error> {
        let before =
            self.authority.crl()?.ok_or_else(|| Error::NoList(self.authority.folder().to_owned()))?;
        if self.now < before.this_update {
            let why = format!("and the last list was signed at {}", super::moment(before.this_update));
            return Err(Error::Clock { now: super::moment(self.now), why });
        }
        let fresh = fresh.into_iter().filter(|entry| before.entry(&entry.serial).is_none());
        let fresh: Vec<_> = fresh.collect();
        let mut all = self.still_listed(&before)?;
        all.extend(fresh);
        self.sign_list(crl::after(&before.number), &all, next)
    }

    /// What has to stay on the list: an entry may go once it was on a list that was signed after its certificate had ended
    /// (RFC 5280, section 3.3).
    fn still_listed(&self, before: &Crl) -> Result<Vec<Revoked>, Error> {
        let ends: HashMap<Serial, OffsetDateTime> = if before.revoked.is_empty() {
            HashMap::new()
        } else {
            let issued = self.authority.issued()?.into_iter();
            issued.map(|issued| (issued.certificate.serial, issued.certificate.not_after)).collect()
        };
        let stays = |entry: &&Revoked| ends.get(&entry.serial).is_none_or(|end| *end >= before.this_update);
        Ok(before.revoked.iter().filter(stays).cloned().collect())
    }

    /// Signs a list and puts it in the place of the one before.
    pub(super) fn sign_list(&self, number: Vec<u8>, all: &[Revoked], next: Duration) -> Result<Crl, Error> {
        let params = CertificateRevocationListParams {
            this_update: self.now,
            next_update: self.now + next,
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: all.iter().map(entry).collect(),
            key_identifier_method: self.key_identifier(),
        };
        let template = params.signed_by(&self.issuer()).map_err(Error::make("revocation list"))?;
        let der = splice::sign(template.der(), &self.authority.certificate().name, self.key)?;
        let path = self.authority.list_file();
        let list = Crl::parse(&path, &der, self.authority.certificate())?;
        files::replace(&path, list.to_pem().as_bytes())?;
        Ok(list)
    }

    /// A number that no certificate has.
    fn unused(&self) -> Result<Serial, Error> {
        let used = self.authority.names()?;
        loop {
            let serial = Serial::random()?;
            let own = self.authority.certificate().serial == serial;
            if !own && used.iter().all(|(_, _, other)| *other != serial) {
                return Ok(serial);
            }
        }
    }

    /// Who signs, for the template.
    fn issuer(&self) -> Issuer<'static, Template<'a>> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        if self.authority.certificate().signs_lists() {
            params.key_usages.push(KeyUsagePurpose::CrlSign);
        }
        params.key_identifier_method = self.key_identifier();
        Issuer::new(params, Template(self.key))
    }

    fn key_identifier(&self) -> KeyIdMethod {
        let told = self.authority.certificate().key_identifier.clone();
        told.map_or(KeyIdMethod::Sha256, KeyIdMethod::PreSpecified)
    }
}

fn entry(revoked: &Revoked) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: SerialNumber::from_slice(revoked.serial.as_bytes()),
        revocation_time: revoked.at,
        reason_code: reason(revoked.reason),
        invalidity_date: None,
    }
}

/// Nothing stands for no reason (RFC 5280, section 5.3.1).
fn reason(reason: Reason) -> Option<RevocationReason> {
    Some(match reason {
        Reason::Unspecified => return None,
        Reason::KeyCompromise => RevocationReason::KeyCompromise,
        Reason::CaCompromise => RevocationReason::CaCompromise,
        Reason::AffiliationChanged => RevocationReason::AffiliationChanged,
        Reason::Superseded => RevocationReason::Superseded,
        Reason::CessationOfOperation => RevocationReason::CessationOfOperation,
        Reason::CertificateHold => RevocationReason::CertificateHold,
        Reason::PrivilegeWithdrawn => RevocationReason::PrivilegeWithdrawn,
    })
}
