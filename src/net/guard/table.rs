//! The table of a guard as messages of nf_tables (linux/netfilter/nf_tables.h), and what the kernel shows of it.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "netlink has many messages and attributes, of which we know a few"
)]

use std::io;

use netlink_packet_core::{DefaultNla, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, Nla};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Cmp, DataAttribute, DevHookNumber, ExpressionAttribute, Expressions, Hook,
    Immediate, ListAttribute, NfTablesMessage, Operator, Payload, Register, RuleAttribute, RuleMessage,
    TableAttribute, TableFlags, TableMessage, Verdict, VerdictAttribute,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};

use super::PREFIX;
use crate::net::netlink;
use crate::net::packet::EtherType;

/// Version of the header of every message (`NFNETLINK_V0`).
const VERSION: u8 = 0;
/// The part of netfilter that a batch is for.
const NF_TABLES: u16 = libc::NFNL_SUBSYS_NFTABLES as u16;
/// Where a frame's EtherType is, and how long.
const ETHER_TYPE: u32 = 12;
const ETHER_TYPE_LEN: u32 = 2;
/// Where it is behind one VLAN tag.
const TAGGED_ETHER_TYPE: u32 = ETHER_TYPE + 4;
/// The EtherTypes of a VLAN tag: IEEE 802.1Q, customer and service.
const TAGS: [u16; 2] = [0x8100, 0x88a8];
/// The expression that counts, and its attribute for packets (`NFTA_COUNTER_PACKETS`).
const COUNTER: &str = "counter";
const COUNTER_PACKETS: u16 = 2;

/// One chain of a guard.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Chain {
    /// Its name.
    pub(super) name: &'static str,
    /// What it looks at.
    pub(super) hook: DevHookNumber,
    /// What the kernel has to be built with for that.
    pub(super) option: &'static str,
    /// Where it stands among others: the lowest comes first.
    pub(super) priority: i32,
}

impl Chain {
    /// The first that sees what arrives.
    pub(super) const INGRESS: Self = Self {
        name: "ingress",
        hook: DevHookNumber::Ingress,
        option: "CONFIG_NETFILTER_INGRESS",
        priority: i32::MIN,
    };
    /// The last that sees what leaves.
    pub(super) const EGRESS: Self = Self {
        name: "egress",
        hook: DevHookNumber::Egress,
        option: "CONFIG_NETFILTER_EGRESS",
        priority: i32::MAX,
    };
}

/// What a message of a transaction is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// Its begin or end.
    Batch,
    /// The old table.
    Removal,
    /// The new table.
    Table,
    /// A chain.
    Chain(Chain),
    /// A rule.
    Rule,
}

/// A message of a transaction, with its flags.
type Line = (Step, NetfilterMessage, u16);

/// The table of a link.
pub(super) fn name(device: &str) -> String {
    format!("{PREFIX}{device}")
}

/// Everything that lays a guard, in place of the table of that name if it is there.
pub(super) fn batch(
    present: bool,
    table: &str,
    device: &str,
    flags: TableFlags,
    outer_tag: bool,
    chains: &[Chain],
) -> Vec<Line> {
    let attributes = vec![TableAttribute::Name(table.to_owned()), TableAttribute::Flags(flags)];
    let new = request(NfTablesMessage::NewTable(TableMessage { attributes }));
    let mut lines: Vec<_> = present.then(|| delete(table)).into_iter().collect();
    lines.push((Step::Table, new, NLM_F_CREATE | NLM_F_EXCL));
    for chain in chains {
        let new =
            request(NfTablesMessage::NewChain(ChainMessage { attributes: base(table, device, *chain) }));
        lines.push((Step::Chain(*chain), new, NLM_F_CREATE | NLM_F_EXCL));
        for expressions in rules(outer_tag) {
            let attributes = vec![
                RuleAttribute::Table(table.to_owned()),
                RuleAttribute::Chain(chain.name.to_owned()),
                RuleAttribute::Expressions(expressions.into_iter().map(Into::into).collect()),
            ];
            let new = request(NfTablesMessage::NewRule(RuleMessage { attributes }));
            lines.push((Step::Rule, new, NLM_F_CREATE | NLM_F_APPEND));
        }
    }
    enclose(lines)
}

/// Everything that takes a table away.
pub(super) fn removal(table: &str) -> Vec<Line> {
    enclose(vec![delete(table)])
}

