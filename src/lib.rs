//! adit: a gateway that encrypts everything in transit. This crate does all the I/O; the protocols are in `tunnels/`.

pub mod admin;
pub mod background;
pub mod clock;
pub mod config;
pub mod control;
pub mod ctl;
pub mod datapath;
pub mod gateway;
pub mod log;
pub mod net;
pub mod privilege;
pub mod status;
