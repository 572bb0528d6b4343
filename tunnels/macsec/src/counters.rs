//! The counters of the standard, under its own names (IEEE 802.1AE-2018, clauses 10.5 to 10.7).
//!
//! Any thread counts, any thread reads; between the counters of one set nothing is promised.

use core::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Counts `number` more.
    #[inline]
    pub fn add(&self, number: u64) {
        if number > 0 {
            self.0.fetch_add(number, Ordering::Relaxed);
        }
    }

    /// How many were counted so far.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($(#[$about:meta])* $set:ident { $($(#[$doc:meta])* $field:ident = $name:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Default)]
        pub struct $set {
            $($(#[$doc])* pub $field: Count,)*
        }

        impl $set {
            /// Each counter's name in the standard, and what it has counted.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$(($name, self.$field.total())),*].into_iter()
            }
        }
    };
}

counters! {
    /// Of a SecY, beside those of its channels.
    SecyCounters {
        /// Sent without protection. Always zero: this SecY protects every frame (protectFrames is true).
        out_pkts_untagged = "OutPktsUntagged",
        /// Not sent: too long once protected.
        out_pkts_too_long = "OutPktsTooLong",
        /// Received without a SecTAG and delivered.
        in_pkts_untagged = "InPktsUntagged",
        /// Received without a SecTAG and dropped.
        in_pkts_no_tag = "InPktsNoTag",
        /// Dropped: the SecTAG breaks a rule.
        in_pkts_bad_tag = "InPktsBadTag",
        /// From an unknown channel and delivered.
        in_pkts_unknown_sci = "InPktsUnknownSCI",
        /// From an unknown channel and dropped.
        in_pkts_no_sci = "InPktsNoSCI",
        /// Dropped because they came faster than they were validated. The owner counts these: it knows what its socket lost.
        in_pkts_overrun = "InPktsOverrun",
    }
}

counters! {
    /// Of a receive channel, and of each of its associations. Of an association, what needs one to be counted.
    ReceiveCounters {
        /// Delivered without having been validated.
        in_pkts_unchecked = "InPktsUnchecked",
        /// Delivered though behind the window, which is not enforced.
        in_pkts_delayed = "InPktsDelayed",
        /// Delivered: authentic and in time.
        in_pkts_ok = "InPktsOK",
        /// Delivered though not authentic.
        in_pkts_invalid = "InPktsInvalid",
        /// Dropped: behind the window, or replayed.
        in_pkts_late = "InPktsLate",
        /// Dropped: not authentic.
        in_pkts_not_valid = "InPktsNotValid",
        /// Dropped: there is no such association.
        in_pkts_not_using_sa = "InPktsNotUsingSA",
        /// Delivered though there is no such association.
        in_pkts_unused_sa = "InPktsUnusedSA",
        /// Octets of data in frames that were delivered as authentic, and not encrypted.
        in_octets_validated = "InOctetsValidated",
        /// Octets of data in frames that were delivered as authentic, and encrypted.
        in_octets_decrypted = "InOctetsDecrypted",
    }
}

counters! {
    /// Of the transmit channel, and of each of its associations.
    TransmitCounters {
        /// Sent with integrity only.
        out_pkts_protected = "OutPktsProtected",
        /// Sent encrypted.
        out_pkts_encrypted = "OutPktsEncrypted",
        /// Octets of data in frames sent with integrity only.
        out_octets_protected = "OutOctetsProtected",
        /// Octets of data in frames sent encrypted.
        out_octets_encrypted = "OutOctetsEncrypted",
    }
}
