//! One request to the kernel and what comes back: to rtnetlink for links, addresses, routes and rules alike, and to
//! nf_tables.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "netlink has many messages and attributes, of which we know a few"
)]

use std::io;
use std::time::{Duration, Instant};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkDeserializable,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable, NlasIterator,
};
use netlink_packet_netfilter::NetfilterMessage;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

/// The kernel answers at once, but a lock of its own may be held while devices come and go.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a table may take to be read.
const DUMP_PATIENCE: Duration = Duration::from_secs(20);
/// How often a table is read that changes meanwhile.
const DUMP_TRIES: usize = 8;
/// The kernel makes a dump of pieces of 32 KiB at most; a notification is smaller.
pub(super) const BUFFER: usize = 1 << 16;
/// Bytes of a header (linux/netlink.h, `struct nlmsghdr`).
const HEADER: usize = 16;
/// The attribute of an error that says in words what was wrong (linux/netlink.h, `NLMSGERR_ATTR_MSG`).
const ERROR_TEXT: u16 = 1;

/// A message of rtnetlink, with its header.
pub(super) type Message = NetlinkMessage<RouteNetlinkMessage>;

/// What is asked of one part of the kernel.
pub(super) trait Request: NetlinkSerializable + NetlinkDeserializable + Clone {
    /// Which part that is (linux/netlink.h).
    const PROTOCOL: isize;
}

impl Request for RouteNetlinkMessage {
    const PROTOCOL: isize = NETLINK_ROUTE;
}

impl Request for NetfilterMessage {
    const PROTOCOL: isize = NETLINK_NETFILTER;
}

/// The kernel refused a request, and said more than a number.
#[derive(Debug, thiserror::Error)]
#[error("{text}: {}", io::Error::from_raw_os_error(*.errno))]
struct Refused {
    errno: i32,
    text: String,
}

/// The number of an error of this module's, whether or not the kernel said more than that.
#[must_use]
pub fn errno(error: &io::Error) -> Option<i32> {
    let refused = error.get_ref().and_then(|inner| inner.downcast_ref::<Refused>());
    refused.map(|refused| refused.errno).or_else(|| error.raw_os_error())
}

/// Asks for one thing.
///
/// # Errors
/// What the kernel says; `TimedOut` if it says nothing.
pub(super) fn get<R: Request>(message: R) -> io::Result<R> {
    let socket = open::<R>()?;
    send(&socket, message, 0)?;
    for message in receive::<R>(&socket)? {
        match message.payload {
            NetlinkPayload::InnerMessage(answer) => return Ok(answer),
            NetlinkPayload::Error(_) => acknowledged(&message)?,
            _ => {}
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel did not answer what was asked"))
}

/// Has something changed. `flags` beside those of every request.
///
/// # Errors
/// What the kernel says; `TimedOut` if it says nothing.
pub(super) fn change(message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
    let socket = open::<RouteNetlinkMessage>()?;
    send(&socket, message, NLM_F_ACK | flags)?;
    let answers = receive::<RouteNetlinkMessage>(&socket)?;
    match answers.iter().find(|message| matches!(message.payload, NetlinkPayload::Error(_))) {
        Some(answer) => acknowledged(answer),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel did not acknowledge a change")),
    }
}

/// Has several things changed, all of them or none: what nf_tables calls a batch, of which the first and the last message say
/// so. Each has its flags beside those of every request.
///
/// # Errors
/// The number of the message that the kernel refused, and what it says; `TimedOut` if it says nothing.
pub(super) fn transact<R: Request>(socket: &Socket, batch: Vec<(R, u16)>) -> Result<(), (usize, io::Error)> {
    let whole = |error| (0, error);
    // The kernel acknowledges the end only since Linux 6.10, but what comes before it always.
    let last = batch.len().saturating_sub(2);
    let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let messages = batch.into_iter().enumerate().flat_map(|(at, (message, flags))| {
        bytes(message, flags | if at == last { NLM_F_ACK } else { 0 }, number(at))
    });
    let messages: Vec<u8> = messages.collect();
    // What is left of the answers to an earlier batch.
    while socket.recv(&mut Vec::with_capacity(BUFFER), libc::MSG_DONTWAIT).is_ok() {}
    socket.send(&messages, 0).map_err(whole)?;
    loop {
        for answer in receive::<R>(socket).map_err(whole)? {
            let at = answer.header.sequence_number;
            acknowledged(&answer).map_err(|error| (at as usize, error))?;
            if at == number(last) {
                return Ok(());
            }
        }
    }
}

/// Reads a table; what `keep` makes nothing of is passed over, and so is what this program cannot read.
///
/// # Errors
/// What the kernel says; `TimedOut` if it stops in the middle, or the table is endless or changes all the time.
pub(super) fn dump<R: Request, T>(message: &R, mut keep: impl FnMut(R) -> Option<T>) -> io::Result<Vec<T>> {
    let deadline = Instant::now() + DUMP_PATIENCE;
    for _ in 0..DUMP_TRIES {
        if let Some(entries) = dump_once(message.clone(), deadline, &mut keep)? {
            return Ok(entries);
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel's table changed each time while it was read"))
}

/// `None` if the table changed meanwhile.
fn dump_once<R: Request, T>(
    message: R,
    deadline: Instant,
    keep: &mut impl FnMut(R) -> Option<T>,
) -> io::Result<Option<Vec<T>>> {
    let socket = open::<R>()?;
    send(&socket, message, NLM_F_DUMP)?;
    let mut entries = Vec::new();
    let mut consistent = true;
    while Instant::now() < deadline {
        for message in receive::<R>(&socket)? {
            consistent &= message.header.flags & NLM_F_DUMP_INTR == 0;
            match message.payload {
                NetlinkPayload::InnerMessage(entry) => entries.extend(keep(entry)),
                NetlinkPayload::Done(done) if done.code < 0 => {
                    return Err(io::Error::from_raw_os_error(done.code.saturating_neg()));
                }
                NetlinkPayload::Done(_) => return Ok(consistent.then_some(entries)),
                NetlinkPayload::Error(_) => acknowledged(&message)?,
                _ => {}
            }
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel's table has no end"))
}

/// A socket for requests of this kind.
///
/// # Errors
/// What the kernel says: `EPROTONOSUPPORT` if it lacks that part.
pub(super) fn open<R: Request>() -> io::Result<Socket> {
    let mut socket = Socket::new(R::PROTOCOL)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    socket.set_cap_ack(true)?;
    socket.set_ext_ack(true)?;
    // Linux 4.20: the kernel leaves out of a dump what was not asked for. Whoever asks looks again.
    let _ = socket.set_netlink_get_strict_chk(true);
    Ok(socket)
}

fn send<R: Request>(socket: &Socket, message: R, flags: u16) -> io::Result<()> {
    socket.send(&bytes(message, flags, 0), 0).map(drop)
}

fn bytes<R: Request>(message: R, flags: u16, number: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    header.sequence_number = number;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len().next_multiple_of(4)];
    message.serialize(&mut bytes);
    bytes
}

/// Waits for messages.
fn receive<R: Request>(socket: &Socket) -> io::Result<Vec<NetlinkMessage<R>>> {
    let mut buffer = Vec::with_capacity(BUFFER);
    let length = loop {
        match socket.recv(&mut buffer, libc::MSG_TRUNC) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel did not answer in time"));
            }
            result => break result?,
        }
    };
    if length > buffer.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is too long"));
    }
    Ok(messages::<R>(&buffer).collect())
}

/// The messages in what was received. What is not understood is passed over.
pub(super) fn messages<R: Request>(buffer: &[u8]) -> impl Iterator<Item = NetlinkMessage<R>> {
    let mut rest = buffer;
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*rest.first_chunk()?) as usize;
        let message = rest.get(..length).filter(|message| message.len() >= HEADER)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(NetlinkMessage::deserialize(message).ok())
    })
    .flatten()
}

