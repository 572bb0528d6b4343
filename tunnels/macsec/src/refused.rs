//! Why a frame was refused.

/// Lists the variants once, so that reasons, names and explanations cannot drift apart.
macro_rules! reasons {
    ($(#![$about:meta])* $($(#[$doc:meta])* $variant:ident = $name:literal, $text:literal;)*) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
        #[non_exhaustive]
        pub enum Refused {
            $($(#[$doc])* #[error($text)] $variant,)*
        }

        impl Refused {
            /// Every reason: `Refused::ALL[reason as usize] == reason`.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name of its counter: snake case, and it stays what it is.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                const NAMES: &[&str] = &[$($name),*];
                #[expect(clippy::indexing_slicing, reason = "as many names as variants")]
                NAMES[self as usize]
            }
        }
    };
}
pub(crate) use reasons;

reasons! {
    #![doc = "Why a frame was not sealed or not opened. The first seven are what the standard counts together as InPktsBadTag"]
    #![doc = "(IEEE 802.1AE-2018, clause 9.12)."]

    /// The version bit is set (clause 9.5).
    Version = "sectag_version", "a SecTAG of another version";
    /// The SC bit together with ES or SCB: two words on whose the frame is (clause 9.5).
    SciTwice = "sectag_sci_twice", "an SCI in a SecTAG that says it has none";
    /// The C bit without the E bit: no suite here changes data without encrypting it (clause 9.5).
    ChangedText = "sectag_changed_text", "data changed but not encrypted";
    /// A reserved bit beside the short length is set (clause 9.7).
    Reserved = "sectag_reserved", "a reserved bit is set";
    /// A short length of 48 or more (clause 9.7).
    ShortLength = "sectag_short_length", "a short length that is not short";
    /// Packet number zero, without extended numbering (clause 9.8).
    PnZero = "sectag_pn_zero", "packet number zero";
    /// The frame ends before the SecTAG, the data or the ICV does, or a frame without short length is short (clause 9.12).
    Truncated = "sectag_truncated", "shorter than its SecTAG says";
    /// A frame of the MAC security key agreement entity: it is not for the controlled port (clause 9.5, E without C).
    KayFrame = "kay_frame", "for the key agreement entity";
    /// No SecTAG, where all frames must have one: InPktsNoTag.
    NoTag = "no_tag", "not protected";
    /// From a channel that is not known: InPktsNoSCI.
    NoSci = "no_sci", "from an unknown channel";
    /// Under an association that has no key: InPktsNotUsingSA.
    NotUsingSa = "not_using_sa", "under an association without a key";
    /// Seen before, or behind the window: InPktsLate.
    Late = "late", "replayed, or too late";
    /// The ICV is wrong: InPktsNotValid.
    NotValid = "not_valid", "authentication failed";
    /// Shorter than an Ethernet header, or without room around it.
    Length = "frame_length", "wrong length of a frame";
    /// Too long to be sent once it is protected: OutPktsTooLong.
    TooLong = "too_long", "too long";
    /// From another station, where the receiver takes its address for ours (clause 9.5, ES and SCB).
    ForeignSource = "foreign_source", "from another station than the channel's";
    /// There is no key to send with.
    NoTransmitSa = "no_transmit_sa", "no key to send with";
    /// The key's packet numbers are used up (clause 10.5.2).
    PnExhausted = "pn_exhausted", "packet numbers used up";
    /// Further packet numbers may not be used yet.
    PnBound = "pn_bound", "waiting for packet numbers";
}

impl Refused {
    /// Whether it is one of those that are counted as InPktsBadTag.
    #[must_use]
    pub const fn is_bad_tag(self) -> bool {
        self as usize <= Self::Truncated as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_their_own_names_and_positions() {
        let mut names = Vec::new();
        for (at, reason) in Refused::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, at);
            assert_eq!(reason.is_bad_tag(), at < 7, "{reason}");
            assert!(reason.as_str().bytes().all(|octet| octet == b'_' || octet.is_ascii_lowercase()));
            names.push(reason.as_str());
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Refused::ALL.len());
    }
}
