//! Our records against those of rustls.

use std::io::{Read, Write};

use rustls::ClientConnection;
use rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;
use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 as GCM12, TLS13_AES_128_GCM_SHA256 as GCM13,
};

use super::*;
use crate::tls::test_link::{linked, sealed, sent, show};

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// What a client reads in `bytes`, which come in pieces: it keeps no more than a record.
fn heard(client: &mut ClientConnection, bytes: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    for piece in bytes.chunks(1_000) {
        show(client, piece).unwrap();
        // It fails when there is no more for now.
        let _ = client.reader().read_to_end(&mut data);
    }
    data
}

/// What a client says, in the bytes of one or more records.
fn say(client: &mut ClientConnection, data: &[u8]) -> Vec<u8> {
    client.writer().write_all(data).unwrap();
    sent(client)
}

#[test]
fn every_suite_reads_and_writes_as_rustls_does() {
    for suite in ALL_CIPHER_SUITES.iter().filter(|suite| !format!("{suite:?}").contains("RSA")) {
        let (mut client, mut channel) = linked(*suite, usize::MAX);
        for length in [1, 100, CONTENT, 40_000] {
            let data = pattern(length);
            assert_eq!(heard(&mut client, &sealed(&mut channel, &data)), data, "{suite:?}");

            let mut bytes = say(&mut client, &data);
            let opened = channel.open(&mut bytes).unwrap();
            assert_eq!(&bytes[opened.text], data, "{suite:?}");
            assert_eq!((opened.taken, opened.closed), (bytes.len(), false), "{suite:?}");
        }
    }
}

#[test]
fn a_handshake_may_come_byte_by_byte() {
    for suite in [GCM13, GCM12] {
        linked(suite, 1);
    }
}

#[test]
fn the_beginning_of_a_record_waits_for_the_rest() {
    let (mut client, mut channel) = linked(GCM13, usize::MAX);
    let mut bytes = say(&mut client, b"first");
    let first = bytes.len();
    bytes.extend(say(&mut client, b"second"));
    for length in first..bytes.len() {
        let (mut client, mut channel) = linked(GCM13, usize::MAX);
        let mut bytes = say(&mut client, b"first");
        bytes.extend(say(&mut client, b"second"));
        let opened = channel.open(&mut bytes[..length]).unwrap();
        assert_eq!((&bytes[opened.text], opened.taken), (&b"first"[..], first));
        let opened = channel.open(&mut bytes[first..]).unwrap();
        assert_eq!(&bytes[first..][opened.text], b"second");
    }
    assert_eq!(channel.open(&mut bytes[..4]).unwrap(), Opened::default());
}

#[test]
fn a_record_that_was_changed_is_refused() {
    for suite in [GCM13, GCM12] {
        let (mut client, _) = linked(suite, usize::MAX);
        let length = say(&mut client, b"hello").len();
        for at in 0..length {
            let (mut client, mut channel) = linked(suite, usize::MAX);
            let mut bytes = say(&mut client, b"hello");
            bytes[at] ^= 1;
            // A longer record would only be waited for.
            if at != 3 && at != 4 {
                // The lower half of the version is the header's, and with it authenticated under TLS 1.3 alone.
                let ignored = at == 2 && suite == GCM12;
                assert_eq!(channel.open(&mut bytes).is_err(), !ignored, "{suite:?}, byte {at}");
            }
        }
    }
}

#[test]
fn a_record_that_comes_twice_is_refused() {
    for suite in [GCM13, GCM12] {
        let (mut client, mut channel) = linked(suite, usize::MAX);
        let mut bytes = say(&mut client, b"hello");
        let mut again = bytes.clone();
        channel.open(&mut bytes).unwrap();
        assert_eq!(channel.open(&mut again), Err(RecordError::Auth));
    }
}

