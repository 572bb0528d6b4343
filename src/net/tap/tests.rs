//! Frames through TAP devices of the kernel.

use std::io::IoSlice;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::SockRef;

use super::*;
use crate::config::InterfaceAddress;
use crate::net::address;
use crate::net::isolated::{isolated, readable};
use crate::net::link::{self, Settings};
use crate::net::sys::option;

/// The virtio-net header (virtio 1.2, section 5.1.6), without the number of buffers.
const HEADER: usize = 10;
const GSO_UDP_L4: u8 = 5;

fn up(tap: &str, mac: [u8; 6], mtu: usize, ip: [u8; 4]) {
    let index = link::find(tap).unwrap().index;
    let settings = Settings { up: Some(true), mtu: Some(mtu), mac: Some(mac), ..Settings::default() };
    link::set(index, &settings).unwrap();
    let found = link::find(tap).unwrap();
    assert_eq!((found.mac, found.mtu, found.up), (Some(mac), mtu, true));
    address::add(index, InterfaceAddress { address: Ipv4Addr::from(ip).into(), prefix_len: 24 }).unwrap();
    for (knob, value) in [("accept_local", "1"), ("rp_filter", "0")] {
        std::fs::write(format!("/proc/sys/net/ipv4/conf/{tap}/{knob}"), value).unwrap();
    }
}

/// The next frame that is UDP over IPv4, behind its virtio-net header: a device that is up speaks IPv6 by itself.
fn read_udp(tap: &Tap) -> Vec<u8> {
    let mut buffer = vec![0; 70_000];
    let queue = &tap.queues[0];
    while readable(queue, Duration::from_secs(5)) {
        let len = queue.read(&mut buffer).unwrap();
        let (ether_type, protocol) = (&buffer[HEADER + 12..HEADER + 14], buffer[HEADER + 23]);
        if ether_type == [8, 0] && protocol == 17 {
            return buffer[..len].to_vec();
        }
    }
    panic!("no frame comes")
}

#[test]
fn a_super_frame_passes_from_one_tap_to_another_uncut() {
    isolated(|| {
        std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "0").unwrap();
        let offloads = Offloads::default();
        let [near, far] = ["near", "far"].map(|name| Tap::create(name, 1, &offloads).unwrap());
        assert_eq!(near.offloads, Offloads { tun_steering: false, ..offloads });
        up("near", [2, 0, 0, 0, 0, 1], 1_400, [10, 9, 0, 1]);
        up("far", [2, 0, 0, 0, 0, 2], 1_400, [10, 9, 0, 2]);

        let [sender, receiver] =
            [0, 4_242].map(|port| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
        sender.set_broadcast(true).unwrap();
        // The kernel hands this machine a copy of what it sends to everybody: that is not the frame in question.
        SockRef::from(&receiver).bind_device(Some(b"far")).unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        option::set(sender.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, 1_000).unwrap();
        sender.send_to(&[7; 4_500], (Ipv4Addr::new(10, 9, 0, 255), 4_242)).unwrap();

        let frame = read_udp(&near);
        assert_eq!(frame.len(), HEADER + 14 + 20 + 8 + 4_500);
        assert_eq!(frame[1], GSO_UDP_L4);
        assert_eq!(u16::from_ne_bytes([frame[4], frame[5]]), 1_000);
        // The checksum begins with the UDP header, counted from the Ethernet header on.
        assert_eq!(u16::from_ne_bytes([frame[6], frame[7]]), 14 + 20);
        assert_eq!(frame[HEADER..HEADER + 12], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1]);

        let pieces = [IoSlice::new(&frame[..HEADER]), IoSlice::new(&frame[HEADER..])];
        far.queues[0].write(&pieces).unwrap();
        let mut buffer = [0; 2_000];
        let lengths = [(); 5].map(|()| receiver.recv(&mut buffer).unwrap());
        assert_eq!(lengths, [1_000, 1_000, 1_000, 1_000, 500]);
    });
}

#[test]
fn without_offloads_frames_come_cut() {
    isolated(|| {
        let none = "none".parse().unwrap();
        let tap = Tap::create("near", 1, &none).unwrap();
        assert_eq!(tap.offloads, none);
        up("near", [2, 0, 0, 0, 0, 1], 1_400, [10, 9, 0, 1]);
        let sender = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        sender.set_broadcast(true).unwrap();
        option::set(sender.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, 1_000).unwrap();
        sender.send_to(&[7; 1_500], (Ipv4Addr::new(10, 9, 0, 255), 4_242)).unwrap();
        for len in [1_000, 500] {
            let frame = read_udp(&tap);
            assert_eq!((frame.len(), &frame[..2]), (HEADER + 14 + 20 + 8 + len, &[0, 0][..]));
        }
    });
}

#[test]
fn a_tap_has_as_many_queues_as_were_asked_for_and_a_name_of_its_own() {
    isolated(|| {
        let tap = Tap::create("near", 3, &Offloads::default()).unwrap();
        assert_eq!(tap.queues.len(), 3);
        assert!(!tap.offloads.tun_steering);
        let error = Tap::create("near", 3, &Offloads::default()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBUSY));
        drop(tap);
        assert_eq!(link::find("near").unwrap_err().raw_os_error(), Some(libc::ENODEV));
    });
}
