//! What drives the protocols: one thread for each interface, which owns the control half and tells the workers.

mod ended;
mod load;
pub mod macsec;
mod monitor;
mod name;
mod tallies;
mod wireguard;

pub use ended::Ended;
pub use name::interface_name;
pub use wireguard::{Command, Device, Interface, MTU, Options, Remote, SOCKETS};
