//! What is told of a dropped packet.

use std::net::IpAddr;

use adit_macsec::agreement::message::FRAME;
use adit_noise::Now;
use adit_packet::{EthernetHeader, ethernet, ip};
use serde::{Deserialize, Serialize};

use crate::admin::stamp::rfc3339;
use crate::datapath::{Dropped, Reason};
use crate::gateway::TraceSource;

/// One line of a trace.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Line {
    /// A packet.
    Packet(Packet),
    /// Packets of which nothing is known.
    Missed(Missed),
}

/// A packet that was dropped, or several that were dropped as one.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Packet {
    /// When it was dropped, in RFC 3339.
    pub time: String,
    /// The tunnel that dropped it.
    pub tunnel: String,
    /// Why: the name that its counter has.
    pub reason: String,
    /// How many.
    pub packets: u64,
    /// The length of the first in bytes; 0 if nobody knows.
    pub length: usize,
    /// The header of an Ethernet frame, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<Box<Frame>>,
    /// Its headers, if it is an IP packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<Ip>,
    /// The type of a WireGuard message: `initiation`, `response`, `cookie_reply` or `data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The header of an Ethernet frame.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Frame {
    /// From which station.
    pub source: String,
    /// To which.
    pub destination: String,
    /// What it carries, behind VLAN tags: four hexadecimal digits.
    pub ether_type: String,
}

/// The headers of an IP packet, as far as they were kept.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Ip {
    /// 4 or 6.
    pub version: u8,
    /// From whom.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// The transport protocol: a name, or its number.
    pub protocol: String,
    /// The port it comes from, if the protocol has ports and this is no later fragment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// The port it goes to, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<u16>,
}

/// More packets were dropped than could be kept.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Missed {
    /// How many of them were not kept.
    pub missed: u64,
    /// The tunnel that dropped them.
    pub tunnel: String,
}

impl Line {
    /// Appends the line, with its end.
    pub(super) fn append_to(&self, text: &mut Vec<u8>) {
        // Its types have nothing that JSON cannot say.
        if serde_json::to_writer(&mut *text, self).is_ok() {
            text.push(b'\n');
        }
    }
}

impl Packet {
    pub(super) fn new(source: &TraceSource, dropped: &Dropped, now: Now) -> Self {
        let message = message(&dropped.head);
        let (frame, packet) = if source.frames { frame(dropped) } else { (None, &dropped.head[..]) };
        Self {
            time: rfc3339(now.wall.saturating_sub(now.mono.since(dropped.at))),
            tunnel: source.tunnel.clone(),
            reason: dropped.reason.as_str().to_owned(),
            packets: dropped.packets,
            length: dropped.len,
            frame,
            ip: if is_outer(dropped.reason) { None } else { Ip::parse(packet) },
            message: message.map(str::to_owned),
        }
    }
}

/// Whether what was dropped for this reason is a datagram from outside whose bytes can be anything.
fn is_outer(reason: Reason) -> bool {
    matches!(reason, Reason::NotWireguard | Reason::NotMacsec | Reason::Truncated)
}

/// The header of a frame that a link dropped, and what is behind it. Over UDP a message or a mark may be ahead of it.
fn frame(dropped: &Dropped) -> (Option<Box<Frame>>, &[u8]) {
    let head = dropped.head.strip_prefix(&FRAME).unwrap_or(&dropped.head);
    let reason = dropped.reason;
    // A frame to a station whose address begins like a message is rare.
    let is_message = matches!(reason, Reason::Agreement(_) | Reason::HandshakeQueueFull)
        || (reason == Reason::SendFailed && message(head).is_some())
        || is_outer(reason);
    let Some(header) = EthernetHeader::parse(head).filter(|_| !is_message) else { return (None, &[]) };
    let station = |at: usize| {
        let octets = head.get(at..at + 6).unwrap_or_default().iter().map(|octet| format!("{octet:02x}"));
        octets.collect::<Vec<_>>().join(":")
    };
    let ether_type = format!("{:04x}", header.ether_type);
    let frame = Frame { source: station(6), destination: station(0), ether_type };
    let rest = if header.version().is_some() { header.header_len } else { head.len() };
    (Some(Box::new(frame)), head.get(rest.max(ethernet::LEN)..).unwrap_or_default())
}

/// The type of a WireGuard message (paper, section 5.4), or of one of a link's key agreement; no IP packet begins like one.
fn message(head: &[u8]) -> Option<&'static str> {
    match head.first_chunk::<4>()? {
        [1, 0, 0, 0] => Some("initiation"),
        [2, 0, 0, 0] => Some("response"),
        [3, 0, 0, 0] => Some("cookie_reply"),
        [4, 0, 0, 0] => Some("data"),
        _ => None,
    }
}

