//! What drives the protocols: one thread for each interface, which owns the control half and tells the workers.

mod carrier;
mod device;
mod interface;
mod monitor;
mod other_cipher;
mod owners;
mod remote;
mod report;
mod uapi;

pub use device::{Command, Device};
pub use interface::{Ended, Interface, MTU, Options, interface_name};
pub use remote::Remote;
pub use uapi::SOCKETS;