#[test]
fn close_notify_ends_the_stream_and_nothing_after_it_is_read() {
    for suite in [GCM13, GCM12] {
        let (mut client, mut channel) = linked(suite, usize::MAX);
        let mut bytes = say(&mut client, b"last");
        client.send_close_notify();
        bytes.extend(sent(&mut client));
        let all = bytes.len();
        bytes.extend(pattern(50));
        let opened = channel.open(&mut bytes).unwrap();
        assert_eq!((&bytes[opened.text], opened.taken, opened.closed), (&b"last"[..], all, true));

        let mut record = [0; 64];
        let length = channel.close(&mut record).unwrap();
        show(&mut client, &record[..length]).unwrap();
        assert_eq!(client.reader().read(&mut [0; 1]).unwrap(), 0);
    }
}

#[test]
fn a_new_key_that_the_client_asks_for_comes_before_the_next_data() {
    let (mut client, mut channel) = linked(GCM13, usize::MAX);
    for round in 0..3 {
        client.refresh_traffic_keys().unwrap();
        let mut bytes = say(&mut client, b"after");
        let opened = channel.open(&mut bytes).unwrap();
        assert_eq!(&bytes[opened.text], b"after");
        assert!(channel.wants_update(), "round {round}");
        let mut record = [0; 64];
        let length = channel.renew(&mut record).unwrap();
        assert!(!channel.wants_update());
        show(&mut client, &record[..length]).unwrap();
        assert_eq!(heard(&mut client, &sealed(&mut channel, b"too")), b"too");
    }
}

#[test]
fn a_key_is_changed_before_it_is_used_up() {
    let (mut client, mut channel) = linked(GCM13, usize::MAX);
    channel.sealing.limit_to(100);
    for round in 0..300 {
        if channel.wants_update() {
            let mut record = [0; 64];
            let length = channel.renew(&mut record).unwrap();
            channel.sealing.limit_to(100);
            show(&mut client, &record[..length]).unwrap();
        }
        assert_eq!(heard(&mut client, &sealed(&mut channel, b"x")), b"x", "round {round}");
    }
}

#[test]
fn a_key_that_cannot_be_changed_seals_no_more_than_it_may() {
    let (_, mut channel) = linked(GCM12, usize::MAX);
    channel.sealing.limit_to(3);
    let mut sealed = 0;
    while channel.seal(&mut [0; 64], 1).is_ok() {
        sealed += 1;
    }
    // Number 0 was the handshake's.
    assert_eq!(sealed, 2);
    assert!(!channel.wants_update());
}

#[test]
fn nobody_can_keep_us_busy_with_records_that_carry_nothing() {
    let (mut client, mut channel) = linked(GCM13, usize::MAX);
    let outcome = (0..=PATIENCE).try_for_each(|_| {
        client.refresh_traffic_keys().unwrap();
        channel.open(&mut sent(&mut client)).map(|_| ())
    });
    assert_eq!(outcome, Err(RecordError::Idle));
}

#[test]
fn what_is_wrong_is_told() {
    let (mut client, mut channel) = linked(GCM13, usize::MAX);
    let mut record = [0; 64];
    let length = channel.complain(RecordError::Auth, &mut record).unwrap();
    let told = show(&mut client, &record[..length]);
    assert_eq!(told, Err(rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac)));
}

#[test]
fn an_alert_of_the_client_is_the_end() {
    let (mut client, mut channel) = linked(GCM13, usize::MAX);
    // A record of ours comes back: the client cannot open it and says so.
    let mut bytes = say(&mut client, b"x");
    assert!(show(&mut client, &bytes.clone()).is_err());
    channel.open(&mut bytes).unwrap();
    assert_eq!(channel.open(&mut sent(&mut client)), Err(RecordError::Alert(BAD_RECORD_MAC)));
}

proptest::proptest! {
    /// Whatever comes, it is refused and nothing panics.
    #[test]
    fn noise_is_no_record(noise in proptest::collection::vec(0_u8.., 0..200), tls12 in proptest::bool::ANY) {
        let suite = if tls12 { GCM12 } else { GCM13 };
        let (_, mut channel) = linked(suite, usize::MAX);
        let mut bytes = [&[23, 3, 3, 0, noise.len() as u8][..], &noise].concat();
        proptest::prop_assert!(channel.open(&mut bytes).is_err());
    }
}