/// What an acknowledgement says. It follows the header of the request, since `NETLINK_CAP_ACK` cuts off the rest of it.
fn acknowledged<R: Request>(message: &NetlinkMessage<R>) -> io::Result<()> {
    let NetlinkPayload::Error(answer) = &message.payload else { return Ok(()) };
    let Some(code) = answer.code else { return Ok(()) };
    let errno = code.get().saturating_neg();
    let error = io::Error::from_raw_os_error(errno);
    if message.header.flags & NLM_F_ACK_TLVS == 0 {
        return Err(error);
    }
    let attributes = answer.header.get(HEADER..).unwrap_or_default();
    let text = NlasIterator::new(attributes)
        .map_while(Result::ok)
        .find(|attribute| attribute.kind() == ERROR_TEXT)
        .map(|attribute| String::from_utf8_lossy(attribute.value()).trim_end_matches(['\0', '.']).to_owned());
    Err(match text {
        Some(text) => io::Error::new(error.kind(), Refused { errno, text }),
        None => error,
    })
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::LinkMessage;
    use rustix::net::sockopt::socket_timeout;

    use super::*;
    use crate::net::isolated::{isolated, make_link};
    use crate::net::link::{self, Settings};

    #[test]
    fn what_the_kernel_says_is_told_in_words_with_its_number() {
        isolated(|| {
            let index = make_link("wg0");
            let error = link::set(index, &Settings { mtu: Some(10), ..Settings::default() }).unwrap_err();
            assert_eq!(errno(&error), Some(libc::EINVAL));
            assert_eq!(error.to_string(), "mtu less than device minimum: Invalid argument (os error 22)");
        });
    }

    #[test]
    fn a_kernel_that_is_silent_is_not_waited_for_for_ever() {
        let socket = open::<RouteNetlinkMessage>().unwrap();
        assert_eq!(socket_timeout(&socket, Timeout::Recv).unwrap(), Some(PATIENCE));
        set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_millis(1))).unwrap();
        assert_eq!(receive::<RouteNetlinkMessage>(&socket).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_table_is_read_to_its_end() {
        let message = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let links = dump(&message, |entry| match entry {
            RouteNetlinkMessage::NewLink(link) => Some(link.header.index),
            _ => None,
        });
        assert!(links.unwrap().contains(&1));
    }

    #[test]
    fn a_table_that_is_read_for_too_long_is_given_up() {
        let message = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let error = dump_once(message, Instant::now(), &mut Some).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn messages_that_are_cut_off_are_passed_over() {
        let socket = open::<RouteNetlinkMessage>().unwrap();
        send(&socket, RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP).unwrap();
        let mut buffer = Vec::with_capacity(BUFFER);
        socket.recv(&mut buffer, 0).unwrap();
        let all = messages::<RouteNetlinkMessage>(&buffer).count();
        assert!(all > 0);
        for length in 0..buffer.len() {
            assert!(messages::<RouteNetlinkMessage>(&buffer[..length]).count() <= all);
        }
        assert_eq!(messages::<RouteNetlinkMessage>(&[0; 64]).count(), 0);
    }
}
