//! One UDP socket of the library, waited for.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, SystemTime};

use adit::net::offload::Offloads;
use adit::net::udp::{self, Received, TRAIN_MAX, TRAIN_SEGMENTS, UdpSocket};
use adit_packet::Ecn;
use adit_wireguard::Udp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A socket with what it can do.
#[derive(Debug)]
pub struct Port {
    socket: UdpSocket,
    ecn: Ecn,
}

impl Port {
    /// Binds `port`, or a free one if it is 0. Trains are used if `trains` and the kernel agree.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn bind(port: u16, trains: bool) -> io::Result<Self> {
        let offloads = udp::self_test(&Offloads { udp_gso: trains, ..Offloads::default() });
        let socket = UdpSocket::bind(port, 1, 0, &offloads)?.pop();
        Ok(Self { socket: socket.ok_or_else(|| io::Error::other("no socket was bound"))?, ecn: Ecn::NotEct })
    }

    /// The same, with a congestion mark on all that it sends.
    #[must_use]
    pub fn marked(self, ecn: Ecn) -> Self {
        Self { ecn, ..self }
    }

    /// The local port.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.socket.port()
    }

    /// How many datagrams of `size` bytes may go in one call.
    pub(crate) fn train(&self, size: usize) -> usize {
        if self.socket.sends_trains() { (TRAIN_MAX / size).clamp(1, TRAIN_SEGMENTS) } else { 1 }
    }

    /// Sends datagrams of `size` bytes, waiting while the socket's buffer is full. What the system drops on the way out for
    /// want of room is as lost as what it drops later.
    pub(crate) fn send(&self, path: &Udp, bytes: &[u8], size: usize) -> io::Result<()> {
        loop {
            match self.socket.send(path, bytes, size, self.ecn) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(PollFlags::OUT, Duration::from_millis(100))?;
                }
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) => {
                    return Ok(());
                }
                done => return done,
            }
        }
    }

    /// Sends to an address by any path.
    pub(crate) fn send_to(&self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        self.send(&Udp { remote: to, local: None }, bytes, bytes.len())
    }

    /// What came in, or `None` if nothing waits. `buffer` should have room for 64 KiB.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        match self.socket.receive(buffer) {
            Ok(received) => Ok(Some(received)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits until something came in; false if nothing did in this time.
    pub(crate) fn wait_input(&self, limit: Duration) -> io::Result<bool> {
        self.wait(PollFlags::IN, limit)
    }

    fn wait(&self, flags: PollFlags, limit: Duration) -> io::Result<bool> {
        let fd = self.socket.as_fd();
        let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: i64::from(limit.subsec_nanos()) };
        match poll(&mut [PollFd::new(&fd, flags)], Some(&limit)) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// A number for a run, greater than those of all runs before it on this machine.
pub(crate) fn new_run() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}
