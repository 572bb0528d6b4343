//! What each side tells of itself in the handshake, encrypted and authenticated.
//!
//! ```text
//!   0        8              16          24   25            26        28
//!   | SCI    | cipher suite | generation | AN | protection  | zero    |
//! ```
//!
//! In the order of the network. The AN is the one that the teller wants to receive under. Protection is 0 for integrity
//! only, else 1, 2, 3 for confidentiality offsets of 0, 30, 50 octets, as in MKA's Distributed SAK.

use crate::{An, CipherSuite, Offset, Protection, Sci};

/// The two ends are not configured so that there can be a link.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Disagreement {
    /// Both stations have one SCI.
    #[error("the peer has our SCI {0}: each end needs its own")]
    Sci(Sci),
    /// Another cipher suite.
    #[error("the peer has the cipher {theirs}, we have {ours}: both must be the same")]
    Suite {
        /// Ours.
        ours: CipherSuite,
        /// That of the peer.
        theirs: CipherSuite,
    },
    /// A cipher suite that is not known here.
    #[error("the peer has an unknown cipher, {theirs:016x}, we have {ours}: both must be the same")]
    UnknownSuite {
        /// Ours.
        ours: CipherSuite,
        /// Its identifier.
        theirs: u64,
    },
    /// Other parts of frames are encrypted.
    #[error("the peer has {}, we have {}: both must be the same", words(*theirs), words(code(*ours)))]
    Protection {
        /// Ours.
        ours: Protection,
        /// That of the peer, as it says it.
        theirs: u8,
    },
}

/// What one side tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Terms {
    pub(crate) sci: Sci,
    pub(crate) suite: [u8; 8],
    pub(crate) protection: u8,
    pub(crate) generation: u64,
    pub(crate) an: An,
}

impl Terms {
    pub(crate) const LEN: usize = 28;

    pub(crate) fn new(sci: Sci, suite: CipherSuite, protection: Protection, generation: u64, an: An) -> Self {
        Self { sci, suite: suite.id(), protection: code(protection), generation, an }
    }

    /// `None` if it is not laid out so.
    pub(crate) fn parse(octets: &[u8]) -> Option<Self> {
        let (sci, rest) = octets.split_first_chunk()?;
        let (suite, rest) = rest.split_first_chunk()?;
        let (generation, rest) = rest.split_first_chunk()?;
        let [an, protection, 0, 0] = *rest else { return None };
        Some(Self {
            sci: Sci::from(*sci),
            suite: *suite,
            protection,
            generation: u64::from_be_bytes(*generation),
            an: An::new(an)?,
        })
    }

    pub(crate) fn emit(&self) -> Vec<u8> {
        let numbers = [self.an.number(), self.protection, 0, 0];
        [&self.sci.to_bytes()[..], &self.suite, &self.generation.to_be_bytes(), &numbers].concat()
    }

    /// What keeps us and the peer, who says `self`, from having a link.
    pub(crate) fn disagreement(
        &self,
        sci: Sci,
        suite: CipherSuite,
        protection: Protection,
    ) -> Option<Disagreement> {
        if self.sci == sci {
            return Some(Disagreement::Sci(sci));
        }
        match CipherSuite::from_id(self.suite) {
            None => {
                let theirs = u64::from_be_bytes(self.suite);
                Some(Disagreement::UnknownSuite { ours: suite, theirs })
            }
            Some(theirs) if theirs != suite => Some(Disagreement::Suite { ours: suite, theirs }),
            Some(_) if self.protection != code(protection) => {
                Some(Disagreement::Protection { ours: protection, theirs: self.protection })
            }
            Some(_) => None,
        }
    }
}

/// The octet for a protection.
pub(crate) const fn code(protection: Protection) -> u8 {
    match protection {
        Protection::IntegrityOnly => 0,
        Protection::Confidentiality(Offset::Zero) => 1,
        Protection::Confidentiality(Offset::Thirty) => 2,
        Protection::Confidentiality(Offset::Fifty) => 3,
    }
}

const fn words(code: u8) -> &'static str {
    match code {
        0 => "integrity only",
        1 => "encryption",
        2 => "encryption with an offset of 30",
        3 => "encryption with an offset of 50",
        _ => "an unknown protection",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Sci = Sci::new([2, 0, 0, 0, 0, 1], 1);
    const ENCRYPTED: Protection = Protection::Confidentiality(Offset::Zero);

    fn terms() -> Terms {
        let sci = Sci::new([2, 0, 0, 0, 0, 2], 1);
        Terms::new(sci, CipherSuite::GcmAesXpn256, ENCRYPTED, 0x0102_0304, An::ALL[3])
    }

    #[test]
    fn terms_are_laid_out_as_told_and_read_back() {
        let expected =
            [2, 0, 0, 0, 0, 2, 0, 1, 0, 0x80, 0xc2, 0, 1, 0, 0, 4, 0, 0, 0, 0, 1, 2, 3, 4, 3, 1, 0, 0];
        assert_eq!(terms().emit(), expected);
        assert_eq!(Terms::parse(&expected), Some(terms()));
        for at in [24, 26, 27] {
            let mut bad = expected;
            bad[at] |= 4;
            assert_eq!(Terms::parse(&bad), None, "octet {at}");
        }
        assert_eq!(Terms::parse(&expected[..27]), None);
    }

    #[test]
    fn what_keeps_two_ends_apart_is_told_in_words() {
        let told = |terms: Terms| {
            let found = terms.disagreement(OURS, CipherSuite::GcmAesXpn256, ENCRYPTED);
            found.map(|found| found.to_string()).unwrap_or_default()
        };
        assert_eq!(told(terms()), "");
        assert_eq!(
            told(Terms { sci: OURS, ..terms() }),
            "the peer has our SCI 0200000000010001: each end needs its own"
        );
        let other = Terms { suite: CipherSuite::GcmAes128.id(), ..terms() };
        assert_eq!(
            told(other),
            "the peer has the cipher gcm-aes-128, we have gcm-aes-xpn-256: both must be the same"
        );
        assert!(told(Terms { suite: [9; 8], ..terms() }).contains("unknown cipher, 0909090909090909"));
        assert_eq!(
            told(Terms { protection: 0, ..terms() }),
            "the peer has integrity only, we have encryption: both must be the same"
        );
        assert!(told(Terms { protection: 9, ..terms() }).contains("unknown protection"));
    }
}
