//! WireGuard interfaces.

mod carrier;
mod device;
mod interface;
mod other_cipher;
mod owners;
mod remote;
mod report;
mod uapi;

pub use device::{Command, Device};
pub use interface::{Interface, MTU, Options};
pub use remote::Remote;
pub use uapi::SOCKETS;
