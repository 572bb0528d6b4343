//! One WireGuard interface from its name to its end: TUN device, workers, control thread, UAPI socket.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;

use adit_wireguard::Cipher;
use anyhow::{Context as _, Result};

use super::device::Shared;
use super::uapi::Uapi;
use super::{Command, Device, Remote};
use crate::control::ended::{Ended, Farewell};
use crate::control::monitor;
use crate::datapath::wireguard::Table;
use crate::datapath::{Setting, Tracer, Worker};
use crate::net::link::{self, Settings};
use crate::net::offload::Offloads;
use crate::net::tun::{Tun, TunQueue};
use crate::net::udp;

/// The MTU of an interface that nobody has set one for: what fits 1,500 bytes with IPv6 outside, as everywhere in WireGuard.
pub const MTU: usize = 1_420;
/// Packets or super-packets that wait in a queue of the device at most; the kernel's own default. Small packets come in
/// bursts and need as much; that many super-packets would be 24 ms at 10 Gbit/s, but a TCP sender's window ends sooner.
const QUEUE_LEN: usize = 500;

/// How an interface is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name.
    pub name: String,
    /// Workers, each with a queue of the device and a socket, and a thread for each direction.
    pub workers: usize,
    /// Offloads that may be used.
    pub offloads: Offloads,
    /// Whether each of their threads is kept on one processor.
    pub pin: bool,
    /// The MTU in bytes.
    pub mtu: usize,
    /// What it is secured with, until somebody changes it.
    pub cipher: Cipher,
}

/// A running interface.
pub struct Interface {
    shared: Shared,
    ended: mpsc::Receiver<Ended>,
    end: mpsc::Sender<Ended>,
    control: Option<thread::JoinHandle<()>>,
    uapi: Arc<Uapi>,
    index: u32,
}

impl Interface {
    /// Makes the device and its socket and starts the threads. When this returns, `wg` can be used.
    ///
    /// # Errors
    /// What failed, in words.
    pub fn start(options: &Options) -> Result<Self> {
        let name = &options.name;
        if cfg!(feature = "null") {
            tracing::error!("{name}: this program was built for measurements and DOES NOT ENCRYPT");
        }
        let uapi =
            Arc::new(Uapi::bind(name).with_context(|| format!("cannot make the UAPI socket of {name}"))?);
        adit_aead::use_wide(options.offloads.wide_cipher);
        let wide_cipher = adit_aead::has_wide();
        let wanted = Offloads { wide_cipher, link_xdp: false, ..udp::self_test(&options.offloads) };
        let tun = Tun::create(name, options.workers, &wanted);
        let tun =
            tun.with_context(|| format!("cannot make the TUN device {name} (it may exist; root is needed)"))?;
        let offloads = tun.offloads;
        let mut asked = options.offloads;
        asked.tun_steering &= options.workers > 1;
        asked.link_xdp = false;
        if offloads != asked {
            tracing::info!("{name}: offloads {offloads}; the system refuses the others of {asked}");
        }
        let shared = Shared { mtu: Arc::new(options.mtu.into()), ..Shared::default() };
        let (end, ended) = mpsc::channel();
        let farewell = Farewell::new(&end, Ended::DeviceGone);
        let handle = tun.queues.first().map(TunQueue::handle).context("a TUN device without a queue")??;
        let handle = Arc::new(handle);
        let inbox = Arc::downgrade(&shared.inbox);
        let link = monitor::start(&handle, farewell, move |event| {
            let inbox = inbox.upgrade();
            inbox.inspect(|inbox| inbox.command(Command::Network(event))).is_some()
        });
        let link = link.context("cannot follow the state of links")?;
        let settings = Settings { mtu: Some(options.mtu), queue_len: Some(QUEUE_LEN), ..Settings::default() };
        link::set(link.index, &settings).context("cannot set MTU and queue of the TUN device")?;

        let Shared { inbox, mtu, tracer, .. } = shared.clone();
        let setting = Setting { offloads, pin: options.pin, inbox, mtu, tracer };
        let queues = tun.queues.into_iter().enumerate();
        let workers =
            queues.map(|(at, queue)| Worker::start(at, queue, [(); 2].map(|()| Table::default()), &setting));
        let workers = workers.collect::<Result<_, _>>().context("cannot start a worker")?;

        let device = Device::new(name.clone(), handle, shared.clone(), options.cipher, offloads, workers);
        let control = {
            let farewell = Farewell::new(&end, Ended::DeviceGone);
            let run = move || {
                let _farewell = farewell;
                device.run();
            };
            thread::Builder::new()
                .name("control".into())
                .spawn(run)
                .context("cannot start the control thread")?
        };
        // What fails from here on ends the control thread too.
        let interface = Self { shared, ended, end, control: Some(control), uapi, index: link.index };
        interface.serve()?;
        Ok(interface)
    }

    fn serve(&self) -> Result<()> {
        let (uapi, inbox) = (self.uapi.clone(), self.shared.inbox.clone());
        let farewell = Farewell::new(&self.end, Ended::SocketGone);
        let run = move || {
            let _farewell = farewell;
            uapi.serve(&inbox);
        };
        let listener = thread::Builder::new().name("uapi-listener".into());
        listener.spawn(run).context("cannot serve the UAPI socket")?;
        Ok(())
    }

    /// Waits for the end.
    #[must_use]
    pub fn wait(&self) -> Ended {
        self.ended.recv().unwrap_or(Ended::Asked)
    }

    /// Why it ended, if it did.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        Ended::told(&self.ended)
    }

    /// The number of its link.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// How often it was set up.
    #[must_use]
    pub fn rises(&self) -> u32 {
        self.shared.rises.load(Ordering::Relaxed)
    }

    /// Its dropped packets, to be watched.
    #[must_use]
    pub fn tracer(&self) -> Arc<Tracer> {
        self.shared.tracer.clone()
    }

    /// A handle for other threads.
    #[must_use]
    pub fn remote(&self) -> Remote {
        Remote { inbox: self.shared.inbox.clone(), end: self.end.clone() }
    }
}

impl Drop for Interface {
    fn drop(&mut self) {
        self.uapi.remove();
        self.shared.inbox.command(Command::Stop);
        if let Some(Err(_)) = self.control.take().map(thread::JoinHandle::join) {
            tracing::error!("the control thread panicked");
        }
    }
}
