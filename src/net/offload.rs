//! Which offloads are used: what is switched on, less what the system refuses.

use std::fmt;
use std::str::FromStr;

/// The offloads of a device and its sockets. Each can be switched off; each is switched off where it fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Offloads {
    /// The TUN device hands over and takes TCP super-packets.
    pub tun_tso: bool,
    /// The TUN device hands over and takes UDP super-packets (Linux 6.2).
    pub tun_uso: bool,
    /// A program says which queue of the TUN device a packet waits in, so that a flow keeps its order (Linux 4.16). Of use
    /// to several workers.
    pub tun_steering: bool,
    /// Trains of datagrams leave in one system call (`UDP_SEGMENT`).
    pub udp_gso: bool,
    /// Trains of datagrams arrive in one system call (`UDP_GRO`).
    pub udp_gro: bool,
    /// ChaCha20-Poly1305 works on many packets at once (AVX-512 with IFMA; short ones alone with AVX2), for all tunnels of
    /// the process.
    pub wide_cipher: bool,
    /// Frames of an encrypted link are sent past the queue of its device, by AF_XDP.
    pub link_xdp: bool,
}

impl Default for Offloads {
    fn default() -> Self {
        Self {
            tun_tso: true,
            tun_uso: true,
            tun_steering: true,
            udp_gso: true,
            udp_gro: true,
            wide_cipher: true,
            link_xdp: true,
        }
    }
}

impl Offloads {
    const NONE: Self = Self {
        tun_tso: false,
        tun_uso: false,
        tun_steering: false,
        udp_gso: false,
        udp_gro: false,
        wide_cipher: false,
        link_xdp: false,
    };

    /// The names of those that are on.
    pub fn names(mut self) -> impl Iterator<Item = &'static str> {
        self.fields().map(|(name, on)| on.then_some(name)).into_iter().flatten()
    }

    fn fields(&mut self) -> [(&'static str, &mut bool); 7] {
        [
            ("tun_tso", &mut self.tun_tso),
            ("tun_uso", &mut self.tun_uso),
            ("tun_steering", &mut self.tun_steering),
            ("udp_gso", &mut self.udp_gso),
            ("udp_gro", &mut self.udp_gro),
            ("wide_cipher", &mut self.wide_cipher),
            ("link_xdp", &mut self.link_xdp),
        ]
    }
}

/// Not a list of offloads.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "offload {found:?}: expected a comma-separated list of tun_tso, tun_uso, tun_steering, udp_gso, udp_gro, wide_cipher, link_xdp, or \"none\""
)]
pub struct UnknownOffload {
    found: String,
}

impl FromStr for Offloads {
    type Err = UnknownOffload;

    /// Reads the list of the offloads that may be used, as `tun_tso,udp_gso`; `none` for none.
    fn from_str(text: &str) -> Result<Self, UnknownOffload> {
        let mut offloads = Self::NONE;
        if text == "none" {
            return Ok(offloads);
        }
        for word in text.split(',').map(str::trim) {
            let unknown = || UnknownOffload { found: word.to_owned() };
            let (_, field) =
                offloads.fields().into_iter().find(|(name, _)| *name == word).ok_or_else(unknown)?;
            *field = true;
        }
        Ok(offloads)
    }
}

impl fmt::Display for Offloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on: Vec<_> = self.names().collect();
        f.write_str(if on.is_empty() { "none".to_owned() } else { on.join(",") }.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_back_as_it_is_shown() {
        let all = "tun_tso,tun_uso,tun_steering,udp_gso,udp_gro,wide_cipher,link_xdp";
        for text in [all, "tun_tso,udp_gro", "tun_steering,udp_gso", "none"] {
            assert_eq!(text.parse::<Offloads>().unwrap().to_string(), text);
        }
        assert_eq!(Offloads::default().to_string(), all);
    }

    #[test]
    fn an_unknown_word_is_named() {
        let error = "udp_gso,ufo".parse::<Offloads>().unwrap_err();
        assert!(error.to_string().contains("\"ufo\""), "{error}");
    }
}
