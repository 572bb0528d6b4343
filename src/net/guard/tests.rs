//! Guards on one end of a veth, whose other end is the wire.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV6, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};

use adit_packet::Slot;
use netlink_packet_netfilter::nftables::{
    DevHookNumber, RuleAttribute, RuleMessage, TableAttribute, TableMessage,
};
use netlink_packet_netfilter::{NetfilterHeader, NetfilterProtoFamily};
use socket2::{Domain, Protocol, Socket, Type};

use super::*;
use crate::config::InterfaceAddress;
use crate::net::address;
use crate::net::isolated::{Tapped, frame, isolated, make_link, remove_link, rename_link};
use crate::net::packet::{Batch, EtherType, Options, PacketSocket};

const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TAG: [u8; 4] = [0x81, 0x00, 0x00, 0x07];
const SERVICE_TAG: [u8; 4] = [0x88, 0xa8, 0x00, 0x07];
/// The station at the other end of the wire.
const STATION: [u8; 6] = [2, 0, 0, 0, 0, 0x99];
const OURS: [u8; 4] = [10, 9, 0, 1];
const THEIRS: [u8; 4] = [10, 9, 0, 9];

/// A link with addresses, and the other end of its wire.
fn link_and_wire() -> (u32, Tapped) {
    let index = make_link("wa");
    // The station answers nothing: it is only in these tests.
    let wire = link::find("wa-peer").unwrap().index;
    std::fs::write("/proc/sys/net/ipv6/conf/wa-peer/disable_ipv6", "1").unwrap();
    std::fs::write("/proc/sys/net/ipv4/conf/wa-peer/arp_ignore", "8").unwrap();
    for (address, prefix_len) in [("10.9.0.1", 24), ("fd09::1", 64)] {
        let address = address.parse().unwrap();
        address::add(index, InterfaceAddress { address, prefix_len }).unwrap();
    }
    (index, Tapped::all(wire))
}

fn ether_type(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[12], frame[13]])
}

/// What of the stack of this machine is heard on the wire, of ARP, ping, and IPv6 with its neighbour discovery.
fn spoken(wire: &Tapped) -> Vec<u16> {
    let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let _ = udp.send_to(b"who is there", (Ipv4Addr::new(10, 9, 0, 77), 9));
    let ping = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
    ping.set_broadcast(true).unwrap();
    let everybody = std::net::SocketAddrV4::new(Ipv4Addr::new(10, 9, 0, 255), 0);
    let _ = ping.send_to(&[8, 0, 0xf7, 0xff, 0, 0, 0, 0], &everybody.into());
    let udp = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    let _ = udp.send_to(b"who is there", SocketAddrV6::new("fd09::77".parse().unwrap(), 9, 0, 0));
    let mut heard = Vec::new();
    while let Some(frame) = wire.hear(|frame| frame[6..12] != STATION) {
        heard.push(ether_type(&frame));
    }
    heard.sort_unstable();
    heard.dedup();
    heard
}

/// A UDP datagram to this machine, as a frame from the wire.
fn datagram(index: u32, port: u16) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend([THEIRS, OURS].concat());
    let sum = packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum::<u32>();
    packet[10..12].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
    packet.extend([0, 9]);
    packet.extend(port.to_be_bytes());
    packet.extend([0, 9, 0, 0, b'x']);
    let ours = link::find_index(index).unwrap().mac.unwrap();
    [&ours[..], &STATION, &IPV4.to_be_bytes(), &packet].concat()
}

/// Whether a datagram from the wire reaches a socket of this machine.
fn is_heard(index: u32, wire: &Tapped) -> bool {
    let socket = UdpSocket::bind((Ipv4Addr::from(OURS), 4_242)).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
    wire.send(&datagram(index, 4_242));
    socket.recv(&mut [0; 9]).is_ok()
}

/// Whether this frame passes from a link to its wire, and from the wire to who wants its EtherType on the link.
fn passes(index: u32, wire: &Tapped, frame: &[u8], ether_type: u16) -> [bool; 2] {
    let (all, only) = (Tapped::only(index, 0), Tapped::only(index, ether_type));
    all.send(frame);
    // The kernel has taken a tag out of what is heard.
    let tail = &frame[frame.len() - 60..];
    let out = wire.hear(|heard| heard.ends_with(tail)).is_some();
    wire.send(frame);
    [out, only.hear(|heard| heard.ends_with(tail)).is_some()]
}