impl Ip {
    /// Reads the headers of a packet of which only the beginning is there.
    fn parse(head: &[u8]) -> Option<Self> {
        let (source, destination) = (ip::source(head)?, ip::destination(head)?);
        let transport = if source.is_ipv4() { v4(head) } else { v6(head) }?;
        let port = |at: usize| Some(u16::from_be_bytes(*head.get(transport.at? + at..)?.first_chunk()?));
        let has_ports = matches!(transport.protocol, 6 | 17 | 33 | 132 | 136);
        Some(Self {
            version: if source.is_ipv4() { 4 } else { 6 },
            source,
            destination,
            protocol: name(transport.protocol),
            source_port: port(0).filter(|_| has_ports),
            destination_port: port(2).filter(|_| has_ports),
        })
    }
}

/// Where the transport header is; nowhere in a later fragment.
struct Transport {
    protocol: u8,
    at: Option<usize>,
}

fn v4(head: &[u8]) -> Option<Transport> {
    let fragment_offset = u16::from_be_bytes(*head.get(6..)?.first_chunk()?) & 0x1fff;
    let at = usize::from(head.first()? & 0x0f) * 4;
    Some(Transport { protocol: *head.get(9)?, at: (fragment_offset == 0).then_some(at) })
}

/// Walks over the extension headers that are there (RFC 8200, section 4).
fn v6(head: &[u8]) -> Option<Transport> {
    let (mut protocol, mut at, mut first) = (*head.get(6)?, ip::V6_LEN, true);
    while let (0 | 43 | 44 | 60, Some(&[next, length])) =
        (protocol, head.get(at..).and_then(|h| h.first_chunk()))
    {
        if protocol == 44 {
            let offset =
                head.get(at + 2..).and_then(|h| h.first_chunk()).map_or(0, |o| u16::from_be_bytes(*o));
            first &= offset & 0xfff8 == 0;
            at += 8;
        } else {
            at += 8 * (usize::from(length) + 1);
        }
        protocol = next;
    }
    Some(Transport { protocol, at: first.then_some(at) })
}

