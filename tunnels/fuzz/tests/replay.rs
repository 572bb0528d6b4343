//! Every target over its whole corpus, without a fuzzer.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use adit_fuzz::TARGETS;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The entries of a folder, without what follows a dot in their names.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let path = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().path();
    entries.map(|entry| path(entry).file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

fn targets() -> BTreeSet<String> {
    TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect()
}

/// Says which file a panic was over.
struct Over<'a>(&'a Path);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("over {}", self.0.display());
        }
    }
}

fn replay(name: &str) {
    let (_, target) = TARGETS.iter().find(|(other, _)| *other == name).unwrap();
    let corpus = folder("corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 3, "{} files are no corpus", files.len());
    for file in &files {
        let over = Over(file);
        target(&std::fs::read(file).unwrap());
        drop(over);
    }
    target(&[]);
}

/// A test for each target, so that they run beside one another.
macro_rules! replayed {
    ($($name:ident),*) => {
        const REPLAYED: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*
    };
}

replayed!(
    aead_batch,
    config,
    datapath_inward,
    datapath_link,
    datapath_outward,
    enrolment_certificate,
    enrolment_request,
    macsec_agreement,
    macsec_receive,
    noise_cookie,
    noise_responder,
    packet_coalesce,
    packet_coalesce_frames,
    packet_ip,
    packet_segment,
    packet_segment_frame,
    quick,
    tls_answer,
    tls_client_hello,
    tls_proxy,
    wireguard_allowed_ips,
    wireguard_handshake,
    wireguard_message,
    wireguard_tunnel,
    wireguard_uapi
);

#[test]
fn every_target_has_a_corpus_a_binary_and_a_test_and_nothing_else_has_one() {
    assert_eq!(names(&folder("corpus")), targets());
    assert_eq!(names(&folder("fuzz_targets")), targets());
    assert_eq!(REPLAYED.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(), targets());
    let manifest = std::fs::read_to_string(folder("Cargo.toml")).unwrap();
    assert!(targets().iter().all(|name| manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\""))));
}

#[test]
fn corpora_stay_small() {
    let mut total = 0;
    for name in targets() {
        for entry in std::fs::read_dir(folder("corpus").join(name)).unwrap() {
            let entry = entry.unwrap();
            let len = entry.metadata().unwrap().len();
            assert!(len < 70_000, "{}", entry.path().display());
            total += len;
        }
    }
    assert!(total < 1_500_000, "{total} bytes in all");
}