fn is_closed(index: u32, wire: &Tapped) -> bool {
    let clear = [frame(&[], ARP, 60), frame(&[], IPV6, 60)];
    !clear.iter().any(|frame| passes(index, wire, frame, ether_type(frame)) != [false; 2])
        && passes(index, wire, &frame(&[], 0x88e5, 60), 0x88e5) == [true; 2]
}

#[test]
fn nothing_in_clear_passes_either_way_and_what_is_protected_does() {
    isolated(|| {
        let (index, wire) = link_and_wire();
        assert_eq!(spoken(&wire), [IPV4, ARP, IPV6], "without a guard");
        assert!(is_heard(index, &wire), "without a guard");
        let guard = Guard::lay(index, false).unwrap();
        let before = guard.dropped().unwrap();
        assert_eq!(spoken(&wire), Vec::<u16>::new());
        assert!(guard.dropped().unwrap().egress > before.egress);
        let before = guard.dropped().unwrap();
        assert!(!is_heard(index, &wire));
        assert_eq!(guard.dropped().unwrap().ingress, before.ingress + 1);
        for kind in [0x88e5, 0x888e, 0x88b5] {
            assert_eq!(passes(index, &wire, &frame(&[], kind, 60), kind), [true; 2], "{kind:x}");
        }
        for kind in [ARP, IPV4, IPV6, 0x88e6, 0x88cc, 60] {
            assert_eq!(passes(index, &wire, &frame(&[], kind, 60), kind), [false; 2], "{kind:x}");
        }
        guard.remove().unwrap();
        assert!(is_heard(index, &wire), "it is taken away");
        assert_eq!(passes(index, &wire, &frame(&[], ARP, 60), ARP), [true; 2]);
    });
}

#[test]
fn one_outer_tag_passes_where_it_is_allowed_and_covers_nothing_else() {
    isolated(|| {
        let (index, wire) = link_and_wire();
        let mut guard = Guard::lay(index, false).unwrap();
        let inward = |tags: &[_], kind| passes(index, &wire, &frame(tags, kind, 60), kind);
        assert_eq!([inward(&[TAG], 0x88e5), inward(&[SERVICE_TAG], 0x88e5)], [[false; 2]; 2]);
        guard.set_outer_tag(true).unwrap();
        for tag in [TAG, SERVICE_TAG] {
            for kind in [0x88e5, 0x888e, 0x88b5] {
                assert_eq!(inward(&[tag], kind), [true; 2], "{tag:x?} {kind:x}");
            }
            assert_eq!([inward(&[tag], ARP), inward(&[tag], IPV4)], [[false; 2]; 2]);
            assert_eq!(inward(&[tag, TAG], 0x88e5), [false; 2], "two tags");
        }
        assert_eq!([inward(&[], 0x88e5), inward(&[], ARP)], [[true; 2], [false; 2]]);
        guard.set_outer_tag(false).unwrap();
        assert_eq!(inward(&[TAG], 0x88e5), [false; 2]);
    });
}

#[test]
fn it_outlives_who_laid_it_and_gives_way_to_the_next() {
    isolated(|| {
        let (index, wire) = link_and_wire();
        drop(Guard::lay(index, false).unwrap());
        assert!(is_closed(index, &wire));
        assert_eq!(list().unwrap(), ["wa"]);
        drop(Guard::lay(index, true).unwrap());
        assert!(is_closed(index, &wire));
        assert!(remove("wa").unwrap());
        assert!(!remove("wa").unwrap(), "it is gone");
        assert!(list().unwrap().is_empty());
        assert!(!is_closed(index, &wire));
    });
}

/// Changes something in nf_tables, by the socket that owns the table or by another.
fn meddle(socket: &netlink_sys::Socket, family: NetfilterProtoFamily, message: NfTablesMessage, flags: u16) {
    let lines = table::removal("").into_iter();
    let mut batch: Vec<_> = lines.map(|(_, message, flags)| (message, flags)).collect();
    batch[1] = (NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), message), flags);
    netlink::transact(socket, batch).unwrap();
}

