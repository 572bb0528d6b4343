//! The control half: which channels and keys there are (IEEE 802.1AE-2018, clauses 10.1 and 10.7).

use std::sync::Arc;

use crate::sectag::Tci;
use crate::{
    An, ControlledPort, KeyId, ReceiveKey, ReceiveSa, ReceiveSc, Replay, Sak, Sci, Ssci, TransmitKey,
    TransmitSa,
};

/// What becomes of received frames that are not authentic (clause 10.7, validateFrames). Encrypted ones are always dropped:
/// they cannot be read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ValidateFrames {
    /// They are dropped, and so are frames without a SecTAG.
    #[default]
    Strict,
    /// They are counted and delivered.
    Check,
    /// Nobody looks: all are delivered.
    Disabled,
}

/// How receivers learn whose a frame is (clauses 9.5 and 10.5.3).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SciEncoding {
    /// Each SecTAG has the SCI (alwaysIncludeSCI).
    #[default]
    Included,
    /// It is the source address and port 1 (useES). Only frames with the channel's own address can be sent.
    EndStation,
    /// It is the source address and port 0 (useSCB). Only frames with the channel's own address can be sent.
    Broadcast,
    /// There are two stations, and the other knows ours.
    PointToPoint,
}

impl SciEncoding {
    pub(crate) const fn bits(self) -> u8 {
        match self {
            Self::Included => Tci::SC,
            Self::EndStation => Tci::ES,
            Self::Broadcast => Tci::SCB,
            Self::PointToPoint => 0,
        }
    }
}

/// What a SecY does that keys do not change.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our transmit channel.
    pub sci: Sci,
    /// How receivers learn of it.
    pub sci_encoding: SciEncoding,
    /// What becomes of frames that are not authentic.
    pub validate_frames: ValidateFrames,
    /// Which packet numbers are accepted.
    pub replay: Replay,
    /// How many VLAN tags at the beginning of a frame, of those that it has, stay ahead of the SecTAG: readable, and not
    /// protected in any way.
    pub clear_tags: u8,
}

impl Settings {
    /// The strictest: every frame must be authentic and in order, nothing stays in clear.
    #[must_use]
    pub fn new(sci: Sci) -> Self {
        Self {
            sci,
            sci_encoding: SciEncoding::Included,
            validate_frames: ValidateFrames::Strict,
            replay: Replay::Window(0),
            clear_tags: 0,
        }
    }
}

/// Why a SecY did not take a setting, a channel or a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The source address and the port of the encoding name another channel than ours.
    #[error("port {found} of our SCI, which receivers take for port {expected}")]
    Port {
        /// The port of our SCI.
        found: u16,
        /// The only one that the encoding can express.
        expected: u16,
    },
    /// The other station's SCI is ours. Under one key two stations with one SCI would use nonces twice.
    #[error("the other station has our SCI {0}")]
    OwnSci(Sci),
    /// There is a channel of this SCI.
    #[error("there is a receive channel {0} already")]
    ChannelExists(Sci),
    /// There is none.
    #[error("there is no receive channel {0}")]
    NoChannel(Sci),
    /// The key is in use there: its packet numbers, or those it has seen, would begin anew.
    #[error("the key is installed already")]
    KeyInUse,
    /// No association has the key.
    #[error("no transmit association has this key")]
    UnknownKey,
    /// The association is the one that frames are sent under.
    #[error("association {0} is being sent under")]
    AnInUse(An),
    /// Extended packet numbers need a short SCI.
    #[error("extended packet numbers need an SSCI")]
    NoSsci,
    /// Another channel has this short SCI under the same key: nonces would be used twice.
    #[error("the SSCI {:#x} belongs to another channel under this key", .0.0)]
    SsciInUse(Ssci),
    /// The replay window is wider than can be with extended packet numbers.
    #[error("a replay window of {found} with extended packet numbers: at most {}", Replay::XPN_MAX)]
    Window {
        /// The window that was set.
        found: u32,
    },
}

/// A MAC Security Entity: a transmit channel with up to four associations, of which one is sent under, and receive channels
/// with up to four each.
///
/// Whoever owns it brings keys, in the order of clause 10.7: receive first, send when the others can receive. After each
/// change [`port`](Self::port) is what the workers are to have.
#[derive(Debug)]
pub struct SecY {
    transmit: [Option<Arc<TransmitSa>>; 4],
    port: Arc<ControlledPort>,
}

