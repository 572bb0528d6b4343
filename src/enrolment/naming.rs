//! Finds the name of the client in a certificate.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Problem;
use crate::config::Naming;
use crate::store::Identity;

impl Naming {
    /// The client that a certificate in DER names.
    ///
    /// # Errors
    /// [`Problem::CertificateName`] if there is none, more than one, or one that no client can have.
    pub fn read(self, certificate: &[u8]) -> Result<Identity, Problem> {
        let refused = Problem::CertificateName(self);
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return Err(refused) };
        let names: Vec<&str> = match self {
            Self::CommonName => {
                let names = parsed.subject().iter_common_name();
                // One that cannot be read is one all the same.
                names.map(|name| name.as_str().unwrap_or_default()).collect()
            }
            Self::Email | Self::Dns => {
                let names = parsed.subject_alternative_name().ok().flatten();
                let names = names.iter().flat_map(|names| &names.value.general_names);
                names.filter_map(|name| self.of_its_kind(name)).collect()
            }
        };
        let [name] = names.as_slice() else { return Err(refused) };
        name.parse().map_err(|_| refused)
    }

    fn of_its_kind<'a>(self, name: &GeneralName<'a>) -> Option<&'a str> {
        let (found, kind) = if let GeneralName::RFC822Name(email) = name {
            (*email, Self::Email)
        } else if let GeneralName::DNSName(dns) = name {
            (*dns, Self::Dns)
        } else {
            return None;
        };
        (kind == self).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(common: &[&str], alternative: &[SanType]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (at, name) in common.iter().enumerate() {
            // rcgen keeps one of each type: a second common name is written by its number.
            let kind = if at == 0 { DnType::CommonName } else { DnType::CustomDnType(vec![2, 5, 4, 3]) };
            params.distinguished_name.push(kind, *name);
        }
        params.subject_alt_names = alternative.to_vec();
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    fn email(text: &str) -> SanType {
        SanType::Rfc822Name(text.try_into().unwrap())
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.try_into().unwrap())
    }

    #[test]
    fn a_client_has_the_one_name_that_is_looked_at() {
        let names = [email("alice@example.org"), dns("laptop.example.org")];
        let one = certificate(&["alice"], &names);
        let read = |naming: Naming| naming.read(&one).map(|identity| identity.to_string());
        assert_eq!(read(Naming::CommonName).unwrap(), "alice");
        assert_eq!(read(Naming::Email).unwrap(), "alice@example.org");
        assert_eq!(read(Naming::Dns).unwrap(), "laptop.example.org");
    }

    #[test]
    fn none_two_or_a_name_for_people_is_refused_with_where_it_was_looked_for() {
        for common in [&[][..], &["alice", "bob"], &["Alice Example"], &["alice\0bob"], &["*"], &[""]] {
            let refused = Naming::CommonName.read(&certificate(common, &[])).unwrap_err();
            assert_eq!(refused, Problem::CertificateName(Naming::CommonName), "{common:?}");
        }
        let two =
            certificate(&["alice"], &[email("a@example.org"), email("b@example.org"), dns("*.example.org")]);
        let refused = Naming::Email.read(&two).unwrap_err();
        assert!(refused.to_string().contains("exactly one e-mail address"), "{refused}");
        assert_eq!(Naming::Dns.read(&two), Err(Problem::CertificateName(Naming::Dns)));
    }

    proptest! {
        #[test]
        fn what_is_no_certificate_names_nobody(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Naming::CommonName.read(&bytes).is_err());
        }

        #[test]
        fn damage_to_a_certificate_makes_no_other_kind_of_name(at in 0_usize..400, byte in any::<u8>()) {
            let mut bytes = certificate(&["alice"], &[email("alice@example.org")]);
            let at = at % bytes.len();
            bytes[at] = byte;
            for naming in [Naming::CommonName, Naming::Email, Naming::Dns] {
                if let Ok(identity) = naming.read(&bytes) {
                    prop_assert!(identity.as_str().parse::<Identity>().is_ok());
                }
            }
        }
    }
}
