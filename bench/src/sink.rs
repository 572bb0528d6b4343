//! Counts what arrives, answers pings.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use adit_wireguard::Udp;

use crate::message::{Kind, Message, REPORT};
use crate::port::Port;
use crate::tally::Tally;

/// Serves for ever on `address`; calls `ready` when it listens. Datagrams to another address of this machine are not answered.
///
/// # Errors
/// What the kernel says.
pub fn sink(address: SocketAddr, ready: impl FnOnce(u16)) -> io::Result<()> {
    let port = Port::bind(address.port(), true)?;
    ready(port.number());
    let mut buffer = vec![0; 1 << 16];
    let mut tally = Tally::default();
    loop {
        port.wait_input(Duration::from_secs(1))?;
        while let Some(received) = receive(&port, &mut buffer)? {
            let local = received.path.local.map(|local| local.address);
            if !address.ip().is_unspecified() && local != Some(address.ip()) {
                continue;
            }
            let now = Instant::now();
            let train = &mut buffer[..received.len];
            let in_train = received.stride < received.len;
            for datagram in train.chunks_mut(received.stride.max(1)) {
                handle(&port, &received.path, datagram, &mut tally, in_train, now)?;
            }
        }
    }
}

/// An ICMP error says that somebody who asked is gone: that is no error of the sink.
fn receive(port: &Port, buffer: &mut [u8]) -> io::Result<Option<adit::net::udp::Received>> {
    match port.receive(buffer) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(None),
        other => other,
    }
}

fn handle(
    port: &Port,
    path: &Udp,
    datagram: &mut [u8],
    tally: &mut Tally,
    in_train: bool,
    now: Instant,
) -> io::Result<()> {
    let Some(message) = Message::parse(datagram) else { return Ok(()) };
    if matches!(message.kind, Kind::Data | Kind::Query) && message.run > tally.run {
        *tally = Tally::new(message.run);
    }
    match message.kind {
        Kind::Data if message.run == tally.run => tally.note(message.number, in_train, now),
        Kind::Query if message.run == tally.run => {
            let mut report = [0; REPORT];
            Message { kind: Kind::Report, ..message }.emit(&mut report);
            tally.counts.emit(&mut report);
            answer(port, path, &report)?;
        }
        Kind::Ping => {
            Message { kind: Kind::Pong, ..message }.emit(datagram);
            answer(port, path, datagram)?;
        }
        // Stragglers of a run that is over; answers, which nobody sends to a sink.
        Kind::Data | Kind::Query | Kind::Report | Kind::Pong => {}
    }
    Ok(())
}

/// An answer that cannot be sent is one more that is lost.
fn answer(port: &Port, path: &Udp, datagram: &[u8]) -> io::Result<()> {
    match port.send(path, datagram, datagram.len()) {
        Err(error) if error.raw_os_error().is_some() => Ok(()),
        other => other,
    }
}
