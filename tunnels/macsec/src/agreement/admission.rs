//! Who may cost us a key agreement: mac1, and under load cookies and a rate for each source.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use adit_noise::cookie::{Checker, REPLY};
use adit_noise::mac::MacKey;
use adit_noise::ratelimit::Buckets;
use adit_noise::{MACSEC, PublicKey, Time};

use super::Refused;

/// Sources whose rate is known at once.
const SOURCES: usize = 4096;
/// Cookie replies to strangers, and as many to where the peer was last heard, in each [`PERIOD`]: a reply costs several
/// times as much as to look at what it answers, and goes to whoever a spoofed address belongs to.
const REPLIES: u32 = 40;
const PERIOD: Duration = Duration::from_millis(4);

/// Where a message came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// Over UDP.
    Udp(SocketAddr),
    /// On raw Ethernet: a MAC address.
    Ethernet([u8; 6]),
}

impl Source {
    /// Address and port as octets, for a cookie that is good for this source only.
    fn octets(self) -> [u8; 18] {
        let port = match self {
            Self::Udp(address) => address.port(),
            Self::Ethernet(_) => 0,
        };
        let mut octets = [0; 18];
        let parts = self.address().octets().into_iter().chain(port.to_be_bytes());
        octets.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        octets
    }

    /// A MAC address stands at the end of fe80::/64, which no UDP socket of a link of this kind shares.
    fn address(self) -> Ipv6Addr {
        match self {
            Self::Udp(address) => match address.ip() {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            },
            Self::Ethernet([a, b, c, d, e, f]) => {
                Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d, e, f])
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Admission {
    mac: MacKey,
    cookies: Checker,
    sources: Buckets,
    began: Time,
    strangers: u32,
    peers: u32,
}

impl Admission {
    pub(crate) fn new(own: &PublicKey) -> Self {
        Self {
            mac: MacKey::new(MACSEC.mac1_label, own),
            cookies: Checker::new(&MACSEC, own),
            sources: Buckets::new(SOURCES),
            began: Time::default(),
            strangers: 0,
            peers: 0,
        }
    }

    /// Lets a message pass to the costly part. Refused under load, it may have a cookie reply.
    pub(crate) fn admit(
        &mut self,
        message: &[u8],
        source: Source,
        under_load: bool,
        peer: Option<Source>,
        now: Time,
    ) -> Result<(), (Refused, Option<[u8; REPLY]>)> {
        self.mac.verify_mac1(message).map_err(|_| (Refused::BadMac1, None))?;
        if !under_load {
            return Ok(());
        }
        if self.cookies.verify_mac2(message, &source.octets(), now).is_ok() {
            let allowed = self.sources.allow(IpAddr::V6(source.address()), now);
            return allowed.then_some(()).ok_or((Refused::RateLimited, None));
        }
        if !self.allow_reply(peer == Some(source), now) {
            return Err((Refused::UnderLoad, None));
        }
        match self.cookies.make_reply(message, &source.octets(), now) {
            Ok(reply) => Err((Refused::UnderLoad, Some(reply))),
            Err(_) => Err((Refused::NoEntropy, None)),
        }
    }

    /// Takes one of the replies that may be sent now. What strangers use up is not taken from the peer.
    fn allow_reply(&mut self, to_peer: bool, now: Time) -> bool {
        if now.since(self.began) >= PERIOD {
            (self.began, self.strangers, self.peers) = (now, REPLIES, REPLIES);
        }
        let left = if to_peer { &mut self.peers } else { &mut self.strangers };
        let allowed = *left > 0;
        *left = left.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_differ_in_kind_address_and_port() {
        let udp = |text: &str| Source::Udp(text.parse().unwrap());
        let all = [
            udp("192.0.2.1:1"),
            udp("192.0.2.1:2"),
            udp("192.0.2.2:1"),
            udp("[::]:1"),
            udp("[::1]:1"),
            Source::Ethernet([0, 0, 0, 0, 0, 1]),
            Source::Ethernet([0, 0, 0, 0, 1, 1]),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|other| one.octets() != other.octets()));
        }
        assert_eq!(udp("192.0.2.1:1").octets(), udp("[::ffff:192.0.2.1]:1").octets());
    }

    #[test]
    fn what_strangers_use_up_is_left_to_the_peer() {
        let mut admission = Admission::new(&PublicKey::from_bytes([1; 32]));
        let mut allowed = |to_peer, millis: u64| {
            let now = Time::from_nanos(1_000_000_000 + millis * 1_000_000);
            (0..50).filter(|_| admission.allow_reply(to_peer, now)).count()
        };
        assert_eq!((allowed(false, 0), allowed(true, 0), allowed(false, 3)), (40, 40, 0));
        assert_eq!((allowed(false, 4), allowed(true, 5)), (40, 40));
    }
}
