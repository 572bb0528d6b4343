//! What drives the protocols: one thread for each interface, which owns the control half and tells the workers.

mod carrier;
mod device;
mod interface;
mod monitor;
mod owners;
mod report;
mod uapi;

pub use device::{Command, Device};
pub use interface::{Ended, Interface, Options, Remote, interface_name};