fn delete(table: &str) -> Line {
    let attributes = vec![TableAttribute::Name(table.to_owned())];
    (Step::Removal, request(NfTablesMessage::DeleteTable(TableMessage { attributes })), 0)
}

fn enclose(lines: Vec<Line>) -> Vec<Line> {
    let header = || NetfilterHeader::new(NetfilterProtoFamily::Unspec, VERSION, NF_TABLES);
    let line = |message| (Step::Batch, NetfilterMessage::new(header(), message), 0);
    let (begin, end) = (line(ControlMessage::BatchBegin), line(ControlMessage::BatchEnd));
    [begin].into_iter().chain(lines).chain([end]).collect()
}

fn request(message: NfTablesMessage) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::NetDev, VERSION, 0), message)
}

/// A chain through which all frames of a device go, and which drops them if it has no rules.
fn base(table: &str, device: &str, chain: Chain) -> Vec<ChainAttribute> {
    vec![
        ChainAttribute::Table(table.to_owned()),
        ChainAttribute::Name(chain.name.to_owned()),
        ChainAttribute::Type("filter".to_owned()),
        ChainAttribute::Hook(vec![
            Hook::Number(chain.hook.into()),
            Hook::Priority(chain.priority.cast_unsigned()),
            Hook::NetDeviceName(device.to_owned()),
        ]),
        ChainAttribute::Policy(libc::NF_DROP.cast_unsigned()),
    ]
}

/// The rules of a chain: the commonest frame first. The last drops what is left, and counts it.
///
/// The chain's policy would drop as well. But it holds only from a later moment of the transaction on than its rules: until
/// then a chain accepts, and by then the one that it replaces may be gone.
fn rules(outer_tag: bool) -> Vec<Vec<Expressions>> {
    let types = EtherType::ALL.map(|kind| kind as u16);
    let plain = types.map(|kind| [is(ETHER_TYPE, kind).to_vec(), vec![verdict(libc::NF_ACCEPT)]].concat());
    let tagged = TAGS.iter().flat_map(|tag| {
        types.map(|kind| {
            [
                is(ETHER_TYPE, *tag).to_vec(),
                is(TAGGED_ETHER_TYPE, kind).to_vec(),
                vec![verdict(libc::NF_ACCEPT)],
            ]
            .concat()
        })
    });
    let count = Expressions::Other { expression_type: COUNTER.to_owned(), attributes: Vec::new() };
    let rest = vec![count, verdict(libc::NF_DROP)];
    plain.into_iter().chain(tagged.filter(|_| outer_tag)).chain([rest]).collect()
}

/// The two bytes at this place of the frame have this value. A frame that ends before them matches nothing.
fn is(at: u32, value: u16) -> [Expressions; 2] {
    let load = vec![
        Payload::DestinationRegister(Register::Reg1),
        Payload::Base(libc::NFT_PAYLOAD_LL_HEADER.cast_unsigned()),
        Payload::Offset(at),
        Payload::Len(ETHER_TYPE_LEN),
    ];
    let compare = vec![
        Cmp::SourceRegister(Register::Reg1),
        Cmp::Op(Operator::Equal),
        Cmp::Data(DataAttribute::Value(value.to_be_bytes().to_vec())),
    ];
    [Expressions::Payload(load), Expressions::Cmp(compare)]
}

pub(super) fn verdict(verdict: i32) -> Expressions {
    let code = VerdictAttribute::Code(Verdict::Other(verdict.cast_unsigned()));
    let data = Immediate::Data(DataAttribute::Verdict(vec![code]));
    Expressions::Immediate(vec![Immediate::DestinationRegister(Register::Verdict), data])
}

// --------------------------------------------------------------------------------------------- what the kernel shows

/// How many messages show a guard that is whole: the table, its chains, their rules.
pub(super) fn messages(outer_tag: bool, chains: &[Chain]) -> usize {
    1 + chains.len() * (1 + rules(outer_tag).len())
}

/// The names of all tables of ours.
pub(super) fn list() -> io::Result<Vec<String>> {
    let all = request(NfTablesMessage::GetTable(TableMessage { attributes: Vec::new() }));
    netlink::dump(&all, |entry| match entry.inner {
        NetfilterMessageInner::NfTables(NfTablesMessage::NewTable(table)) => {
            table.attributes.into_iter().find_map(|attribute| match attribute {
                TableAttribute::Name(name) if name.starts_with(PREFIX) => Some(name),
                _ => None,
            })
        }
        _ => None,
    })
}

