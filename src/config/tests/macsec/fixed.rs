//! Keys that stay.

use std::sync::Arc;

use adit_macsec::{An, ReceiveKey, Sak, SecY, Ssci, TransmitKey};

use super::*;
use crate::config::macsec::{Association, Static};

const SALT: &str = "0c0d0e0f1011121314151617";

/// A link with static keys, these lines of its own, and the other tables.
fn fixed(lines: &str, tables: &str) -> String {
    format!(
        "[macsec.up]\nlink = \"eth1\"\nmac = \"02:00:00:00:00:01\"\nkeys = \"static\"\nallow_static = true\n{lines}\n{tables}"
    )
}

/// A key in a file, of a suite with extended packet numbers.
fn xpn(file: &str, ssci: u32, salt: &str) -> String {
    format!("{{ key_file = \"{file}\", ssci = {ssci}, salt = \"{salt}\" }}")
}

/// The same of another suite.
fn plain(file: &str) -> String {
    format!("{{ key_file = \"{file}\" }}")
}

/// A link with these keys: ours, and two of one other station.
fn keys(cipher: &str, transmit: &str, receive: [&str; 2]) -> String {
    let [zero, one] = receive;
    fixed(
        &format!("cipher = \"{cipher}\"\ntransmit = {transmit}"),
        &format!("[macsec.up.receive.west]\nsci = \"02:00:00:00:00:02/1\"\nsa.0 = {zero}\nsa.3 = {one}\n"),
    )
}

fn good() -> String {
    keys("gcm-aes-xpn-256", &xpn("t.sak", 1, SALT), [&xpn("a.sak", 2, SALT), &xpn("b.sak", 2, SALT)])
}

#[track_caller]
fn statics(text: &str) -> Static {
    let found = one(text);
    match found.keys {
        Keys::Static(found) => found,
        Keys::Noise(_) => panic!("{found:?}"),
    }
}

#[test]
fn channels_have_associations_by_their_numbers() {
    let found = statics(&good());
    assert_eq!((found.an.number(), found.transmit.key.as_bytes()), (0, &[b't'; 32][..]));
    let xpn = found.transmit.xpn.unwrap();
    assert_eq!((xpn.ssci, xpn.salt[0], xpn.salt[11]), (Ssci(1), 0x0c, 0x17));
    let west = &found.receive["west"];
    assert_eq!(west.sci, Sci::new([2, 0, 0, 0, 0, 2], 1));
    let associations: Vec<_> =
        west.associations.iter().map(|(an, sa)| (an.number(), sa.key.as_bytes()[0])).collect();
    assert_eq!(associations, [(0, b'a'), (3, b'b')]);
    assert_eq!(one(&good()).weaknesses(), [Weakness::StaticKeys]);
    let text =
        keys("gcm-aes-128", "{ an = 2, key_file = \"t128.sak\" }", [&plain("a128.sak"), &plain("b128.sak")]);
    let found = statics(&text);
    assert_eq!((found.an.number(), found.transmit.xpn, found.transmit.key.as_bytes().len()), (2, None, 16));
}

#[test]
fn static_keys_take_a_word() {
    let text = good().replace("allow_static = true", "allow_static = false");
    refused(&text, "macsec.up.keys", "\"static\"", "allow_static = true");
    let text = good().replace("allow_static = true\n", "");
    refused(&text, "macsec.up.keys", "\"static\"", "allow_static = true");
}

#[test]
fn keys_of_one_kind_do_not_stand_beside_those_of_the_other() {
    let text = good().replace("allow_static", &format!("peer_public_key = \"{A}\"\nallow_static"));
    let found = format!("\"{A}\", which goes with keys = \"noise\"");
    assert!(told(&text).contains("macsec.up.peer_public_key: found "), "{}", told(&text));
    assert!(told(&text).ends_with("no such key here") && !told(&text).contains(&found));
    let text = link("[macsec.up.transmit]\nkey_file = \"t.sak\"");
    refused(&text, "macsec.up.transmit", "a table, which goes with keys = \"static\"", "no such key here");
}

#[test]
fn what_is_missing_is_told() {
    let all = ["macsec.up.transmit: found nothing", "macsec.up.receive: found nothing"];
    let found = told(&fixed("", ""));
    assert_eq!(found.lines().count(), all.len(), "{found}");
    assert!(all.iter().all(|what| found.contains(what)), "{found}");
    let without = |what: &str| {
        let found = told(&good().replacen(what, "", 1));
        assert_eq!(found.lines().count(), 1, "{found}");
        found
    };
    assert!(without("key_file = \"t.sak\", ").contains("macsec.up.transmit.key_file: found nothing; allowed: a file of mode 0600 with the 64 hexadecimal digits"));
    assert!(without("ssci = 1, ").contains("macsec.up.transmit.ssci: found nothing"));
    assert!(without(&format!(", salt = \"{SALT}\"")).contains("macsec.up.transmit.salt: found nothing"));
    assert!(without("sci = \"02:00:00:00:00:02/1\"\n").contains("macsec.up.receive.west.sci: found nothing"));
    refused(
        &fixed(
            &format!("transmit = {}", xpn("t.sak", 1, SALT)),
            "[macsec.up.receive.west]\nsci = \"02:00:00:00:00:02/1\"",
        ),
        "macsec.up.receive.west.sa",
        "nothing",
        "sa.0 = { key_file",
    );
    let text = good().replace("mac = \"02:00:00:00:00:01\"\n", "");
    read(&text).unwrap();
    refused(
        &text.replace("link = \"eth1\"", "udp.listen = 4"),
        "macsec.up.mac",
        "nothing",
        "02:00:5e:10:00:01",
    );
}

