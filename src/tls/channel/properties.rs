//! What a client of rustls says, cut, damaged and mixed with changes of keys.

use std::io::{Read, Write};

use proptest::collection::vec;
use proptest::prelude::*;
use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 as GCM12,
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 as CHACHA12, TLS13_AES_128_GCM_SHA256 as GCM13,
    TLS13_CHACHA20_POLY1305_SHA256 as CHACHA13,
};
use rustls::{ClientConnection, SupportedCipherSuite};

use super::*;
use crate::tls::record::HEADER;
use crate::tls::test_link::{linked, sealed, sent, show};

/// What one side does.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// The client says so many bytes.
    Say(usize),
    /// The client changes its key, and asks for one of ours. Nothing under TLS 1.2.
    Renew,
    /// We say so many bytes.
    Answer(usize),
}

/// What is done to a stream of records on its way.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Cut(usize),
    Flip(usize, u8),
    Drop(usize),
    Repeat(usize),
    Swap(usize),
    /// A fatal alert in clear, between two records.
    Alert(usize),
    /// Bytes of no meaning, likewise.
    Noise(usize, [u8; 7]),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let length = prop_oneof![1_usize..300, 16_300_usize..16_500, 1_usize..40_000];
    vec(
        prop_oneof![
            3 => length.clone().prop_map(Act::Say),
            1 => Just(Act::Renew),
            2 => length.prop_map(Act::Answer)
        ],
        1..10,
    )
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (0_usize..100_000).prop_map(Damage::Cut),
        (0_usize..100_000, 1_u8..).prop_map(|(at, mask)| Damage::Flip(at, mask)),
        (0_usize..8).prop_map(Damage::Drop),
        (0_usize..8).prop_map(Damage::Repeat),
        (0_usize..8).prop_map(Damage::Swap),
        (0_usize..8).prop_map(Damage::Alert),
        (0_usize..8, any::<[u8; 7]>()).prop_map(|(at, noise)| Damage::Noise(at, noise)),
    ]
}

/// The records of a stream, each with its header.
fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while let Some(length) = record_length(bytes).unwrap() {
        let (record, rest) = bytes.split_at(length);
        found.push(record.to_vec());
        bytes = rest;
    }
    found
}

impl Damage {
    fn to(self, stream: &[u8]) -> Vec<u8> {
        let mut all = records(stream);
        let count = all.len();
        match self {
            Self::Cut(at) => return stream[..at % (stream.len() + 1)].to_vec(),
            Self::Flip(at, mask) => {
                let mut bytes = stream.to_vec();
                bytes[at % stream.len()] ^= mask;
                return bytes;
            }
            Self::Drop(at) => drop(all.remove(at % count)),
            Self::Repeat(at) => all.insert(at % count, all[at % count].clone()),
            Self::Swap(at) => all.swap(at % count, (at + 1) % count),
            Self::Alert(at) => all.insert(at % (count + 1), vec![ALERT, 3, 3, 0, 2, 2, 40]),
            Self::Noise(at, noise) => all.insert(at % (count + 1), noise.to_vec()),
        }
        all.concat()
    }
}

/// What a relay does: opens what came in pieces of these lengths, over and over. The plaintext, and how it ended.
fn open_all(channel: &mut Channel, stream: &[u8], cuts: &[usize]) -> (Vec<u8>, Result<bool, RecordError>) {
    let (mut text, mut carry, mut at) = (Vec::new(), Vec::new(), 0);
    for cut in cuts.iter().cycle() {
        let end = stream.len().min(at + cut);
        carry.extend_from_slice(&stream[at..end]);
        match channel.open(&mut carry) {
            Err(error) => return (text, Err(error)),
            Ok(opened) => {
                assert!(opened.taken <= carry.len() && opened.text.end <= carry.len());
                text.extend_from_slice(&carry[opened.text]);
                carry.drain(..opened.taken);
                if opened.closed {
                    return (text, Ok(true));
                }
            }
        }
        at = end;
        if at == stream.len() {
            break;
        }
    }
    (text, Ok(false))
}

fn content(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + seed) as u8).collect()
}

/// Says something, and hands out its records.
fn say(client: &mut ClientConnection, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in data.chunks(CONTENT) {
        client.writer().write_all(piece).unwrap();
        bytes.extend(sent(client));
    }
    bytes
}

/// What a client reads of these bytes until it has had enough of them.
fn heard(client: &mut ClientConnection, bytes: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    for piece in bytes.chunks(1_000) {
        let shown = show(client, piece);
        // It fails when there is no more for now.
        let _ = client.reader().read_to_end(&mut data);
        if shown.is_err() {
            break;
        }
    }
    data
}

