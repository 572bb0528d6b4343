//! Many WireGuard peers in one process: what a gateway can do is measured, not what thousands of devices cost.
//!
//! ```text
//! member 0 ─┐                                       ┌─ member 1
//! member 1 ─┼─ one socket, an address each ── gateway ─ member 2      `Whither::Next`: routed by the gateway's kernel
//! member 2 ─┘                                       └─ member 0
//! ```

mod handshakes;
mod inner;
mod member;
mod throng;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use adit_noise::{Now, PublicKey, Time};
use adit_wireguard::message::Message;
use adit_wireguard::{Local, Udp};

pub use handshakes::Handshakes;
pub use inner::LEAST;
pub use member::{inner, outer, public_key};
pub use throng::{Throng, Whither};

use crate::Port;
use member::{Gateway, Member};

/// Members that a crowd may have.
pub const MOST: u32 = 1 << 16;

/// The members, and their way to the gateway.
pub struct Crowd {
    members: Vec<Member>,
    gateway: Gateway,
    to: SocketAddr,
    port: Port,
    began: Instant,
}

impl Crowd {
    /// So many members, at most [`MOST`], of a gateway. Their outer addresses must be this machine's.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new(count: u32, to: SocketAddr, key: PublicKey) -> io::Result<Self> {
        let gateway = Gateway::new(key);
        let members = (0..count.min(MOST)).map(|number| Member::new(number, &gateway)).collect();
        Ok(Self { members, gateway, to, port: Port::bind(0, true)?, began: Instant::now() })
    }

    fn now(&self) -> Now {
        let mono = Time::from_nanos(self.began.elapsed().as_nanos() as u64);
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Now { mono, wall }
    }

    /// The path of a member: from its own address.
    fn path(&self, number: u32) -> Udp {
        Udp { remote: self.to, local: Some(Local { address: outer(number).into(), interface: 0 }) }
    }

    /// The member that a message is for.
    fn receiver(message: &[u8]) -> Option<u32> {
        match Message::parse(message)? {
            Message::Response => Some(member::word(message, 8)),
            Message::CookieReply => Some(member::word(message, 4)),
            Message::Data { receiver, .. } => Some(receiver),
            Message::Initiation => None,
        }
    }
}