/// What `nft flush ruleset` does.
fn flush_everything() {
    let everything = NfTablesMessage::DeleteTable(TableMessage { attributes: Vec::new() });
    let socket = netlink::open::<NetfilterMessage>().unwrap();
    meddle(&socket, NetfilterProtoFamily::Unspec, everything, 0);
}

#[test]
fn it_is_put_back_if_it_was_taken_away_or_changed() {
    isolated(|| {
        let (index, wire) = link_and_wire();
        let mut guard = Guard::lay(index, false).unwrap();
        assert!(!guard.mend().unwrap(), "nothing is amiss");

        take_away(&guard.socket.0, &guard.table).unwrap();
        assert!(!is_closed(index, &wire));
        assert!(guard.mend().unwrap());
        assert!(is_closed(index, &wire));

        // Its rules are flushed: nothing passes.
        let rules = RuleMessage { attributes: vec![RuleAttribute::Table(guard.table.clone())] };
        meddle(&guard.socket.0, NetfilterProtoFamily::NetDev, NfTablesMessage::DeleteRule(rules), 0);
        assert_eq!(passes(index, &wire, &frame(&[], 0x88e5, 60), 0x88e5), [false; 2]);
        assert!(guard.mend().unwrap());
        assert!(is_closed(index, &wire));

        // It has one rule more, which accepts everything.
        let attributes = vec![
            RuleAttribute::Table(guard.table.clone()),
            RuleAttribute::Chain("egress".into()),
            RuleAttribute::Expressions(vec![table::verdict(libc::NF_ACCEPT).into()]),
        ];
        let rule = NfTablesMessage::NewRule(RuleMessage { attributes });
        meddle(&guard.socket.0, NetfilterProtoFamily::NetDev, rule, netlink_packet_core::NLM_F_CREATE);
        assert_eq!(passes(index, &wire, &frame(&[], ARP, 60), ARP), [true, false]);
        assert!(guard.mend().unwrap());
        assert!(is_closed(index, &wire));
        assert!(!guard.mend().unwrap());
    });
}

#[test]
fn while_its_owner_lives_nobody_else_changes_it() {
    isolated(|| {
        let (index, wire) = link_and_wire();
        let guard = Guard::lay(index, false).unwrap();
        let flag = TableAttribute::Flags(TableFlags::Owner | TableFlags::Persisent);
        let owned = guard.seen.iter().any(|message| match message {
            NfTablesMessage::NewTable(table) => table.attributes.contains(&flag),
            _ => false,
        });
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let version: Vec<u32> = release.split(['.', '-']).map_while(|part| part.parse().ok()).collect();
        assert_eq!(owned, version.as_slice() >= &[6, 9][..], "Linux {release}");
        if owned {
            assert!(matches!(remove("wa"), Err(Error::Owned(_))));
            assert!(matches!(Guard::lay(index, false), Err(Error::Owned(_))));
            flush_everything();
            assert!(is_closed(index, &wire));
            drop(guard);
        }
        assert!(remove("wa").unwrap());
    });
}

#[test]
fn nothing_passes_while_one_guard_replaces_another() {
    isolated(|| {
        let (index, wire) = link_and_wire();
        let mut guard = Guard::lay(index, false).unwrap();
        let done = AtomicBool::new(false);
        let clear = frame(&[], ARP, 60);
        let sent = std::thread::scope(|scope| {
            let flood = scope.spawn(|| {
                let link = Tapped::only(index, 0);
                let mut sent = 0_u32;
                while !done.load(Ordering::Relaxed) {
                    assert!(!link.send(&clear), "it left in clear");
                    sent += 1;
                }
                sent
            });
            for at in 0..60 {
                guard.set_outer_tag(at % 2 == 0).unwrap();
            }
            done.store(true, Ordering::Relaxed);
            flood.join().unwrap()
        });
        assert!(sent > 1_000, "only {sent}");
        assert_eq!(wire.hear(|heard| heard == clear), None);
    });
}

