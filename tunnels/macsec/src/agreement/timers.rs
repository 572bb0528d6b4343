//! What is done when.

use core::time::Duration;

/// Age at which whoever began the handshake of a key begins the next.
pub const REKEY_AFTER: Duration = Duration::from_secs(120);
/// Age at which the other one does, if nothing came of that.
pub const RESPONDER_REKEY_AFTER: Duration = Duration::from_secs(150);
/// Age at which a key is given up, in both directions: nothing is sent until there is another.
pub const REJECT_AFTER: Duration = Duration::from_secs(180);
/// How long an old key still receives after the peer was heard under a newer one.
pub const LINGER: Duration = Duration::from_secs(3);
/// Time between two initiations.
pub const RETRY: Duration = Duration::from_secs(5);
/// Most that is added to [`RETRY`] by chance.
pub const RETRY_JITTER: Duration = Duration::from_millis(333);
/// Time between two keepalives.
pub const KEEPALIVE: Duration = Duration::from_secs(10);
/// The same until the peer is heard under the key that we send with.
pub const UNCONFIRMED_KEEPALIVE: Duration = Duration::from_secs(1);
/// How long the peer may be silent before a handshake finds out whether it is there: two keepalives and a half.
pub const SILENCE: Duration = Duration::from_secs(25);
/// Least time between two initiations that are consumed.
pub const INITIATION_INTERVAL: Duration = Duration::from_millis(20);
