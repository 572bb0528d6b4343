//! An invitation as people pass it on: a token, and by what the gateway is known. Behind the `#` of a link it reaches no server
//! and no log of one.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use base16ct::{lower, mixed};
use zeroize::Zeroizing;

use crate::store::Token;

/// Bytes of a fingerprint.
const SIZE: usize = 32;
/// What stands between the token and the fingerprint: no digit, and nothing to a shell.
const BETWEEN: char = '.';

/// SHA-256 of an authority's certificate, as `openssl x509 -fingerprint -sha256` shows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fingerprint([u8; SIZE]);

impl Fingerprint {
    /// That of a certificate in DER.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        let mut bytes = [0; SIZE];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, certificate).as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&lower::encode_string(&self.0))
    }
}

impl FromStr for Fingerprint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed =
            "the 64 hexadecimal digits of a SHA-256 fingerprint are expected, with or without colons";
        let digits: String = text.trim().chars().filter(|c| *c != ':').collect();
        let mut bytes = [0; SIZE];
        let read = mixed::decode(&digits, &mut bytes).map_err(|_| allowed)?.len();
        if read == SIZE { Ok(Self(bytes)) } else { Err(allowed) }
    }
}

/// A token, and by what the gateway that takes it is known.
pub struct Invitation {
    /// The token.
    pub token: Token,
    /// The authority of the gateway's certificate; none if that is one which everybody knows.
    pub authority: Option<Fingerprint>,
}

impl Invitation {
    /// Reads what [`Self::to_text`] wrote; spaces around it do not count.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let (token, authority) = match text.trim().split_once(BETWEEN) {
            Some((token, authority)) => (token, Some(authority.parse().ok()?)),
            None => (text, None),
        };
        Some(Self { token: Token::from_text(token)?, authority })
    }

    /// As text, to be shown or sent once.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = self.token.to_text();
        if let Some(authority) = self.authority {
            // Room for all of it: a text that grows leaves copies behind.
            let mut longer = Zeroizing::new(String::with_capacity(text.len() + 1 + 2 * SIZE));
            longer.push_str(&text);
            longer.push(BETWEEN);
            longer.push_str(&authority.to_string());
            text = longer;
        }
        text
    }
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation").field("authority", &self.authority).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_comes_back_with_and_without_an_authority() {
        for authority in [None, Some(Fingerprint::of(b"certificate"))] {
            let text = Invitation { token: Token::random().unwrap(), authority }.to_text();
            let again = Invitation::from_text(&format!(" {}\n", *text)).unwrap();
            assert_eq!((again.to_text(), again.authority), (text, authority));
        }
    }

    #[test]
    fn what_is_cut_off_or_mistyped_is_none() {
        let whole = Invitation { token: Token::random().unwrap(), authority: Some(Fingerprint::of(b"x")) };
        let text = whole.to_text();
        for wrong in ["", ".", &text[1..], &text[..text.len() - 1], &text[..70], &text.replace('.', "")] {
            assert!(Invitation::from_text(wrong).is_none(), "{wrong}");
        }
        assert!(!format!("{whole:?}").contains(&text[5..69]));
    }

    #[test]
    fn a_fingerprint_is_read_as_openssl_shows_it() {
        let shown =
            "BA:78:16:BF:8F:01:CF:EA:41:41:40:DE:5D:AE:22:23:B0:03:61:A3:96:17:7A:9C:B4:10:FF:61:F2:00:15:AD";
        assert_eq!(shown.parse(), Ok(Fingerprint::of(b"abc")));
        assert!("BA:78".parse::<Fingerprint>().unwrap_err().contains("64 hexadecimal digits"));
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_passed_on_is_read_or_refused(text in "\\PC{0,200}|adit-[0-9a-f]{60,68}([.][0-9a-fA-F:]{60,100})?") {
            if let Some(invitation) = Invitation::from_text(&text) {
                proptest::prop_assert!(Invitation::from_text(&invitation.to_text()).is_some());
            }
        }
    }
}
