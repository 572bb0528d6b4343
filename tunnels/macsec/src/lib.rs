//! MACsec without I/O: the SecY of IEEE 802.1AE-2018. Frames go in, protected frames come out, and back.
//!
//! Two halves. The control half, [`SecY`], is `&mut`: channels and keys. The data half, [`ControlledPort`], is shared by the
//! workers, which seal and open batches of frames with it and never wait for the control half.
//!
//! ```text
//!    add_channel, install_receive, install_transmit, transmit_with, retire
//!                                   |
//!                                   v
//!   SecY --- port() ---> Arc<ControlledPort> ........ published to the workers after each change
//!     |                    |--- TransmitSa (encodingSA)        transmit.rs    seal.rs, clause 10.5
//!     |                    '--- ReceiveSc --- ReceiveSa [4]    receive.rs     open.rs, clause 10.6
//!     '--- TransmitSa [4]
//! ```
//!
//! A frame as the hosts see it, and on the wire:
//!
//! ```text
//!   | DA | SA | VLAN tags | data                  |
//!   | DA | SA | clear tags | SecTAG | other tags, data | ICV |
//!     ~~~~~~~              ~~~~~~~~~~~~~~~~~~~~~~~~~~~~        authenticated
//!                                    ~~~~~~~~~~~~~~~~~~        encrypted, but for the confidentiality offset
//! ```
//!
//! Between two gateways [`agreement`] brings the keys. Other ways to agree on them are elsewhere, and so is what passes by the
//! Uncontrolled Port.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

pub mod agreement;

mod counters;
mod open;
mod port;
mod receive;
mod refused;
mod sak;
mod sci;
mod seal;
mod sectag;
mod secy;
mod suite;
mod transmit;
mod window;

pub use counters::{Count, ReceiveCounters, SecyCounters, TransmitCounters};
pub use open::Opened;
pub use port::ControlledPort;
pub use receive::{ReceiveKey, ReceiveSa, ReceiveSc};
pub use refused::Refused;
pub use sak::{KeyId, Sak, SakError, Salt};
pub use sci::{An, Sci, Ssci};
pub use sectag::{ETHERTYPE, ICV, SecTag, Tci};
pub use secy::{Error, SciEncoding, SecY, Settings, ValidateFrames};
pub use suite::{CipherSuite, Offset, Protection, UnknownSuite};
pub use transmit::{TransmitKey, TransmitSa};
pub use window::Replay;
