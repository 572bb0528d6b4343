//! The constants of the paper (section 6.1) and of the kernel's implementation.

use core::time::Duration;

/// Messages after which a session is renewed.
pub const REKEY_AFTER_MESSAGES: u64 = 1 << 60;
/// Messages after which a session is not used any more.
pub const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);
/// Messages after which a session of AES-256-GCM is renewed.
///
/// A counted nonce never repeats, so what limits a key is that AES is a permutation: who sees all of it gains at most
/// s^2 / 2^129 over guessing, s being the blocks under the key (a packet's, and one for its tag). 2^28 packets of 1,424 bytes
/// are 2^34.5 blocks, as many as TLS 1.3 allows a key (RFC 8446, section 5.5): by this formula 2^-60; the RFC itself says
/// 2^-57.
pub const GCM_REKEY_AFTER_MESSAGES: u64 = 1 << 28;
/// Messages after which a session of AES-256-GCM is not used any more: four times as many, for the renewal may take
/// [`REKEY_ATTEMPT_TIME`] even at 100 Gbit/s; 2^-56 with packets of 1,424 bytes. With larger ones time ends a session first:
/// [`REJECT_AFTER_TIME`] at 100 Gbit/s is 2^37 blocks, 2^-55.
pub const GCM_REJECT_AFTER_MESSAGES: u64 = 1 << 30;
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
