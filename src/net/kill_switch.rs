//! A kill switch: nothing leaves this machine but through a tunnel, whether or not the process that made it runs.
//!
//! It is a table of nf_tables for each tunnel, which `nft list table inet adit-client-office` shows:
//!
//! ```text
//! table inet adit-client-office {
//!   chain output  { type filter hook output  priority 0; policy drop; (rules) }
//!   chain forward { type filter hook forward priority 0; policy drop; (rules) }
//! }
//! rules of both: oifname "office" accept; last: counter drop
//! of output: oifname "lo" accept, meta mark 0xad17 accept (what the tunnel sends), udp 68 to 67 and 546 to 547 accept
//!            (DHCP), icmpv6 types 133, 135 and 136 accept (neighbour discovery)
//! of forward: iifname "office" accept
//! ```
//!
//! It is laid, replaced and taken away by one transaction each, and nothing but [`remove`] takes it away: no process owns it.
//! ARP is no concern of this family of tables.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "netlink has many messages and attributes, of which we know a few"
)]

use std::io;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Cmp, DataAttribute, Expressions, Hook, Immediate, InetHookNumber, Meta,
    MetaKey, NfTablesMessage, Operator, Payload, Register, RuleAttribute, RuleMessage, TableAttribute,
    TableMessage, Verdict, VerdictAttribute,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};

use super::netlink;

/// What every table of ours is called, before the name of its tunnel.
const PREFIX: &str = "adit-client-";
/// The part of netfilter that a batch is for.
const NF_TABLES: u16 = libc::NFNL_SUBSYS_NFTABLES as u16;
/// Length of an interface's name in nf_tables, with its end (`IFNAMSIZ`).
const NAME: usize = 16;
/// Ports of DHCP, client and server: IPv4 (RFC 2131, section 4.1), IPv6 (RFC 8415, section 7.2).
const DHCP: [(u16, u16); 2] = [(68, 67), (546, 547)];
/// Router solicitation, neighbour solicitation and advertisement (RFC 4861, section 4).
const DISCOVERY: [u8; 3] = [133, 135, 136];

/// Lays the kill switch of a tunnel, in place of one that is there. What has the firewall mark `mark` passes. It takes
/// `CAP_NET_ADMIN`.
///
/// # Errors
/// What the kernel says: then nothing has changed.
pub fn lay(tunnel: &str, mark: u32) -> io::Result<()> {
    let table = format!("{PREFIX}{tunnel}");
    let mut lines = Vec::new();
    if list()?.iter().any(|name| name == tunnel) {
        lines.push((delete(&table), 0));
    }
    let attributes = vec![TableAttribute::Name(table.clone())];
    lines.push((inet(NfTablesMessage::NewTable(TableMessage { attributes })), NLM_F_CREATE | NLM_F_EXCL));
    let chains = [
        ("output", InetHookNumber::LocalOut, output(tunnel, mark)),
        ("forward", InetHookNumber::Forward, forward(tunnel)),
    ];
    for (name, hook, rules) in chains {
        let attributes = base(&table, name, hook);
        lines.push((inet(NfTablesMessage::NewChain(ChainMessage { attributes })), NLM_F_CREATE | NLM_F_EXCL));
        for expressions in rules {
            let attributes = vec![
                RuleAttribute::Table(table.clone()),
                RuleAttribute::Chain(name.to_owned()),
                RuleAttribute::Expressions(expressions.into_iter().map(Into::into).collect()),
            ];
            let rule = inet(NfTablesMessage::NewRule(RuleMessage { attributes }));
            lines.push((rule, NLM_F_CREATE | NLM_F_APPEND));
        }
    }
    transact(lines)
}

/// Takes the kill switch of a tunnel away. False if there is none.
///
/// # Errors
/// What the kernel says.
pub fn remove(tunnel: &str) -> io::Result<bool> {
    match transact(vec![(delete(&format!("{PREFIX}{tunnel}")), 0)]) {
        Ok(()) => Ok(true),
        Err(error) if netlink::errno(&error) == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The tunnels that have a kill switch, also of processes that are gone.
///
/// # Errors
/// What the kernel says.
pub fn list() -> io::Result<Vec<String>> {
    let all = inet(NfTablesMessage::GetTable(TableMessage { attributes: Vec::new() }));
    netlink::dump(&all, |entry| match entry.inner {
        NetfilterMessageInner::NfTables(NfTablesMessage::NewTable(table)) => {
            table.attributes.into_iter().find_map(|attribute| match attribute {
                TableAttribute::Name(name) => name.strip_prefix(PREFIX).map(str::to_owned),
                _ => None,
            })
        }
        _ => None,
    })
}

fn transact(lines: Vec<(NetfilterMessage, u16)>) -> io::Result<()> {
    let socket = netlink::open::<NetfilterMessage>()?;
    let line = |message| {
        (NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NF_TABLES), message), 0)
    };
    let batch = [line(ControlMessage::BatchBegin)].into_iter().chain(lines);
    let batch = batch.chain([line(ControlMessage::BatchEnd)]).collect();
    netlink::transact(&socket, batch).map_err(|(_, error)| error)
}

fn inet(message: NfTablesMessage) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Inet, 0, 0), message)
}

fn delete(table: &str) -> NetfilterMessage {
    let attributes = vec![TableAttribute::Name(table.to_owned())];
    inet(NfTablesMessage::DeleteTable(TableMessage { attributes }))
}