#[test]
fn a_key_is_as_long_as_its_cipher_wants() {
    for (cipher, right, wrong, digits) in
        [("gcm-aes-128", "t128.sak", "t.sak", "64"), ("gcm-aes-256", "t.sak", "t128.sak", "32")]
    {
        let other = right.replace('t', "a");
        let receive = [&*plain(&other), &*plain(&right.replace('t', "b"))];
        read(&keys(cipher, &plain(right), receive)).unwrap();
        let found = format!("\"{wrong}\", which holds a key of {digits} digits");
        refused(&keys(cipher, &plain(wrong), receive), "macsec.up.transmit.key_file", &found, cipher);
    }
    let found = "\"t.txt\", which holds no key";
    refused(&good().replace("t.sak", "t.txt"), "macsec.up.transmit.key_file", found, "hexadecimal digits");
}

#[test]
fn short_identifiers_and_salts_are_for_extended_packet_numbers_alone() {
    let text = keys("gcm-aes-256", &xpn("t.sak", 1, SALT), [&plain("a.sak"), &plain("b.sak")]);
    let told = told(&text);
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(told.contains("transmit.ssci: found 1; allowed: no such key with gcm-aes-256"), "{told}");
    assert!(
        told.contains("transmit.salt: found 24 characters; allowed: no such key with gcm-aes-256"),
        "{told}"
    );
    for (wrong, found) in [("0", "0"), ("4294967296", "4294967296"), ("\"1\"", "\"1\"")] {
        let text = good().replacen("ssci = 1", &format!("ssci = {wrong}"), 1);
        refused(&text, "macsec.up.transmit.ssci", found, "from 1 to 4294967295");
    }
    for wrong in
        ["", "0c", "0c0d0e0f10111213141516", "0c0d0e0f101112131415161718", "0c0d0e0f101112131415161g"]
    {
        let text = good().replacen(SALT, wrong, 1);
        let found = format!("{} characters", wrong.len());
        refused(&text, "macsec.up.transmit.salt", &found, "24 hexadecimal digits");
    }
}

#[test]
fn what_would_use_nonces_twice_is_refused() {
    let with = |transmit: &str, zero: &str, one: &str| keys("gcm-aes-xpn-256", transmit, [zero, one]);
    let (ours, theirs, third) = (xpn("t.sak", 1, SALT), xpn("t.sak", 2, SALT), xpn("b.sak", 1, SALT));
    read(&with(&ours, &theirs, &third)).unwrap();
    refused(
        &with(&ours, &xpn("t.sak", 1, SALT), &third),
        "macsec.up.receive.west.sa.0.ssci",
        "1 for the same key, after macsec.up.transmit.ssci (line 7)",
        "another for each sender",
    );
    refused(
        &with(&ours, &xpn("t.sak", 2, &SALT.replace("0c", "0d")), &third),
        "macsec.up.receive.west.sa.0.salt",
        "another than macsec.up.transmit.salt (line 7) for the same key",
        "the same for all senders",
    );
    refused(
        &with(&ours, &xpn("b.sak", 2, SALT), &xpn("b.sak", 3, SALT)),
        "macsec.up.receive.west.sa.3.key_file",
        "\"b.sak\", the same key, after macsec.up.receive.west.sa.0.key_file (line 10)",
        "a key for each association",
    );
    refused(
        &good().replace("00:02/1", "00:01/1"),
        "macsec.up.receive.west.sci",
        "\"02:00:00:00:00:01/1\", our own SCI",
        "the other station's",
    );
    let second =
        format!("[macsec.up.receive.x]\nsci = \"02:00:00:00:00:02/1\"\nsa.0 = {}\n", xpn("c.sak", 2, SALT));
    let found = "\"02:00:00:00:00:02/1\", after macsec.up.receive.west.sci (line 9)";
    refused(&(good() + &second), "macsec.up.receive.x.sci", found, "each other station");
    let second = good().replace("macsec.up", "macsec.down").replace("eth1", "eth2");
    let found = "\"t.sak\", the same key, after macsec.up.transmit.key_file (line 7)";
    refused(&(good() + &second), "macsec.down.transmit.key_file", found, "a key of its own");
}

