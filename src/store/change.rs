//! What can be changed, and why it may be refused.

use adit_noise::{PresharedKey, PublicKey};

use super::{Digest, Identity, Lease, Wall};

/// One change. It is done whole or not at all.
#[derive(Clone, Debug)]
pub enum Change {
    /// Lets an identity enrol once with a token.
    Invite {
        /// What is kept of the token.
        token: Digest,
        /// Who may use it.
        identity: Identity,
        /// Until when.
        until: Wall,
    },
    /// Gives a lease, or a new one in place of that which the identity has.
    Enrol(Enrol),
    /// Ends the lease of an identity, which may come back. One that it has got with another key meanwhile stays.
    End {
        /// Whose.
        identity: Identity,
        /// The key of the lease that is meant.
        key: PublicKey,
        /// Why, in a few words, for the audit trail.
        why: String,
    },
    /// Forgets an identity: its lease, its key, and its invitations.
    Remove {
        /// Whom.
        identity: Identity,
    },
    /// Ends what has run out: leases and tokens, the earliest first, at most so many of each.
    Expire {
        /// How many at most.
        most: usize,
    },
}

/// Who asks for a lease, and for what.
#[derive(Clone, Debug)]
pub struct Enrol {
    /// Why it may.
    pub proof: Proof,
    /// The public key of its tunnel.
    pub key: PublicKey,
    /// Whether no client may have that key. It is told to whoever has a proof, lest others find out whose keys are known.
    pub reserved: bool,
    /// The preshared key that it gets.
    pub preshared: PresharedKey,
    /// When the lease is to end. With a certificate: no later than that.
    pub until: Wall,
    /// What it will renew the lease with.
    pub renewal: Digest,
}

/// Why somebody may have a lease.
#[derive(Clone, Debug)]
pub enum Proof {
    /// A token that it was invited with; the identity is that of the invitation.
    Token(Digest),
    /// The secret that it got with its lease, if it got that with a token.
    Renewal {
        /// Who it says that it is.
        identity: Identity,
        /// The digest of the secret.
        secret: Digest,
    },
    /// A certificate, which whoever calls has verified.
    Certificate {
        /// Whom the certificate names.
        identity: Identity,
        /// [What it is known by](Lease::certificate).
        marks: Vec<u8>,
    },
}

/// What was done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Done {
    /// An invitation is open.
    Invited,
    /// This is the lease; `before` is the key that the identity had until now, if that was another.
    Leased {
        /// The lease.
        lease: Lease,
        /// The key whose peer is to go.
        before: Option<PublicKey>,
    },
    /// These leases are over. Whether there are more that have run out is told as well.
    Ended {
        /// The leases.
        leases: Vec<Lease>,
        /// Whether to ask again.
        more: bool,
    },
}

/// Why a change is against the rules. Nothing was changed but the audit trail.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The token was never given out, or its time is long over.
    #[error("the token is not known")]
    UnknownToken,
    /// The token was used before.
    #[error("the token was used before; whoever invited you can give you a new one")]
    UsedToken,
    /// The token's time is over.
    #[error("the token has run out; whoever invited you can give you a new one")]
    ExpiredToken,
    /// A token of this digest exists.
    #[error("there is such a token already")]
    TokenExists,
    /// The secret is not that of the identity's lease.
    #[error("the secret is not the one that came with the lease")]
    WrongSecret,
    /// The lease was got with a certificate, and ends with it.
    #[error("this lease is renewed with the certificate that it was got with")]
    NeedsCertificate,
    /// The lease is over: whoever had it has to enrol again.
    #[error("there is no lease that this renews; enrol again")]
    NoLease,
    /// Another identity has this key.
    #[error("another client has this key; make a new one")]
    KeyTaken,
    /// The key is that of the gateway or of one of its fixed peers.
    #[error("this key cannot be a client's; make a new one")]
    KeyReserved,
    /// Every address of the pool is given out.
    #[error(
        "every address of the gateway's pool is given out; try again later, or have whoever runs it make the pool larger"
    )]
    Full,
    /// The lease would be over before it began.
    #[error("the lease would end before it began; look at the clocks, and at the end of the certificate")]
    Over,
    /// There is no such identity.
    #[error("there is no such client")]
    NoIdentity,
}