fn base(table: &str, name: &str, hook: InetHookNumber) -> Vec<ChainAttribute> {
    vec![
        ChainAttribute::Table(table.to_owned()),
        ChainAttribute::Name(name.to_owned()),
        ChainAttribute::Type("filter".to_owned()),
        ChainAttribute::Hook(vec![Hook::Number(hook.into()), Hook::Priority(0)]),
        ChainAttribute::Policy(libc::NF_DROP.cast_unsigned()),
    ]
}

fn output(tunnel: &str, mark: u32) -> Vec<Vec<Expressions>> {
    let mut rules = vec![
        is_meta(MetaKey::Oifname, name(tunnel)),
        is_meta(MetaKey::Oifname, name("lo")),
        is_meta(MetaKey::Mark, mark.to_ne_bytes().to_vec()),
    ];
    rules.extend(DHCP.map(|(client, server)| {
        let ports = [client.to_be_bytes(), server.to_be_bytes()].concat();
        [is_meta(MetaKey::L4Proto, vec![libc::IPPROTO_UDP as u8]), is_transport(ports)].concat()
    }));
    rules.extend(DISCOVERY.map(|kind| {
        [is_meta(MetaKey::L4Proto, vec![libc::IPPROTO_ICMPV6 as u8]), is_transport(vec![kind])].concat()
    }));
    closed(rules)
}

fn forward(tunnel: &str) -> Vec<Vec<Expressions>> {
    closed(vec![is_meta(MetaKey::Oifname, name(tunnel)), is_meta(MetaKey::Iifname, name(tunnel))])
}

/// What matches passes; the rest is counted and dropped.
fn closed(rules: Vec<Vec<Expressions>>) -> Vec<Vec<Expressions>> {
    let count = Expressions::Other { expression_type: "counter".to_owned(), attributes: Vec::new() };
    let passing = rules.into_iter().map(|rule| [rule, vec![verdict(libc::NF_ACCEPT)]].concat());
    passing.chain([vec![count, verdict(libc::NF_DROP)]]).collect()
}

fn verdict(verdict: i32) -> Expressions {
    let code = VerdictAttribute::Code(Verdict::Other(verdict.cast_unsigned()));
    let data = Immediate::Data(DataAttribute::Verdict(vec![code]));
    Expressions::Immediate(vec![Immediate::DestinationRegister(Register::Verdict), data])
}

fn name(link: &str) -> Vec<u8> {
    let mut name = link.as_bytes().to_vec();
    name.resize(NAME, 0);
    name
}

fn is_meta(key: MetaKey, value: Vec<u8>) -> Vec<Expressions> {
    let load = vec![Meta::DestinationRegister(Register::Reg1), Meta::Key(key)];
    vec![Expressions::Meta(load), equals(value)]
}

/// The transport header begins with this.
fn is_transport(value: Vec<u8>) -> Vec<Expressions> {
    let load = vec![
        Payload::DestinationRegister(Register::Reg1),
        Payload::Base(libc::NFT_PAYLOAD_TRANSPORT_HEADER.cast_unsigned()),
        Payload::Offset(0),
        Payload::Len(u32::try_from(value.len()).unwrap_or(u32::MAX)),
    ];
    vec![Expressions::Payload(load), equals(value)]
}

fn equals(value: Vec<u8>) -> Expressions {
    Expressions::Cmp(vec![
        Cmp::SourceRegister(Register::Reg1),
        Cmp::Op(Operator::Equal),
        Cmp::Data(DataAttribute::Value(value)),
    ])
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::config::InterfaceAddress;
    use crate::net::address;
    use crate::net::isolated::{isolated, make_link};

    const MARK: u32 = 0xad17;

    /// A network with two links, of which one is the tunnel; sends to either or fails.
    fn sends(to: &str, mark: u32) -> bool {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket2::SockRef::from(&socket).set_mark(mark).unwrap();
        socket.send_to(b"x", to).is_ok()
    }

    #[test]
    fn only_the_tunnel_and_what_is_marked_leave_until_it_is_taken_away() {
        isolated(|| {
            for (link, address) in [("office", "10.9.0.1"), ("wire", "192.0.2.1")] {
                let index = make_link(link);
                let address = InterfaceAddress { address: address.parse().unwrap(), prefix_len: 24 };
                address::add(index, address).unwrap();
            }
            let reach = || ["10.9.0.2:9", "192.0.2.2:9", "127.0.0.1:9"].map(|to| sends(to, 0));
            assert_eq!(reach(), [true; 3]);
            lay("office", MARK).unwrap();
            lay("office", MARK).expect("one takes the place of another");
            assert_eq!(list().unwrap(), ["office"]);
            assert_eq!(reach(), [true, false, true]);
            assert!(sends("192.0.2.2:9", MARK), "what the tunnel sends");
            assert!(!sends("192.0.2.2:67", 0), "another port than that of a DHCP client");
            let dhcp = UdpSocket::bind("0.0.0.0:68").unwrap();
            dhcp.send_to(b"x", "192.0.2.2:67").unwrap();
            assert!(remove("office").unwrap());
            assert!(!remove("office").unwrap(), "it is gone");
            assert_eq!(reach(), [true; 3]);
        });
    }
}
