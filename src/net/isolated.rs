//! Tests that change the network or give privileges up: each in a process, a user namespace and a network namespace of its
//! own, so that anybody can run them. Where that cannot be had they fail.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Socket, Type};

use super::link::{self, Settings};
use super::netlink;
use super::sys::{option, packet};

/// Set in the process in which a test runs.
const INSIDE: &str = "ADIT_TEST_ISOLATED";

/// Runs `test`, a closure in the body of a test, with all of root's power over a network of its own. `lo` is up.
pub(crate) fn isolated<T: FnOnce()>(test: T) {
    run(test, &["--map-root-user"], || {
        link::set(1, &Settings { up: Some(true), ..Settings::default() }).unwrap();
    });
}

/// Runs `test` in the same way as the user `nobody`, but with all of root's power.
pub(crate) fn isolated_as_nobody<T: FnOnce()>(test: T) {
    let nobody = crate::privilege::user("nobody").unwrap().expect("every system has the user nobody");
    let (user, group) = (format!("--map-user={}", nobody.uid), format!("--map-group={}", nobody.gid));
    run(test, &["--keep-caps", &user, &group], || ());
}

fn run<T: FnOnce()>(test: T, mapping: &[&str], prepare: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        prepare();
        return test();
    }
    // The name of a closure is that of the function it is in, behind that of the crate: which is how tests are named.
    let name = std::any::type_name::<T>().trim_end_matches("::{{closure}}");
    let name = name.split_once("::").map_or(name, |(_, name)| name);
    let program = std::env::current_exe().unwrap();
    let output = Command::new("unshare")
        .args(["--user", "--net"])
        .args(mapping)
        .arg("--")
        .arg(program)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare(1) of util-linux is needed");
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let passed = output.status.success() && told.contains("test result: ok. 1 passed");
    assert!(passed, "in a namespace of its own, {name} failed:\n{told}{errors}");
}

/// Makes a link (one end of a veth, whose other end is up as well) and sets it up.
pub(crate) fn make_link(name: &str) -> u32 {
    let peer = format!("{name}-peer");
    let [mut message, end] = [name, &peer].map(|name| {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        message
    });
    let veth = LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(end)));
    message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), veth]));
    netlink::change(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL).unwrap();
    let up = Settings { up: Some(true), ..Settings::default() };
    for name in [name, &peer] {
        link::set(link::find(name).unwrap().index, &up).unwrap();
    }
    link::find(name).unwrap().index
}

/// Makes a bridge without ports.
pub(crate) fn make_bridge(name: &str) -> u32 {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
    netlink::change(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL).unwrap();
    link::find(name).unwrap().index
}

/// Takes a link away.
pub(crate) fn remove_link(index: u32) {
    let mut message = LinkMessage::default();
    message.header.index = index;
    netlink::change(RouteNetlinkMessage::DelLink(message), 0).unwrap();
}

/// Gives a link another name, for which it is set down for a moment.
pub(crate) fn rename_link(index: u32, name: &str) {
    set_up(index, false);
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    netlink::change(RouteNetlinkMessage::SetLink(message), 0).unwrap();
    set_up(index, true);
}

/// Sets a link up or down.
pub(crate) fn set_up(index: u32, up: bool) {
    link::set(index, &Settings { up: Some(up), ..Settings::default() }).unwrap();
}

/// Where a network tap would be: everything that passes a link, both ways.
pub(crate) struct Tapped(Socket);

impl Tapped {
    /// Hears everything on a link.
    pub(crate) fn all(link: u32) -> Self {
        Self::only(link, libc::ETH_P_ALL as u16)
    }

    /// Hears what arrives with this EtherType.
    pub(crate) fn only(link: u32, ether_type: u16) -> Self {
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), None).unwrap();
        packet::bind(socket.as_fd(), link, ether_type).unwrap();
        Self(socket)
    }

    /// Sends frames to the driver directly.
    pub(crate) fn bypass_queue(&self) {
        option::set(self.0.as_fd(), libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, 1).unwrap();
    }

    /// Sends a frame. False if the kernel dropped it.
    pub(crate) fn send(&self, frame: &[u8]) -> bool {
        match (&self.0).write(frame) {
            Ok(_) => true,
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// The next frame that fits, or `None` if none comes for a while.
    pub(crate) fn hear(&self, wanted: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 1 << 16];
        while readable(&self.0, Duration::from_millis(200)) {
            while let Ok(len) = (&self.0).read(&mut buffer) {
                if wanted(&buffer[..len]) {
                    return Some(buffer[..len].to_vec());
                }
            }
        }
        None
    }
}

/// Waits for something to read.
pub(crate) fn readable(what: &impl AsFd, patience: Duration) -> bool {
    let patience = Timespec::try_from(patience).unwrap();
    poll(&mut [PollFd::new(what, PollFlags::IN)], Some(&patience)).unwrap() > 0
}

/// An Ethernet frame to everybody, from a station that does not exist, of `len` bytes behind its EtherType. Tags come first.
pub(crate) fn frame(tags: &[[u8; 4]], ether_type: u16, len: usize) -> Vec<u8> {
    let addresses = [[0xff; 6], [2, 0, 0, 0, 0, 0x99]].concat();
    [addresses, tags.concat(), ether_type.to_be_bytes().to_vec(), vec![0x5a; len]].concat()
}
