//! The constants of the paper (section 6.1) and of the kernel's implementation.

use core::time::Duration;

/// Messages after which a session is renewed.
pub const REKEY_AFTER_MESSAGES: u64 = 1 << 60;
/// Messages after which a session is not used any more.
pub const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);
/// Age at which the initiator renews a session that it sends on.
pub const REKEY_AFTER_TIME: Duration = Duration::from_secs(120);
/// Age at which a session is not used any more.
pub const REJECT_AFTER_TIME: Duration = Duration::from_secs(180);
/// Age at which the initiator renews a session that it only receives on.
pub const REKEY_ON_RECEIVE_TIME: Duration = Duration::from_secs(180 - 10 - 5);
/// How long handshakes are tried.
pub const REKEY_ATTEMPT_TIME: Duration = Duration::from_secs(90);
/// Time between two initiations to one peer.
pub const REKEY_TIMEOUT: Duration = Duration::from_secs(5);
/// Most that is added to [`REKEY_TIMEOUT`] by chance, so that two peers do not collide for ever.
pub const REKEY_TIMEOUT_JITTER: Duration = Duration::from_millis(333);
/// How long received data may stay without any answer.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
