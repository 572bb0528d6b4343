//! Sockets and devices.

pub mod address;
pub mod guard;
pub mod kill_switch;
pub mod link;
pub mod netlink;
pub mod offload;
pub mod packet;
pub mod path;
pub mod route;
pub mod rule;
pub mod steering;
pub mod tap;
pub mod tun;
pub mod udp;
pub mod unix;

pub(crate) mod sys;

#[cfg(test)]
pub(crate) mod isolated;
