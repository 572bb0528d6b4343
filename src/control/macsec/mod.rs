//! Encrypted Ethernet links.

mod carrier;
mod encryptor;
mod key_log;
mod keys;
mod listener;
mod lower;
mod marks;
mod received;
mod remote;
mod report;
mod station;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;

pub use encryptor::{Encryptor, Setup};
pub use remote::Remote;
pub use station::Command;