/// A table with all that is in it, without what changes by itself.
pub(super) fn read(table: &str) -> io::Result<Vec<NfTablesMessage>> {
    let mut seen = Vec::new();
    let tables = NfTablesMessage::GetTable(TableMessage { attributes: Vec::new() });
    let chains = NfTablesMessage::GetChain(ChainMessage { attributes: Vec::new() });
    for request in [tables, chains, rules_of(table)] {
        seen.extend(netlink::dump(&self::request(request), |entry| match entry.inner {
            NetfilterMessageInner::NfTables(message) => lasting(message, table),
            _ => None,
        })?);
    }
    Ok(seen)
}

/// What of a message of this table stays the same for as long as nobody changes it.
fn lasting(message: NfTablesMessage, table: &str) -> Option<NfTablesMessage> {
    match message {
        NfTablesMessage::NewTable(mut message) => {
            let kept = |attribute: &TableAttribute| {
                matches!(attribute, TableAttribute::Name(_) | TableAttribute::Flags(_))
            };
            message.attributes.retain(kept);
            let ours = message.attributes.contains(&TableAttribute::Name(table.to_owned()));
            ours.then_some(NfTablesMessage::NewTable(message))
        }
        NfTablesMessage::NewChain(mut message) => {
            let passing = |attribute: &ChainAttribute| {
                matches!(attribute, ChainAttribute::Handle(_) | ChainAttribute::Use(_))
            };
            message.attributes.retain(|attribute| !passing(attribute));
            let ours = message.attributes.contains(&ChainAttribute::Table(table.to_owned()));
            ours.then_some(NfTablesMessage::NewChain(message))
        }
        NfTablesMessage::NewRule(mut message) => {
            let passing = |attribute: &RuleAttribute| {
                matches!(attribute, RuleAttribute::Handle(_) | RuleAttribute::Position(_))
            };
            message.attributes.retain(|attribute| !passing(attribute));
            counters(&mut message).for_each(Vec::clear);
            let ours = message.attributes.contains(&RuleAttribute::Table(table.to_owned()));
            ours.then_some(NfTablesMessage::NewRule(message))
        }
        _ => None,
    }
}

/// How many frames each chain of a table has dropped.
pub(super) fn dropped(table: &str) -> io::Result<Vec<(String, u64)>> {
    netlink::dump(&request(rules_of(table)), |entry| match entry.inner {
        NetfilterMessageInner::NfTables(NfTablesMessage::NewRule(mut rule)) => {
            let of_table = rule.attributes.contains(&RuleAttribute::Table(table.to_owned()));
            let chain = rule.attributes.iter().find_map(|attribute| match attribute {
                RuleAttribute::Chain(chain) => Some(chain.clone()),
                _ => None,
            });
            let packets = counters(&mut rule).find_map(|attributes| packets(attributes));
            chain.zip(packets).filter(|_| of_table)
        }
        _ => None,
    })
}

fn rules_of(table: &str) -> NfTablesMessage {
    NfTablesMessage::GetRule(RuleMessage { attributes: vec![RuleAttribute::Table(table.to_owned())] })
}

/// What the counters of a rule say.
fn counters(rule: &mut RuleMessage) -> impl Iterator<Item = &mut Vec<DefaultNla>> {
    let expressions = rule.attributes.iter_mut().filter_map(|attribute| match attribute {
        RuleAttribute::Expressions(expressions) => Some(expressions),
        _ => None,
    });
    let attributes = expressions.flatten().filter_map(|expression| match expression {
        ListAttribute::Element(attributes) => Some(attributes),
        _ => None,
    });
    attributes.flatten().filter_map(|attribute| match attribute {
        ExpressionAttribute::Data(Expressions::Other { expression_type, attributes }) => {
            (expression_type == COUNTER).then_some(attributes)
        }
        _ => None,
    })
}

fn packets(counter: &[DefaultNla]) -> Option<u64> {
    let count = counter.iter().find(|attribute| attribute.kind() == COUNTER_PACKETS)?;
    let mut value = [0; 8];
    (count.value_len() == value.len()).then(|| count.emit_value(&mut value))?;
    Some(u64::from_be_bytes(value))
}
