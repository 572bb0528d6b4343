//! Handshakes recorded elsewhere.

use std::collections::HashMap;

use serde::Deserialize;
use snow::params::NoiseParams;
use snow::resolvers::CryptoResolver;
use snow::{Builder, HandshakeState};

use super::{PAYLOAD, Responder, builder, split};
use crate::mac::MacKey;
use crate::resolver::Resolver;
use crate::{AES_256_GCM, PresharedKey, PrivateKey, WIREGUARD};

fn hex(text: &str) -> Vec<u8> {
    base16ct::mixed::decode_vec(text).unwrap()
}

/// The `name = value` lines of a section of the recording; the part ahead of the first is `""`.
fn section<'a>(text: &'a str, name: &str) -> HashMap<&'a str, &'a str> {
    let mut current = "";
    let mut found = HashMap::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix('[') {
            current = title.trim_end_matches(']');
        } else if let Some((key, value)) = line.split_once(" = ")
            && current == name
        {
            found.entry(key).or_insert(value);
        }
    }
    found
}

/// A kernel began this handshake, and took the answer.
#[test]
fn a_handshake_begun_by_a_kernel_is_answered_as_recorded() {
    let text = include_str!("../../vectors/kernel-wireguard.txt");
    let keys = section(text, "");
    let initiation = section(text, "initiation, kernel");
    let response = section(text, "response, reference");
    let private = PrivateKey::from_hex(keys["responder_static_private"]).unwrap();
    let kernel = PrivateKey::from_hex(keys["initiator_static_private"]).unwrap().public();
    assert_eq!(kernel.to_hex(), initiation["peer_static"]);

    // Type and sender index, 8 bytes; then Noise; then both MACs.
    let message = hex(initiation["message"]);
    MacKey::new(WIREGUARD.mac1_label, &private.public()).verify_mac1(&message).unwrap();
    let ephemeral = hex(keys["responder_ephemeral_private"]);
    let builder = builder(&WIREGUARD, &private).unwrap();
    let builder = builder.fixed_ephemeral_key_for_testing_only(&ephemeral);
    let mut stamp = [0; PAYLOAD];
    let (responder, remote) = Responder::read(builder, &message[8..116], &mut stamp).unwrap();
    assert_eq!(remote, kernel);
    assert_eq!(stamp[..], hex(initiation["timestamp"]));

    // Type, sender index and receiver index, 12 bytes.
    let recorded = hex(response["message"]);
    let mut answer = recorded.clone();
    answer[12..].fill(0);
    let preshared = PresharedKey::from_hex(keys["psk"]).unwrap();
    let split = responder.respond(&preshared, &mut answer[12..60]).unwrap();
    MacKey::new(WIREGUARD.mac1_label, &kernel).stamp_mac1(&mut answer).unwrap();
    assert_eq!(answer, recorded);
    assert_eq!(split.receive[..], hex(response["initiator_sends_with"]));
    assert_eq!(split.send[..], hex(response["responder_sends_with"]));
}

/// One vector of `cacophony-ikpsk2.json`, in the fields that cacophony gives it.
#[derive(Deserialize)]
struct Vector {
    protocol_name: String,
    init_prologue: String,
    init_psks: [String; 1],
    init_static: String,
    init_ephemeral: String,
    init_remote_static: String,
    resp_prologue: String,
    resp_psks: [String; 1],
    resp_static: String,
    resp_ephemeral: String,
    handshake_hash: String,
    messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    payload: String,
    ciphertext: String,
}

/// The file, whose first field tells where it is from.
#[derive(Deserialize)]
struct File {
    vectors: Vec<Vector>,
}

impl Vector {
    fn party(&self, initiator: bool) -> HandshakeState {
        let [prologue, private, ephemeral, psk] = if initiator {
            [&self.init_prologue, &self.init_static, &self.init_ephemeral, &self.init_psks[0]]
        } else {
            [&self.resp_prologue, &self.resp_static, &self.resp_ephemeral, &self.resp_psks[0]]
        }
        .map(|text| hex(text));
        let remote = hex(&self.init_remote_static);
        let psk = psk.try_into().unwrap();
        let builder = Builder::with_resolver(self.protocol_name.parse().unwrap(), Box::new(Resolver))
            .prologue(&prologue)
            .and_then(|builder| builder.local_private_key(&private))
            .and_then(|builder| builder.psk(2, &psk))
            .unwrap()
            .fixed_ephemeral_key_for_testing_only(&ephemeral);
        if initiator {
            builder.remote_public_key(&remote).unwrap().build_initiator().unwrap()
        } else {
            builder.build_responder().unwrap()
        }
    }

    fn run(&self) {
        let (mut sender, mut receiver) = (self.party(true), self.party(false));
        for message in &self.messages[..2] {
            let (mut wire, mut payload) = ([0; 256], [0; 256]);
            let written = sender.write_message(&hex(&message.payload), &mut wire).unwrap();
            assert_eq!(wire[..written], hex(&message.ciphertext), "{}", self.protocol_name);
            let read = receiver.read_message(&wire[..written], &mut payload).unwrap();
            assert_eq!(payload[..read], hex(&message.payload), "{}", self.protocol_name);
            std::mem::swap(&mut sender, &mut receiver);
        }
        assert_eq!(sender.get_handshake_hash(), hex(&self.handshake_hash));
        assert_eq!(receiver.get_handshake_hash(), hex(&self.handshake_hash));
        assert_eq!(split(&mut sender), split(&mut receiver));
        self.check_transport(sender);
    }

    /// The messages under the split keys, which alternate between the two directions.
    fn check_transport(&self, mut state: HandshakeState) {
        let (forth, back) = split(&mut state);
        for (n, message) in self.messages.iter().enumerate().skip(2) {
            let key = if n % 2 == 0 { &forth } else { &back };
            let params: NoiseParams = self.protocol_name.parse().unwrap();
            let mut cipher = Resolver.resolve_cipher(&params.cipher).unwrap();
            cipher.set(key);
            let mut wire = [0; 256];
            let written = cipher.encrypt((n / 2 - 1) as u64, &[], &hex(&message.payload), &mut wire);
            assert_eq!(wire[..written], hex(&message.ciphertext), "{} {n}", self.protocol_name);
        }
    }
}

#[test]
fn the_handshake_and_its_keys_are_those_of_cacophony() {
    let file: File = serde_json::from_str(include_str!("../../vectors/cacophony-ikpsk2.json")).unwrap();
    let names: Vec<_> = file.vectors.iter().map(|vector| &vector.protocol_name[..]).collect();
    assert_eq!(names, [WIREGUARD.noise, "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2b", AES_256_GCM.noise]);
    file.vectors.iter().for_each(Vector::run);
}
