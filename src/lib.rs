//! adit: a gateway that encrypts everything in transit. This crate does all the I/O; the protocols are in `tunnels/`.
//!
//! The models of what threads share (`cfg(loom)`) do without the modules that need tokio, which hides its sockets from them.

#[cfg(not(loom))]
pub mod admin;
pub mod background;
#[cfg(not(loom))]
pub mod client;
pub mod clock;
pub mod config;
pub mod control;
#[cfg(not(loom))]
mod crowd;
#[cfg(not(loom))]
pub mod ctl;
pub mod datapath;
#[cfg(not(loom))]
pub mod enrolment;
#[cfg(not(loom))]
pub mod gateway;
pub mod log;
pub mod net;
#[cfg(not(loom))]
pub mod pki;
pub mod privilege;
pub mod status;
#[cfg(not(loom))]
pub mod store;
#[cfg(test)]
mod test_folder;
#[cfg(not(loom))]
pub mod tls;
