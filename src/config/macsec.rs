//! `[macsec.NAME]`: an encrypted Ethernet link.

mod address;
mod associations;
mod carrier;
mod keys;
mod read;
mod static_key;

use std::collections::BTreeMap;
use std::path::PathBuf;

use adit_macsec::{
    An, CipherSuite, Offset, Protection, Replay, Salt, Sci, SciEncoding, Settings, Ssci, ValidateFrames,
};
use adit_noise::{PresharedKey, PrivateKey, PublicKey};

use super::{EndpointName, Hooks};

pub use address::shown;
pub(super) use read::links;
pub use static_key::StaticKey;

/// `[macsec.NAME]`: frames of a TAP device, encrypted on their way to the other end.
#[derive(Debug, PartialEq)]
pub struct Macsec {
    /// `link` or `udp`: what carries the frames.
    pub carrier: Carrier,
    /// `tap`: the device that the hosts see; else the table's name.
    pub tap: String,
    /// `bridge`: the existing bridge that the device is made a port of.
    pub bridge: Option<String>,
    /// `mac` of the device and of our SCI: as the file says; over UDP with Noise else derived from our public key. `None`:
    /// that of the link. Never `None` over UDP.
    pub mac: Option<[u8; 6]>,
    /// `port` of our SCI.
    pub port: u16,
    /// `cipher`
    pub suite: CipherSuite,
    /// `integrity_only` or `confidentiality_offset`: what is done to frames that are sent.
    pub protection: Protection,
    /// `replay_window`; over UDP always the bitmap.
    pub replay: Replay,
    /// `validate`
    pub validate_frames: ValidateFrames,
    /// `sci`: how receivers learn whose a frame is.
    pub sci_encoding: SciEncoding,
    /// `clear_tags`: how many VLAN tags stay in clear ahead of the SecTAG.
    pub clear_tags: u8,
    /// `mtu` of the device in bytes; `None`: what the carrier leaves.
    pub mtu: Option<usize>,
    /// `keys`: where keys come from.
    pub keys: Keys,
    /// `key_log_file`: where keys are written, for who reads captures of the link.
    pub key_log_file: Option<PathBuf>,
    /// `[macsec.NAME.hooks]`; `%i` stands for the TAP device.
    pub hooks: Hooks,
}

/// What carries the frames of a link.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Carrier {
    /// `link`: an Ethernet link of this name, which carries nothing else.
    Link(String),
    /// `udp`: datagrams.
    Udp(Udp),
}

/// `udp`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Udp {
    /// `listen`: the port; 0 lets the system choose.
    pub listen: u16,
    /// `peer`: where the other end is reached at first. Without it the other end begins.
    pub peer: Option<EndpointName>,
    /// `fwmark` of what is sent; 0 for none.
    pub fwmark: u32,
}

/// Where keys come from.
#[derive(Debug, PartialEq)]
pub enum Keys {
    /// `"noise"`: agreed upon with another adit.
    Noise(Noise),
    /// `"static"`: from files.
    Static(Static),
}

/// What key agreement begins with.
#[derive(Debug, PartialEq)]
pub struct Noise {
    /// What `private_key_file` holds.
    pub private_key: PrivateKey,
    /// `peer_public_key`
    pub peer: PublicKey,
    /// What `preshared_key_file` holds; all zero if there is none.
    pub preshared_key: PresharedKey,
}

/// Keys that stay.
#[derive(Debug, PartialEq)]
pub struct Static {
    /// `an` of our transmit association.
    pub an: An,
    /// `[macsec.NAME.transmit]`: what it is sent under.
    pub transmit: Association,
    /// `[macsec.NAME.receive.CHANNEL]`, by the names that the file gives them. There is at least one.
    pub receive: BTreeMap<String, Channel>,
}

/// `[macsec.NAME.receive.CHANNEL]`: another station.
#[derive(Debug, PartialEq)]
pub struct Channel {
    /// `sci`
    pub sci: Sci,
    /// `sa.AN`. There is at least one.
    pub associations: BTreeMap<An, Association>,
}

/// The key of a secure association.
#[derive(Debug, PartialEq)]
pub struct Association {
    /// What `key_file` holds, as long as the suite wants it.
    pub key: StaticKey,
    /// `ssci` and `salt`: there for the suites with extended packet numbers, and for no other.
    pub xpn: Option<Xpn>,
}

/// What extended packet numbers need beside a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Xpn {
    /// `ssci` of the sender. Not 0.
    pub ssci: Ssci,
    /// `salt`
    pub salt: Salt,
}

/// In what a link is weaker than the default. The status tells each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Weakness {
    /// Keys are not forward secret: whoever finds one reads all that was ever sent under it.
    StaticKeys,
    /// Everything can be read on the way.
    IntegrityOnly,
    /// So many octets of each frame's data can be read on the way.
    Offset(Offset),
    /// So many VLAN tags can be read and changed on the way.
    ClearTags(u8),
    /// Frames that nobody vouches for are delivered: `validate` is `check` or `disabled`.
    Unvalidated(ValidateFrames),
    /// Within so many packet numbers a frame may be delivered twice.
    Window(u32),
    /// Keys are written to a file: whoever reads that reads the link.
    KeyLog,
}

impl Macsec {
    /// Our SCI on a link with this MAC address; over UDP there is no such address, nor need of one.
    ///
    /// `None` if none is known: the carrier is a link without a MAC address.
    pub fn sci(&self, link: Option<[u8; 6]>) -> Option<Sci> {
        self.mac.or(link).map(|mac| Sci::new(mac, self.port))
    }

    /// What the SecY is set to, with this SCI.
    pub fn settings(&self, sci: Sci) -> Settings {
        Settings {
            sci,
            sci_encoding: self.sci_encoding,
            validate_frames: self.validate_frames,
            replay: self.replay,
            clear_tags: self.clear_tags,
        }
    }

    /// In what it is weaker than the default.
    pub fn weaknesses(&self) -> Vec<Weakness> {
        let protection = match self.protection {
            Protection::IntegrityOnly => Some(Weakness::IntegrityOnly),
            Protection::Confidentiality(Offset::Zero) => None,
            Protection::Confidentiality(offset) => Some(Weakness::Offset(offset)),
        };
        let validate = self.validate_frames;
        let window = match self.replay {
            Replay::Window(0) | Replay::Bitmap => None,
            Replay::Window(frames) => Some(Weakness::Window(frames)),
            Replay::Off => Some(Weakness::Window(u32::MAX)),
        };
        let found = [
            matches!(self.keys, Keys::Static(_)).then_some(Weakness::StaticKeys),
            protection,
            (validate != ValidateFrames::Strict).then_some(Weakness::Unvalidated(validate)),
            (self.clear_tags > 0).then_some(Weakness::ClearTags(self.clear_tags)),
            window,
            self.key_log_file.is_some().then_some(Weakness::KeyLog),
        ];
        found.into_iter().flatten().collect()
    }
}
