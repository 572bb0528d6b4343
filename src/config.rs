//! The configuration file: TOML in, validated types out. Defaults live here and nowhere else.
//!
//! A file is read whole before anything of it is used, and every mistake in it is told at once ([`Errors`]), each with its
//! line, its column, its key, what was found, and what is allowed. Everything that can be many is a named table, so that a
//! reload can tell what changed.

mod across;
mod clients;
mod endpoint;
mod file;
mod key_file;
mod load;
mod mistake;
mod naming;
mod peer;
mod readable;
mod source;
mod table;
mod tunnel;
mod unique;

pub mod macsec;
pub mod quick;
#[cfg(not(loom))]
pub mod tls;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use adit_noise::{PresharedKey, PrivateKey, PublicKey};
use adit_wireguard::{Cipher, Prefix};
use tracing::level_filters::LevelFilter;

pub use clients::{Clients, Pool};
pub use endpoint::Unreadable;
pub use load::{Secret, load, parse};
pub use macsec::Macsec;
pub use mistake::{Errors, Mistake, Place};
pub use naming::Naming;
#[cfg(not(loom))]
pub use tls::Tls;

use crate::net::offload::Offloads;

/// All that a file says.
#[derive(Debug, PartialEq)]
pub struct Config {
    /// `[gateway]`
    pub gateway: Gateway,
    /// `[log]`
    pub log: Log,
    /// `[admin]`
    pub admin: Admin,
    /// `[metrics]`; without it no port is opened for them.
    pub metrics: Option<Metrics>,
    /// `[wireguard.NAME]`, by the names of the interfaces.
    pub wireguard: BTreeMap<String, Wireguard>,
    /// `[macsec.NAME]`, by the names of the tables.
    pub macsec: BTreeMap<String, Macsec>,
    /// `[clients.NAME]`, by the names of their tunnels.
    pub clients: BTreeMap<String, Clients>,
    /// `[tls.NAME]`, by name.
    #[cfg(not(loom))]
    pub tls: BTreeMap<String, Tls>,
    /// The files that were read for it: itself first, if it is a file, then the key files.
    pub files: Vec<PathBuf>,
}

/// `[gateway]`: the daemon as a whole. To change any of it the daemon has to be started anew.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    /// `name`, if the file gives one: what this gateway is called in its status. See [`Self::name`].
    pub name: Option<String>,
    /// `state`: the folder for what has to survive a restart, and the audit trail.
    pub state: PathBuf,
    /// `user`: whom the daemon becomes once it is set up; `root` keeps all privileges, and shows in the status.
    pub user: String,
    /// `workers`, if the file says how many: of each tunnel, each with a queue of the device, a socket and two threads,
    /// 1 to 64. See [`Self::workers`].
    pub workers: Option<usize>,
    /// `pin`: keep each thread of a worker on a processor of its own.
    pub pin: bool,
    /// `offload.NAME`: offloads that may be used.
    pub offloads: Offloads,
}

/// `[log]`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Log {
    /// `level`: `error`, `info` or `verbose`.
    pub level: LevelFilter,
    /// `format`: `text` or `json`.
    pub json: bool,
}

/// `[admin]`: the sockets that `aditctl` speaks to.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// `directory`: where the sockets `read.sock` and `write.sock` are.
    pub directory: PathBuf,
    /// `read_group`: who may read beside root and the daemon's user.
    pub read_group: Option<String>,
    /// `write_group`: who may change something beside them.
    pub write_group: Option<String>,
}

/// `[metrics]`
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// `listen`: the address on which `GET /metrics` is answered.
    pub listen: SocketAddr,
}

/// `[wireguard.NAME]`
#[derive(Debug, PartialEq)]
pub struct Wireguard {
    /// What `private_key_file` holds.
    pub private_key: PrivateKey,
    /// `listen_port`; 0 lets the system choose.
    pub listen_port: u16,
    /// `fwmark` of what is sent; 0 for none, or [`MARK`].
    pub fwmark: u32,
    /// `mtu` in bytes.
    pub mtu: usize,
    /// `cipher`: what the tunnel is secured with, the same at both ends.
    pub cipher: Cipher,
    /// `addresses` of the interface.
    pub addresses: Vec<InterfaceAddress>,
    /// `table`: where routes to the allowed addresses go.
    pub table: Table,
    /// `allow_fail_open`: no unreachable routes stand behind the tunnel's: traffic leaves in clear while it is gone.
    pub allow_fail_open: bool,
    /// `[wireguard.NAME.hooks]`
    pub hooks: Hooks,
    /// `[wireguard.NAME.peer.PEER]`, by name.
    pub peers: BTreeMap<String, Peer>,
}

/// An address with the length of its network: `10.20.0.1/24`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// The length of its network, in bits.
    pub prefix_len: u8,
}

/// The mark of a tunnel with a default route and `table = "auto"`, where the file gives none, and so the number of that
/// route's table. As in wg-quick.
pub const MARK: u32 = 51_820;

/// Where routes go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Table {
    /// `"auto"`: the main table; default routes into one of their own, with rules as wg-quick's.
    Auto,
    /// `"off"`: no routes.
    Off,
    /// A number: all routes into that table.
    Number(u32),
}

/// Commands for `/bin/sh -c`, in their order. `%i` stands for the interface.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Hooks {
    /// `pre_up`: before the interface is set up. One that fails keeps it from being made.
    pub pre_up: Vec<String>,
    /// `post_up`: after that.
    pub post_up: Vec<String>,
    /// `pre_down`: before it is taken away.
    pub pre_down: Vec<String>,
    /// `post_down`: after that.
    pub post_down: Vec<String>,
}

/// `[wireguard.NAME.peer.PEER]`
#[derive(Debug, PartialEq)]
pub struct Peer {
    /// `public_key`
    pub public_key: PublicKey,
    /// What `preshared_key_file` holds; all zero if there is none.
    pub preshared_key: PresharedKey,
    /// `endpoint`: where it is reached at first.
    pub endpoint: Option<EndpointName>,
    /// `allowed_ips`, in ascending order.
    pub allowed_ips: Vec<Prefix>,
    /// `persistent_keepalive` in seconds; 0 for none.
    pub persistent_keepalive: u16,
}

/// `HOST:PORT`
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EndpointName {
    /// An address.
    Address(SocketAddr),
    /// A name of the DNS, which is resolved again when the peer does not answer.
    Dns {
        /// The name.
        host: String,
        /// The port.
        port: u16,
    },
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