#[test]
fn an_sci_is_an_address_and_a_port_and_the_kernels_digits_are_translated() {
    for wrong in ["02:00:00:00:00:02", "01:00:00:00:00:02/1", "west"] {
        let text = good().replace("02:00:00:00:00:02/1", wrong);
        refused(&text, "macsec.up.receive.west.sci", &format!("\"{wrong}\""), "02:00:5e:10:00:01/1");
    }
    let text = good().replace("02:00:00:00:00:02/1", "0200000000020001");
    refused(&text, "macsec.up.receive.west.sci", "\"0200000000020001\"", "; 02:00:00:00:00:02/1 is the same");
    let text = good().replace("sa.3", "sa.4");
    refused(&text, "macsec.up.receive.west.sa.4", "\"4\"", "0 to 3");
    let two =
        format!("[macsec.up.receive.x]\nsci = \"02:00:00:00:00:03/1\"\nsa.0 = {}\n", xpn("c.sak", 2, SALT));
    read(&(good() + &two)).unwrap();
    let text = (good() + &two).replace("allow_static", "sci = \"none\"\nallow_static");
    refused(&text, "macsec.up.sci", "\"none\" with 2 receive channels", "a link has two stations");
}

#[test]
fn no_key_is_shown() {
    let digits = "00112233445566778899aabbccddeeff";
    for text in [
        good().replacen(SALT, digits, 1),
        good().replacen(&format!("\"{SALT}\""), digits, 1),
        good().replacen("key_file = \"t.sak\"", &format!("key = \"{digits}\""), 1),
        good().replacen("t.sak", digits, 1).replacen("ssci = 1", "ssci = 0", 1),
        good().replacen("02:00:00:00:00:02/1", digits, 1),
    ] {
        let told = told(&text);
        assert!(
            digits.as_bytes().windows(8).all(|part| !told.contains(str::from_utf8(part).unwrap())),
            "{told}"
        );
    }
    let shown = format!("{:?}", read(&good()).unwrap());
    assert!(!shown.contains("116, 116") && !shown.contains("7474"), "{shown}");
}

/// Builds what the daemon builds.
fn built(found: &Macsec) -> Result<(), String> {
    let Keys::Static(keys) = &found.keys else { return Err("other keys".to_owned()) };
    let sci = found.sci(Some([2, 0, 0, 0, 0, 9])).unwrap();
    let mut secy = SecY::new(found.settings(sci)).map_err(|error| error.to_string())?;
    let sak = |association: &Association| {
        let (key, salt) = (&association.key, association.xpn.as_ref().map(|xpn| &xpn.salt));
        Sak::new(key.id(), found.suite, found.protection, key.as_bytes(), salt)
            .map(Arc::new)
            .map_err(|error| error.to_string())
    };
    let ssci = |association: &Association| association.xpn.map(|xpn| xpn.ssci);
    let (sent, first) = (&keys.transmit, An::new(0).unwrap());
    let transmit = TransmitKey { sak: sak(sent)?, ssci: ssci(sent), next_pn: 1, bound: u64::MAX };
    secy.install_transmit(first, transmit).map_err(|error| error.to_string())?;
    for channel in keys.receive.values() {
        secy.add_channel(channel.sci).map_err(|error| error.to_string())?;
        for (an, received) in &channel.associations {
            let key = ReceiveKey { sak: sak(received)?, ssci: ssci(received), lowest_pn: 1 };
            secy.install_receive(channel.sci, *an, key).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// Whatever is not refused here is not refused there either.
#[test]
fn what_is_loaded_is_taken_by_the_secy() {
    let (mut loaded, mut refused) = (0, 0);
    for suite in CipherSuite::ALL {
        for (encoding, port) in
            [("included", 1), ("end-station", 1), ("end-station", 2), ("broadcast", 0), ("none", 0)]
        {
            for other in ["a", "t"] {
                for (offset, window) in [(0, 0), (30, 0), (0, u32::MAX)] {
                    for ssci in [1, 2] {
                        let bits = if suite.key_len() == 16 { "128" } else { "" };
                        let key = |name: &str, ssci| {
                            let file = format!("{name}{bits}.sak");
                            if suite.is_xpn() { xpn(&file, ssci, SALT) } else { plain(&file) }
                        };
                        let text = keys(suite.as_str(), &key("t", 1), [&key(other, ssci), &key("b", ssci)]);
                        let lines = format!(
                            "sci = \"{encoding}\"\nport = {port}\nconfidentiality_offset = {offset}\nreplay_window = {window}\nallow_static"
                        );
                        match read(&text.replacen("allow_static", &lines, 1)) {
                            Ok(config) => {
                                loaded += 1;
                                assert_eq!(built(&config.macsec["up"]), Ok(()), "{text}");
                            }
                            Err(_) => refused += 1,
                        }
                    }
                }
            }
        }
    }
    assert!(loaded > 50 && refused > 50, "{loaded} loaded, {refused} refused");
}
