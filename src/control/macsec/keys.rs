//! Where a link's keys come from.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adit_macsec::agreement::{Agreement, Config as Agreed};
use adit_macsec::{An, KeyId, ReceiveKey, Sak, Sci, SecY, TransmitKey, TransmitSa};
use adit_noise::{Now, Time};
use anyhow::{Context, Result};

use super::marks::{BLOCK, Mark};
use super::received::Received;
use crate::config::macsec::{Association, Keys as Configured, Macsec, Noise, Static};

/// How often is written down how far receive associations have come.
const NOTED_EACH: Duration = Duration::from_secs(1);

/// Where keys come from.
#[derive(Debug)]
pub(super) enum Keys {
    /// Agreed upon with the other end.
    Agreed {
        agreement: Box<Agreement>,
        /// Ours, as the status has it.
        public: String,
        /// That of the other end.
        peer: String,
        preshared: bool,
    },
    /// From files.
    Static(Fixed),
}

/// Keys that stay.
#[derive(Debug)]
pub(super) struct Fixed {
    transmit: Arc<TransmitSa>,
    mark: Mark,
    /// Packet numbers from here on wait until the mark was raised.
    bound: u64,
    /// The mark could not be raised: told once.
    failed: bool,
    received: Vec<Received>,
    /// When it was noted last how far they have come.
    noted: Option<Time>,
    /// It could not be noted: told once.
    unnoted: bool,
    /// Receive channels by their identifiers, as the file names them.
    pub(super) names: HashMap<Sci, String>,
}

impl Keys {
    /// Prepares them. Static ones are installed at once. `state` is the folder for what must outlive the daemon.
    ///
    /// # Errors
    /// What cannot be, in words.
    pub(super) fn new(config: &Macsec, sci: Sci, secy: &mut SecY, state: &Path, now: Now) -> Result<Self> {
        match &config.keys {
            Configured::Noise(noise) => Self::agreed(config, noise, sci, now),
            Configured::Static(fixed) => Fixed::install(config, fixed, sci, secy, state).map(Self::Static),
        }
    }

    fn agreed(config: &Macsec, noise: &Noise, sci: Sci, now: Now) -> Result<Self> {
        let agreed = Agreed {
            private: noise.private_key.clone(),
            remote: noise.peer,
            preshared: noise.preshared_key.clone(),
            sci,
            suite: config.suite,
            protection: config.protection,
            disclosed: config.key_log_file.is_some(),
        };
        Ok(Self::Agreed {
            agreement: Box::new(Agreement::new(agreed, now)?),
            public: noise.private_key.public().to_base64(),
            peer: noise.peer.to_base64(),
            preshared: !noise.preshared_key.is_none(),
        })
    }
}

impl Fixed {
    fn install(config: &Macsec, fixed: &Static, sci: Sci, secy: &mut SecY, state: &Path) -> Result<Self> {
        let (mut names, mut received) = (HashMap::new(), Vec::new());
        for (name, channel) in &fixed.receive {
            secy.add_channel(channel.sci).with_context(|| format!("receive.{name}"))?;
            names.insert(channel.sci, name.clone());
            for (an, association) in &channel.associations {
                let name = file_name(association, channel.sci);
                let mark = Received::read(state, &name)
                    .with_context(|| format!("{}.received", state.join(&name).display()))?;
                let key = ReceiveKey {
                    sak: sak(config, association)?,
                    ssci: association.xpn.map(|xpn| xpn.ssci),
                    lowest_pn: mark.value(),
                };
                received.push((channel.sci, *an, mark));
                secy.install_receive(channel.sci, *an, key)
                    .with_context(|| format!("receive.{name}.sa.{an}"))?;
            }
        }
        let name = file_name(&fixed.transmit, sci);
        let mark = Mark::read(state, &name).with_context(|| format!("{}", state.join(&name).display()))?;
        let bound = mark.value();
        let transmit =
            Self::send_with(fixed.an, sak(config, &fixed.transmit)?, &fixed.transmit, bound, secy)?;
        let follow = |(sci, an, mark)| {
            let channel = secy.port().receive().iter().find(|channel| channel.sci() == sci)?;
            Some(Received::new(mark, channel.association(an)?.clone()))
        };
        let received = received.into_iter().filter_map(follow).collect();
        let (noted, unnoted) = (None, false);
        let mut keys = Self { transmit, mark, bound, failed: false, received, noted, unnoted, names };
        keys.raise().with_context(|| format!("{}", keys.mark.path().display()))?;
        Ok(keys)
    }

    fn send_with(
        an: An,
        sak: Arc<Sak>,
        key: &Association,
        from: u64,
        secy: &mut SecY,
    ) -> Result<Arc<TransmitSa>> {
        let id = sak.id();
        let key = TransmitKey { sak, ssci: key.xpn.map(|xpn| xpn.ssci), next_pn: from, bound: from };
        secy.install_transmit(an, key).context("transmit.sa")?;
        secy.transmit_with(id).context("transmit.sa")?;
        secy.port().transmit().cloned().context("transmit.sa: nothing to send with")
    }

    /// Raises the mark if less than half a block of packet numbers is left below it.
    ///
    /// # Errors
    /// What the system says: then no more numbers can be used than the mark allows.
    pub(super) fn raise(&mut self) -> io::Result<()> {
        if self.transmit.is_exhausted() || self.transmit.next_pn() + BLOCK / 2 < self.bound {
            return Ok(());
        }
        let bound = self.transmit.next_pn().saturating_add(BLOCK);
        self.mark.raise(bound)?;
        self.bound = bound;
        self.transmit.allow_below(bound);
        Ok(())
    }

    /// The same, and notes now and then what was received. A failure is in the log, once until it passes.
    pub(super) fn look(&mut self, name: &str, now: Time) {
        if self.noted.is_none_or(|noted| now.since(noted) >= NOTED_EACH) {
            self.noted = Some(now);
            self.note(name);
        }

        match self.raise() {
            Ok(()) => self.failed = false,
            Err(error) if !std::mem::replace(&mut self.failed, true) => {
                let path = self.mark.path().display();
                tracing::error!("{name}: {path}: {error}; no more frames are sent than it allows");
            }
            Err(_) => {}
        }
    }

    fn note(&mut self, name: &str) {
        let mut failed = false;
        for received in &mut self.received {
            if let Err(error) = received.note() {
                failed = true;
                if !self.unnoted {
                    let path = received.path().display();
                    tracing::error!(
                        "{name}: {path}: {error}; what comes is taken once more after the next start"
                    );
                }
            }
        }
        self.unnoted = failed;
    }
}

fn sak(config: &Macsec, association: &Association) -> Result<Arc<Sak>> {
    let (key, salt) = (&association.key, association.xpn.map(|xpn| xpn.salt));
    let new = if config.key_log_file.is_some() { Sak::new_disclosed } else { Sak::new };
    let sak = new(key.id(), config.suite, config.protection, key.as_bytes(), salt.as_ref())?;
    Ok(Arc::new(sak))
}

/// Where the mark is kept: by what makes a nonce, which is the key with the SCI, or with the SSCI.
fn file_name(association: &Association, sci: Sci) -> String {
    let key = hex(association.key.id());
    association.xpn.map_or_else(|| format!("{key}-{sci}"), |xpn| format!("{key}-{:08x}", xpn.ssci.0))
}

/// A key's name in hexadecimal digits.
pub(super) fn hex(id: KeyId) -> String {
    base16ct::lower::encode_string(&id.0)
}