#[test]
fn a_kernel_that_cannot_look_at_what_leaves_says_so_and_keeps_nothing() {
    isolated(|| {
        let (index, _wire) = link_and_wire();
        // To this kernel the hook is as unknown as that for what leaves was before Linux 5.16.
        let unknown = Chain { hook: DevHookNumber::Other(2), ..Chain::EGRESS };
        let error = Guard::with(index, false, [Chain::INGRESS, unknown]).unwrap_err();
        assert!(matches!(error, Error::NoHook { direction: "egress", .. }), "{error:?}");
        assert!(error.to_string().contains("Linux 5.16 with CONFIG_NETFILTER_EGRESS"), "{error}");
        assert!(list().unwrap().is_empty());
    });
}

#[test]
fn what_bypasses_the_queue_passes_the_guard() {
    isolated(|| {
        let (index, wire) = link_and_wire();
        let raw = Tapped::only(index, 0);
        raw.bypass_queue();
        let clear = frame(&[], ARP, 60);
        assert!(raw.send(&clear) && wire.hear(|heard| heard == clear).is_some(), "without a guard");
        let _guard = Guard::lay(index, true).unwrap();
        raw.send(&clear);
        assert_eq!(wire.hear(|heard| heard == clear), None);

        for outer_tag in [false, true] {
            let options = Options { bypass_queue: true, outer_tag, ..Options::default() };
            let socket = PacketSocket::open(index, EtherType::Macsec, &options).unwrap();
            let arena = frame(&[], 0x88e5, 60);
            let slots = [Slot { len: arena.len(), kept: true, ..Slot::default() }];
            socket.send(&mut Batch::default(), &arena, &slots).unwrap();
            assert!(wire.hear(|heard| heard == arena).is_some(), "{outer_tag}");
        }
    });
}

#[test]
fn a_tap_on_the_link_hears_what_the_guard_drops_behind_it() {
    isolated(|| {
        let (index, wire) = link_and_wire();
        let guard = Guard::lay(index, false).unwrap();
        let (tap, before) = (Tapped::all(index), guard.dropped().unwrap());
        let clear = frame(&[], ARP, 60);
        wire.send(&clear);
        assert!(tap.hear(|heard| heard == clear).is_some());
        assert_eq!(guard.dropped().unwrap().ingress, before.ingress + 1);
    });
}

#[test]
fn it_follows_a_link_to_another_name() {
    isolated(|| {
        let (index, wire) = link_and_wire();
        let mut guard = Guard::lay(index, false).unwrap();
        rename_link(index, "wb");
        assert!(guard.mend().unwrap());
        // The kernel takes a while to notice that the line is whole again.
        let protected = frame(&[], 0x88e5, 60);
        assert!((0..25).any(|_| passes(index, &wire, &protected, 0x88e5) == [true; 2]));
        assert!(is_closed(index, &wire));
        assert!(!guard.mend().unwrap());
        guard.remove().unwrap();
        // What stands for the old name is for whoever has it next, until somebody takes it away.
        assert_eq!(list().unwrap(), ["wa"]);
    });
}

#[test]
fn a_link_that_is_gone_has_no_guard() {
    isolated(|| {
        let (index, _wire) = link_and_wire();
        let mut guard = Guard::lay(index, false).unwrap();
        remove_link(index);
        assert!(matches!(guard.mend(), Err(Error::Link(_))));
        assert!(matches!(Guard::lay(index, false), Err(Error::Link(_))));
        guard.remove().unwrap();
        assert!(list().unwrap().is_empty());
    });
}

#[test]
fn without_the_privilege_there_is_no_guard() {
    isolated(|| {
        let (index, _wire) = link_and_wire();
        let mut sets = rustix::thread::capabilities(None).unwrap();
        sets.effective.remove(rustix::thread::CapabilitySet::NET_ADMIN);
        rustix::thread::set_capabilities(None, sets).unwrap();
        let error = Guard::lay(index, false).unwrap_err();
        assert!(
            matches!(&error, Error::Io(error) if netlink::errno(error) == Some(libc::EPERM)),
            "{error:?}"
        );
    });
}
