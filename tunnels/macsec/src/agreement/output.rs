//! What is to be done, in the order in which it is told.

use super::Disagreement;
use crate::{An, Error, KeyId, ReceiveKey, ReceiveSc, Sci, SecY, TransmitKey};

/// The next thing to do.
#[derive(Clone, Debug)]
pub enum Output {
    /// A message to the peer, where it was last heard.
    Send(Vec<u8>),
    /// A message to the source of the one that was just handled. Nothing is known of that source.
    Reply(Vec<u8>),
    /// The message that was just handled is the peer's own, and new: where it came from, the peer is.
    Heard,
    /// The SecY is to be changed; the workers are to have its port before anything that follows is done.
    Keys(KeyChange),
    /// A [`keepalive`](super::keepalive::frame) is to be sent through the SecY.
    Keepalive,
    /// The peer is configured otherwise: no keys until that ends. Told when it is found, not each time again.
    Disagreed(Disagreement),
}

/// A change of the keys of a SecY.
#[derive(Clone, Debug)]
pub enum KeyChange {
    /// The peer may send with this key.
    Receive {
        /// The peer's channel. It is made if there is none.
        sci: Sci,
        /// The association that the key goes to. It is free.
        an: An,
        /// The key.
        key: ReceiveKey,
    },
    /// Frames are sent with this key from now on, and never again with the one before.
    Transmit {
        /// The association that the key goes to.
        an: An,
        /// The key.
        key: TransmitKey,
    },
    /// The key is given up, wherever it is.
    Retire(KeyId),
}

impl KeyChange {
    /// Carries the change out. A channel of the peer that is left without a key goes when it has another.
    ///
    /// # Errors
    /// Those of the SecY. There are none if it is made with the link's SCI, and nobody else changes its keys.
    pub fn apply(self, secy: &mut SecY) -> Result<(), Error> {
        match self {
            Self::Receive { sci, an, key } => {
                if !secy.port().receive().iter().any(|channel| channel.sci() == sci) {
                    secy.add_channel(sci)?;
                }
                secy.install_receive(sci, an, key)?;
            }
            Self::Transmit { an, key } => {
                let id = key.sak.id();
                let before = secy.port().transmit().map(|sa| (sa.an(), sa.sak().id()));
                if before.is_some_and(|(before, _)| before == an) {
                    secy.stop_transmitting();
                }
                secy.install_transmit(an, key)?;
                secy.transmit_with(id)?;
                if let Some((_, before)) = before {
                    secy.retire(before);
                }
            }
            Self::Retire(id) => {
                secy.retire(id);
            }
        }
        let empty = |channel: &&ReceiveSc| channel.associations().next().is_none();
        let channels = secy.port().receive();
        let empty: Vec<_> = channels.iter().filter(empty).map(ReceiveSc::sci).collect();
        if empty.len() < channels.len() {
            for sci in empty {
                secy.remove_channel(sci);
            }
        }
        Ok(())
    }
}
