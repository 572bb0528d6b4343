//! Sockets and devices.

pub mod link;
pub mod offload;
pub mod tun;
pub mod udp;

pub(crate) mod sys;