/// IANA's names of the protocols that a person knows.
fn name(protocol: u8) -> String {
    match protocol {
        1 => "icmp".to_owned(),
        2 => "igmp".to_owned(),
        4 => "ipip".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        33 => "dccp".to_owned(),
        41 => "ipv6".to_owned(),
        47 => "gre".to_owned(),
        50 => "esp".to_owned(),
        58 => "icmpv6".to_owned(),
        89 => "ospf".to_owned(),
        132 => "sctp".to_owned(),
        136 => "udplite".to_owned(),
        number => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use adit_noise::Time;

    use super::*;

    fn told(reason: Reason, head: &[u8]) -> serde_json::Value {
        told_by(false, reason, head)
    }

    fn told_by(frames: bool, reason: Reason, head: &[u8]) -> serde_json::Value {
        let now = Now { mono: Time::from_secs(100), wall: Duration::from_secs(1_795_311_000) };
        let (at, head) = (Time::from_secs(98), head.to_vec());
        let dropped = Dropped { at, reason, packets: 2, len: 1_400, head };
        let mut text = Vec::new();
        let source = TraceSource { tunnel: "wg0".to_owned(), frames, tracer: Default::default() };
        Line::Packet(Packet::new(&source, &dropped, now)).append_to(&mut text);
        assert_eq!(text.pop(), Some(b'\n'));
        let line: Line = serde_json::from_slice(&text).unwrap();
        assert!(matches!(line, Line::Packet(_)));
        serde_json::from_slice(&text).unwrap()
    }

    fn tcp_v4() -> Vec<u8> {
        let mut packet = vec![0x45, 0, 5, 0x78, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 9, 8, 7];
        packet.extend([0x04, 0xd2, 0x00, 0x50, 1, 2, 3, 4]);
        packet
    }

    fn udp_v6(extensions: &[u8], next: u8) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 100, next, 64];
        packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        packet.extend(extensions);
        packet.extend([0x00, 0x35, 0x14, 0xe9, 0, 16, 0, 0]);
        packet
    }

    #[test]
    fn an_ipv4_packet_is_told_with_its_ports() {
        let told = told(Reason::NoRoute, &tcp_v4());
        assert_eq!(
            told,
            serde_json::json!({
                "time": "2026-11-22T01:29:58.000Z", "tunnel": "wg0", "reason": "no_route", "packets": 2, "length": 1400,
                "ip": {
                    "version": 4, "source": "10.0.0.1", "destination": "10.9.8.7", "protocol": "tcp",
                    "source_port": 1234, "destination_port": 80,
                },
            })
        );
    }

    #[test]
    fn a_later_fragment_has_no_ports() {
        let mut packet = tcp_v4();
        packet[7] = 1;
        assert_eq!(told(Reason::NoRoute, &packet)["ip"].get("source_port"), None);
        let fragment = udp_v6(&[17, 0, 0, 8, 0, 0, 0, 1], 44);
        let told = told(Reason::NoRoute, &fragment);
        assert_eq!(told["ip"]["protocol"], "udp");
        assert_eq!(told["ip"].get("source_port"), None);
    }

    #[test]
    fn extension_headers_are_walked_over() {
        for (extensions, next) in
            [(&[][..], 17), (&[17, 0, 0, 0, 0, 0, 0, 0][..], 60), (&[17, 0, 0, 0, 0, 0, 0, 1][..], 44)]
        {
            let told = told(Reason::Source, &udp_v6(extensions, next));
            assert_eq!(told["ip"]["protocol"], "udp", "{next}");
            assert_eq!(told["ip"]["destination"], "fd00::2");
            assert_eq!(
                (&told["ip"]["source_port"], &told["ip"]["destination_port"]),
                (&53.into(), &5353.into())
            );
        }
    }

    #[test]
    fn protocols_without_ports_and_unknown_ones_are_told_as_such() {
        let mut packet = tcp_v4();
        for (number, name) in [(1, "icmp"), (200, "200")] {
            packet[9] = number;
            let told = told(Reason::NoRoute, &packet);
            assert_eq!(told["ip"]["protocol"], name);
            assert_eq!(told["ip"].get("source_port"), None);
        }
    }

    #[test]
    fn a_datagram_is_told_by_its_message_type() {
        let told_of = |kind: u8| told(Reason::HandshakeQueueFull, &[kind, 0, 0, 0, 9, 9]);
        assert_eq!(told_of(1)["message"], "initiation");
        assert_eq!(told_of(4)["message"], "data");
        assert_eq!(told_of(5).get("message"), None);
        assert_eq!(told_of(1).get("ip"), None);
    }

    #[test]
    fn a_frame_of_a_link_is_told_with_its_stations_and_with_its_packet_if_that_can_be_read() {
        let frame = |ether_type: u16, rest: &[u8]| {
            let stations = [6, 0, 0, 0, 0, 9, 6, 0, 0, 0, 0, 8];
            [&stations[..], &ether_type.to_be_bytes(), rest].concat()
        };
        let refused = Reason::Macsec(adit_macsec::Refused::NoTransmitSa);
        let clear = told_by(true, refused, &frame(0x0800, &tcp_v4()));
        let stations = serde_json::json!({"source": "06:00:00:00:00:08", "destination": "06:00:00:00:00:09", "ether_type": "0800"});
        assert_eq!((&clear["frame"], &clear["ip"]["destination"]), (&stations, &"10.9.8.7".into()));
        let tagged = told_by(true, refused, &frame(0x8100, &[&[0, 7, 8, 0][..], &tcp_v4()].concat()));
        assert_eq!((&tagged["frame"], &tagged["ip"]["protocol"]), (&stations, &"tcp".into()));
        let sealed = told_by(true, Reason::SendFailed, &[&FRAME[..], &frame(0x88e5, &tcp_v4())].concat());
        assert_eq!((&sealed["frame"]["ether_type"], sealed.get("ip")), (&"88e5".into(), None));
        for (reason, head) in
            [(Reason::NotMacsec, frame(0x0800, &tcp_v4())), (Reason::SendFailed, vec![1, 0, 0, 0])]
        {
            let told = told_by(true, reason, &head);
            assert_eq!((told.get("frame"), told.get("ip")), (None, None));
        }
    }

    #[test]
    fn bytes_from_outside_are_not_taken_for_an_ip_packet() {
        assert_eq!(told(Reason::NotWireguard, &tcp_v4()).get("ip"), None);
    }

    #[test]
    fn any_bytes_of_any_length_are_taken() {
        for packet in
            [tcp_v4(), udp_v6(&[60, 255, 0, 0, 0, 0, 0, 0], 0), udp_v6(&[44, 0, 0, 0, 0, 0, 0, 0], 44)]
        {
            for length in 0..packet.len() {
                told(Reason::Malformed, &packet[..length]);
            }
        }
    }

    #[test]
    fn missed_packets_are_a_line_of_their_own() {
        let mut text = Vec::new();
        let missed = Line::Missed(Missed { missed: 7, tunnel: "wg0".to_owned() });
        missed.append_to(&mut text);
        assert_eq!(text, b"{\"missed\":7,\"tunnel\":\"wg0\"}\n");
        assert_eq!(serde_json::from_slice::<Line>(&text).unwrap(), missed);
    }
}
