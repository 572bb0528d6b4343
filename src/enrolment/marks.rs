//! What certificates are known by once they are no longer at hand: enough to tell that one of them was revoked.
//!
//! A serial number alone is not: two authorities give out the same ones, and that above revokes the one below by its own.

use aws_lc_rs::digest::{Context, SHA256};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

/// Bytes of a mark: SHA-256 of the issuer and the serial number.
const SIZE: usize = 32;

/// Marks of what is revoked.
#[derive(Clone, Debug, Default)]
pub(super) struct Revoked(Vec<[u8; SIZE]>);

impl Revoked {
    /// Of lists in PEM or DER that were judged before.
    pub(super) fn of(lists: &[Vec<u8>]) -> Self {
        let mut marks = Vec::new();
        for bytes in lists {
            let pem: Vec<_> =
                CertificateRevocationListDer::pem_slice_iter(bytes).filter_map(Result::ok).collect();
            let whole = CertificateRevocationListDer::from(bytes.as_slice());
            for list in if pem.is_empty() { vec![whole] } else { pem } {
                let Ok((_, list)) = CertificateRevocationList::from_der(&list) else { continue };
                let issuer = list.issuer().as_raw();
                marks.extend(list.iter_revoked_certificates().map(|entry| mark(issuer, entry.raw_serial())));
            }
        }
        marks.sort_unstable();
        marks.dedup();
        Self(marks)
    }

    /// Whether any of these marks is among them.
    pub(super) fn any(&self, marks: &[u8]) -> bool {
        marks.chunks_exact(SIZE).any(|mark| self.0.binary_search_by(|it| it.as_slice().cmp(mark)).is_ok())
    }
}

/// The marks of the certificates that a client showed, one after the other.
pub(super) fn of_chain(chain: &[CertificateDer<'_>]) -> Vec<u8> {
    let parsed = chain.iter().filter_map(|der| X509Certificate::from_der(der).ok());
    parsed.flat_map(|(_, it)| mark(it.issuer().as_raw(), it.raw_serial())).collect()
}

/// Leading zeros of the number, which one encoder writes and another does not, make no difference.
fn mark(issuer: &[u8], serial: &[u8]) -> [u8; SIZE] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    let mut context = Context::new(&SHA256);
    context.update(issuer);
    context.update(serial.get(zeros..).unwrap_or_default());
    let mut mark = [0; SIZE];
    mark.copy_from_slice(context.finish().as_ref());
    mark
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_counts_with_its_issuer_alone() {
        let revoked = Revoked(vec![mark(b"one", &[0, 7])]);
        assert!(revoked.any(&mark(b"one", &[7])));
        assert!(revoked.any(&[mark(b"two", &[7]), mark(b"one", &[0, 0, 7])].concat()), "one of a chain");
        assert!(!revoked.any(&mark(b"two", &[7])) && !revoked.any(&mark(b"one", &[8])) && !revoked.any(&[]));
    }
}
