//! How interfaces end.

use std::sync::mpsc;

/// Why an interface ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Ended {
    /// Its TUN device was deleted.
    #[error("its device was deleted")]
    DeviceGone,
    /// Its UAPI socket was removed.
    #[error("its control socket was removed")]
    SocketGone,
    /// It was told to.
    #[error("it was told to end")]
    Asked,
}

impl Ended {
    /// Why what tells it here ended, if it did.
    pub(super) fn told(to: &mpsc::Receiver<Self>) -> Option<Self> {
        match to.try_recv() {
            Err(mpsc::TryRecvError::Empty) => None,
            ended => Some(ended.unwrap_or(Self::Asked)),
        }
    }
}

/// Says that a thread ended, however it did: the interface ends with it.
#[derive(Debug)]
pub(super) struct Farewell(mpsc::Sender<Ended>, Ended);

impl Farewell {
    /// Says so to whoever has the other end.
    pub(super) fn new(to: &mpsc::Sender<Ended>, ended: Ended) -> Self {
        Self(to.clone(), ended)
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        let _ = self.0.send(self.1);
    }
}
