//! One encrypted link from its name to its end: TAP device, worker, control thread, sockets.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread;

use adit_macsec::SecY;
use adit_wireguard::{Published, Udp};
use anyhow::{Context as _, Result};

use super::carrier::Carrier;
use super::key_log::{Entry, KeyLog};
use super::keys::Keys;
use super::station::{Command, Shared, Station};
use super::{Remote, lower};
use crate::clock;
use crate::config::EndpointName;
use crate::config::macsec::{self as config, Macsec};
use crate::control::ended::{Ended, Farewell};
use crate::control::load::Load;
use crate::control::monitor;
use crate::datapath::macsec::Port;
use crate::datapath::{Setting, Tally, Tracer, Worker};
use crate::net::link::{self, Link, Settings};
use crate::net::offload::Offloads;
use crate::net::tap::Tap;
use crate::net::tun::TunQueue;
use crate::net::udp;

/// Packets or super-packets that wait in the queue of the device at most, as for tunnels.
const QUEUE_LEN: usize = 500;

/// What a link needs of the gateway.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// The folder for what must outlive the daemon.
    pub state: &'a Path,
    /// Offloads that may be used.
    pub offloads: Offloads,
    /// Whether each thread is kept on one processor.
    pub pin: bool,
}

/// A running link.
#[derive(Debug)]
pub struct Encryptor {
    shared: Shared,
    ended: mpsc::Receiver<Ended>,
    control: Option<thread::JoinHandle<()>>,
    index: u32,
}

impl Encryptor {
    /// Makes the TAP device, which is down, and starts the threads. Of a link that carries frames the guard has to be laid
    /// before.
    ///
    /// # Errors
    /// What failed, in words.
    pub fn start(name: &str, config: &Macsec, setup: &Setup<'_>) -> Result<Self> {
        if cfg!(feature = "null") {
            tracing::error!("{name}: this program was built for measurements and DOES NOT ENCRYPT");
        }
        let shared = Shared::default();
        let lower = Self::follow_lower(config, &shared)?;
        let sci = config
            .sci(lower.and_then(|link| link.mac))
            .context("its link has no MAC address: `mac` is needed")?;
        let mut secy = SecY::new(config.settings(sci))?;
        let state = setup.state.join("packet-numbers");
        let keys = Keys::new(config, sci, &mut secy, &state, clock::both())?;
        let mut key_log = match &config.key_log_file {
            Some(path) => {
                Some(KeyLog::open(path, name).with_context(|| format!("key_log_file {}", path.display()))?)
            }
            None => None,
        };
        if let Some(log) = &mut key_log {
            log.write(&Entry::all(&secy));
        }

        let offloads = udp::self_test(&setup.offloads);
        let (carrier, remote) = match &config.carrier {
            config::Carrier::Udp(udp) => {
                let peer = udp.peer.as_ref().and_then(|peer| match peer {
                    EndpointName::Address(remote) => Some(Udp { remote: *remote, local: None }),
                    EndpointName::Dns { .. } => None,
                });
                let remote = Arc::new(Published::new(peer));
                let carrier = Carrier::over_udp(udp, remote.clone(), &offloads);
                (carrier.with_context(|| format!("port {}", udp.listen))?, Some(remote))
            }
            config::Carrier::Link(link) => {
                let lower = lower.context("no link")?;
                (
                    Carrier::over_link(link, lower, sci.address(), config.clear_tags > 0, offloads.link_xdp),
                    None,
                )
            }
        };

        let tap = Tap::create(&config.tap, 1, &offloads);
        let tap = tap.with_context(|| {
            format!("cannot make the TAP device {} (it may exist; CAP_NET_ADMIN is needed)", config.tap)
        })?;
        let offloads = tap.offloads;
        let queue = tap.queues.into_iter().next().context("a TAP device without a queue")?;
        let (end, ended) = mpsc::channel();
        let handle = Arc::new(queue.handle()?);
        let inbox = Arc::downgrade(&shared.inbox);
        let device = monitor::start(&handle, Farewell::new(&end, Ended::DeviceGone), move |event| {
            let inbox = inbox.upgrade();
            inbox.inspect(|inbox| inbox.command(Command::Network(event))).is_some()
        });
        let device = device.context("cannot follow the state of links")?;
        let mtu = config.mtu.unwrap_or_else(|| carrier.inner_mtu(secy.port().overhead()));
        let (mac, queue_len) = (Some(sci.address()), Some(QUEUE_LEN));
        link::set(device.index, &Settings { mtu: Some(mtu), mac, queue_len, ..Settings::default() })
            .with_context(|| {
                format!("cannot set the MTU ({mtu}), the MAC address and the queue of the TAP device")
            })?;
        shared.mtu.store(mtu, Ordering::Relaxed);

        let port = || Port::new(secy.port().clone(), remote.clone(), carrier.longest());
        let worker = Self::start_worker(queue, [port(), port()], &shared, setup, offloads)?;
        let born =
            secy.port().receive().iter().flat_map(|channel| channel.associations().map(|sa| sa.sak().id()));
        let born: HashMap<_, _> =
            born.chain(secy.transmit().map(|sa| sa.sak().id())).map(|id| (id, clock::now())).collect();
        let station = Station {
            name: name.to_owned(),
            tap: handle,
            device: Link { mtu, ..device },
            tally: Arc::new(Tally::new(shared.tracer.clone())),
            shared: shared.clone(),
            secy,
            suite: config.suite,
            protection: config.protection,
            keys,
            carrier,
            mtu: config.mtu,
            offloads,
            worker,
            born,
            load: Load::default(),
            key_log,
        };
        let farewell = Farewell::new(&end, Ended::DeviceGone);
        let control = thread::Builder::new().name("control".into()).spawn(move || {
            let _farewell = farewell;
            station.run();
        });
        let control = Some(control.context("cannot start the control thread")?);
        Ok(Self { shared, ended, control, index: device.index })
    }

    fn follow_lower(config: &Macsec, shared: &Shared) -> Result<Option<Link>> {
        let config::Carrier::Link(name) = &config.carrier else { return Ok(None) };
        let inbox = Arc::downgrade(&shared.inbox);
        let link = lower::start(name, move |link| {
            let inbox = inbox.upgrade();
            inbox.inspect(|inbox| inbox.command(Command::Lower(link))).is_some()
        });
        link.map(Some).with_context(|| format!("link {name}"))
    }

    fn start_worker(
        queue: TunQueue,
        ports: [Port; 2],
        shared: &Shared,
        setup: &Setup<'_>,
        offloads: Offloads,
    ) -> Result<Worker<Port>> {
        let Shared { inbox, mtu, tracer, .. } = shared.clone();
        let setting = Setting { offloads, pin: setup.pin, inbox, mtu, tracer };
        Worker::start(0, queue, ports, &setting).context("cannot start a worker")
    }

    /// Why it ended, if it did.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        Ended::told(&self.ended)
    }

    /// The number of its TAP device.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Its dropped packets, to be watched.
    #[must_use]
    pub fn tracer(&self) -> Arc<Tracer> {
        self.shared.tracer.clone()
    }

    /// A handle for other threads.
    #[must_use]
    pub fn remote(&self) -> Remote {
        Remote { inbox: self.shared.inbox.clone() }
    }
}

impl Drop for Encryptor {
    fn drop(&mut self) {
        self.shared.inbox.command(Command::Stop);
        if let Some(Err(_)) = self.control.take().map(thread::JoinHandle::join) {
            tracing::error!("the control thread panicked");
        }
    }
}
