//! adit: a gateway that encrypts everything in transit. This crate does all the I/O; the protocols are in `tunnels/`.

pub mod background;
pub mod clock;
pub mod control;
pub mod datapath;
pub mod log;
pub mod net;