fn suite(number: usize) -> SupportedCipherSuite {
    [GCM13, CHACHA13, GCM12, CHACHA12][number % 4]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_both_say_arrives_however_it_is_cut(
        acts in acts(), number in 0_usize..4, cuts in vec(1_usize..5_000, 1..20), close in any::<bool>(),
    ) {
        let (mut client, mut channel) = linked(suite(number), usize::MAX);
        for (seed, act) in acts.into_iter().enumerate() {
            match act {
                Act::Say(length) => {
                    let data = content(length, seed);
                    let stream = say(&mut client, &data);
                    prop_assert_eq!(open_all(&mut channel, &stream, &cuts), (data, Ok(false)));
                }
                Act::Renew if channel.is_tls13() => client.refresh_traffic_keys().unwrap(),
                Act::Renew => {}
                Act::Answer(length) => {
                    let data = content(length, seed);
                    if channel.wants_update() {
                        let mut record = [0; 64];
                        let length = channel.renew(&mut record).unwrap();
                        show(&mut client, &record[..length]).unwrap();
                    }
                    let bytes = sealed(&mut channel, &data);
                    prop_assert_eq!(heard(&mut client, &bytes), data);
                }
            }
        }
        if close {
            client.send_close_notify();
            let stream = sent(&mut client);
            prop_assert_eq!(open_all(&mut channel, &stream, &cuts), (Vec::new(), Ok(true)));
        }
    }

    /// Never anything else than the beginning of what was said, and never all of it with an end that was not said.
    #[test]
    fn of_a_damaged_stream_only_what_came_before_the_damage_is_opened(
        lengths in vec(prop_oneof![1_usize..200, 16_000_usize..17_000], 1..6), number in 0_usize..4,
        renewals in 0_usize..4, damage in damage(), cuts in vec(1_usize..5_000, 1..20),
    ) {
        let (mut client, mut channel) = linked(suite(number), usize::MAX);
        let (mut said, mut stream) = (Vec::new(), Vec::new());
        for (seed, length) in lengths.into_iter().enumerate() {
            if seed < renewals && channel.is_tls13() {
                client.refresh_traffic_keys().unwrap();
            }
            let data = content(length, seed);
            stream.extend(say(&mut client, &data));
            said.extend(data);
        }
        client.send_close_notify();
        stream.extend(sent(&mut client));
        let damaged = damage.to(&stream);
        let (text, ended) = open_all(&mut channel, &damaged, &cuts);
        prop_assert!(said.starts_with(&text), "{damage:?}: {} bytes of {}", text.len(), said.len());
        let minor = matches!(damage, Damage::Flip(at, _) if record_offset(&stream, at % stream.len()) == 2);
        if damaged != stream && ended == Ok(true) {
            // The end that was said, and all before it: what was damaged came behind it, or says nothing under TLS 1.2.
            let behind = damaged.starts_with(&stream);
            prop_assert!(text == said && (behind || minor && !channel.is_tls13()), "{damage:?}");
        }
        if damaged == stream {
            prop_assert_eq!((text, ended), (said, Ok(true)));
        }
    }

    /// The other way about: what we seal, rustls refuses as soon as it is not as we sealed it.
    #[test]
    fn a_client_opens_nothing_of_ours_that_was_damaged(
        lengths in vec(1_usize..20_000, 1..5), number in 0_usize..4, damage in damage(),
    ) {
        let (mut client, mut channel) = linked(suite(number), usize::MAX);
        let (mut said, mut stream) = (Vec::new(), Vec::new());
        for (seed, length) in lengths.into_iter().enumerate() {
            let data = content(length, seed);
            stream.extend(sealed(&mut channel, &data));
            said.extend(data);
        }
        let heard = heard(&mut client, &damage.to(&stream));
        prop_assert!(said.starts_with(&heard), "{damage:?}: {} bytes of {}", heard.len(), said.len());
    }

    /// Records that are authentic, of any type and content: taken or refused, and nothing panics.
    #[test]
    fn what_an_authentic_client_makes_up_is_taken_or_refused(
        made in vec((1_u8.., vec(any::<u8>(), 0..9)), 1..40), number in 0_usize..4,
    ) {
        let (client, mut channel) = linked(suite(number), usize::MAX);
        let mut peer = Half::new(client.dangerous_extract_secrets().unwrap().tx, suite(number)).unwrap();
        let mut quiet = 0;
        for (kind, content) in made {
            let mut record = vec![0; peer.head() + content.len() + peer.tail()];
            let head = peer.head();
            record[head..head + content.len()].copy_from_slice(&content);
            peer.seal(kind, &mut record).unwrap();
            let opened = channel.open(&mut record);
            match (kind, content.as_slice()) {
                (DATA, []) => quiet += 1,
                (DATA, _) => quiet = 0,
                (ALERT, [_, CLOSE_NOTIFY]) => {
                    prop_assert!(opened.unwrap().closed);
                    return Ok(());
                }
                (ALERT, [_, USER_CANCELED]) => quiet += 1,
                (ALERT, [_, NO_RENEGOTIATION]) if !channel.is_tls13() => quiet += 1,
                (ALERT, [_, other]) => {
                    prop_assert_eq!(opened, Err(RecordError::Alert(*other)));
                    return Ok(());
                }
                // A change of keys, which this peer does not make, has five bytes; all else must not come.
                _ => {
                    prop_assert!(opened.is_err() || content.starts_with(&KEY_UPDATE), "{kind} {content:?}");
                    return Ok(());
                }
            }
            if quiet > usize::from(PATIENCE) {
                prop_assert_eq!(opened, Err(RecordError::Idle));
                return Ok(());
            }
            prop_assert_eq!(&record[opened.unwrap().text], &content[..if kind == DATA { content.len() } else { 0 }]);
        }
    }
}

/// Where in its record a byte of a stream is.
fn record_offset(stream: &[u8], at: usize) -> usize {
    let mut start = 0;
    for record in records(stream) {
        if at < start + record.len() {
            return at - start;
        }
        start += record.len();
    }
    at.saturating_sub(start).min(HEADER)
}