impl SecY {
    /// A SecY without keys: it sends nothing, and receives what its settings let pass.
    ///
    /// # Errors
    /// [`Error::Port`] if the SCI cannot be encoded as wanted.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let expected = match settings.sci_encoding {
            SciEncoding::Included | SciEncoding::PointToPoint => settings.sci.port(),
            SciEncoding::EndStation => Sci::END_STATION_PORT,
            SciEncoding::Broadcast => Sci::BROADCAST_PORT,
        };
        if settings.sci.port() != expected {
            return Err(Error::Port { found: settings.sci.port(), expected });
        }
        Ok(Self { transmit: Default::default(), port: Arc::new(ControlledPort::new(settings)) })
    }

    /// What the workers are to have now.
    #[must_use]
    pub fn port(&self) -> &Arc<ControlledPort> {
        &self.port
    }

    /// The transmit associations that have a key.
    pub fn transmit(&self) -> impl Iterator<Item = &Arc<TransmitSa>> {
        self.transmit.iter().flatten()
    }

    /// Receives from another station (createReceiveSC).
    ///
    /// # Errors
    /// [`Error::OwnSci`], [`Error::ChannelExists`].
    pub fn add_channel(&mut self, sci: Sci) -> Result<(), Error> {
        if sci == self.port.settings.sci {
            return Err(Error::OwnSci(sci));
        }
        match self.port.receive.binary_search_by_key(&sci, ReceiveSc::sci) {
            Ok(_) => Err(Error::ChannelExists(sci)),
            Err(at) => {
                self.change().receive.insert(at, ReceiveSc::new(sci));
                Ok(())
            }
        }
    }

    /// Receives from it no more. True if there was such a channel.
    pub fn remove_channel(&mut self, sci: Sci) -> bool {
        let Some((at, _)) = self.port.channel(sci) else { return false };
        self.change().receive.remove(at);
        true
    }

    /// Receives with a key (createReceiveSA, enableReceive). The association that had the number before is given up: it is
    /// returned.
    ///
    /// # Errors
    /// [`Error::NoChannel`], [`Error::KeyInUse`], [`Error::NoSsci`], [`Error::SsciInUse`], [`Error::Window`].
    pub fn install_receive(
        &mut self,
        sci: Sci,
        an: An,
        key: ReceiveKey,
    ) -> Result<Option<Arc<ReceiveSa>>, Error> {
        let replay = self.port.settings.replay;
        let (at, channel) = self.port.channel(sci).ok_or(Error::NoChannel(sci))?;
        if channel.associations().any(|sa| sa.sak().id() == key.sak.id()) {
            return Err(Error::KeyInUse);
        }
        if let Replay::Window(found) = replay
            && found > Replay::XPN_MAX
            && key.sak.suite().is_xpn()
        {
            return Err(Error::Window { found });
        }
        self.check_ssci(&key.sak, key.ssci)?;
        let sa = ReceiveSa::new(an, sci, key, replay).ok_or(Error::NoSsci)?;
        Ok(self.change().receive.get_mut(at).and_then(|channel| channel.install(Arc::new(sa))))
    }

    /// Has a key ready to send with (createTransmitSA). The association that had the number before is given up: it is
    /// returned.
    ///
    /// A key that was retired is forgotten. It must not come back, unless `next_pn` is beyond all that were used: nonces would
    /// be used twice.
    ///
    /// # Errors
    /// [`Error::KeyInUse`], [`Error::AnInUse`], [`Error::NoSsci`], [`Error::SsciInUse`].
    pub fn install_transmit(&mut self, an: An, key: TransmitKey) -> Result<Option<Arc<TransmitSa>>, Error> {
        if self.transmit().any(|sa| sa.sak().id() == key.sak.id()) {
            return Err(Error::KeyInUse);
        }
        if self.port.transmit().is_some_and(|sa| sa.an() == an) {
            return Err(Error::AnInUse(an));
        }
        self.check_ssci(&key.sak, key.ssci)?;
        let sa = TransmitSa::new(an, self.port.settings.sci, key).ok_or(Error::NoSsci)?;
        Ok(self.transmit.get_mut(an.index()).and_then(|place| place.replace(Arc::new(sa))))
    }

    /// Sends with this key from now on (encodingSA, enableTransmit).
    ///
    /// # Errors
    /// [`Error::UnknownKey`].
    pub fn transmit_with(&mut self, id: KeyId) -> Result<(), Error> {
        let sa = self.transmit().find(|sa| sa.sak().id() == id).cloned().ok_or(Error::UnknownKey)?;
        self.change().transmit = Some(sa);
        Ok(())
    }

    /// Sends nothing until the next [`Self::transmit_with`].
    pub fn stop_transmitting(&mut self) {
        self.change().transmit = None;
    }

    /// Gives up every association with this key, whatever number it has by now: how many there were.
    pub fn retire(&mut self, id: KeyId) -> usize {
        let sending = self.transmit.iter_mut();
        let mut retired = sending.filter_map(|place| place.take_if(|sa| sa.sak().id() == id)).count();
        let port = self.change();
        port.transmit.take_if(|sa| sa.sak().id() == id);
        retired += port.receive.iter_mut().map(|channel| channel.retire(id)).sum::<usize>();
        retired
    }

    /// Two channels under one key must not share a short SCI: they would share nonces.
    fn check_ssci(&self, sak: &Sak, ssci: Option<Ssci>) -> Result<(), Error> {
        let Some(ssci) = ssci.filter(|_| sak.suite().is_xpn()) else { return Ok(()) };
        let receive = self.port.receive.iter().flat_map(ReceiveSc::associations);
        let receive = receive.map(|sa| (sa.sak().id(), sa.ssci()));
        let transmit = self.transmit().map(|sa| (sa.sak().id(), sa.ssci()));
        if receive.chain(transmit).any(|taken| taken == (sak.id(), Some(ssci))) {
            return Err(Error::SsciInUse(ssci));
        }
        Ok(())
    }

    /// The port, to be changed; the workers go on with the one that they have.
    fn change(&mut self) -> &mut ControlledPort {
        Arc::make_mut(&mut self.port)
    }
}
