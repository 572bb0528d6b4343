//! Random frames, against scapy's MACsec: what we seal is octet for octet what it seals, and each opens the other's.
//!
//! scapy has all four suites, extended packet numbers and integrity alone. It has no offsets, but can be told how much of a
//! frame is only authenticated, which is the same (`peer.py`). It knows nothing of tags in clear, windows or SecTAG rules.

mod link;

use std::io::Write;
use std::process::{Command, Stdio};

use adit_macsec::{An, Protection, Sci, SciEncoding, Settings, Ssci};
use link::{Material, WEST, opened, receiver, sealed, sender, suites};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// The Python that Debian's python3-scapy and python3-cryptography are installed for.
const PYTHON: &str = "/usr/bin/python3";

/// Frames that one run of Python is asked about.
const CASES: usize = 500;

/// A frame, and all that it is protected with.
#[derive(Clone, Debug)]
struct Case {
    key: Material,
    encoding: SciEncoding,
    sci: Sci,
    an: An,
    pn: u64,
    clear: Vec<u8>,
}

fn case() -> impl Strategy<Value = Case> {
    let key = (select(suites()), vec(any::<u8>(), 32), any::<[u8; 12]>(), any::<u32>());
    let key = key.prop_map(|((suite, protection), mut secret, salt, ssci)| {
        secret.truncate(suite.key_len());
        let xpn = suite.is_xpn();
        let (salt, ssci) = (xpn.then_some(salt), xpn.then_some(Ssci(ssci)));
        Material { secret, salt, ssci, ..Material::new(suite, protection, 1) }
    });
    let encodings = vec![
        (SciEncoding::Included, None),
        (SciEncoding::EndStation, Some(1)),
        (SciEncoding::Broadcast, Some(0)),
        (SciEncoding::PointToPoint, None),
    ];
    let frame = (any::<[u8; 12]>(), prop_oneof![vec(any::<u8>(), 2..64), vec(any::<u8>(), 2..1600)]);
    let names = (select(encodings), any::<u16>(), select(An::ALL.to_vec()), any::<u64>(), 1..64_u8);
    (key, names, frame).prop_map(|(key, ((encoding, port), any_port, an, pn, bits), (addresses, data))| {
        let clear = [&addresses[..], &data].concat();
        let address = addresses[6..].try_into().expect("six octets");
        let sci = Sci::new(address, port.unwrap_or(any_port));
        // Of every magnitude; of extended ones the last is never used.
        let bits = if key.suite.is_xpn() { bits } else { bits.min(32) };
        let pn = (pn >> (64 - bits)).max(1);
        Case { key, encoding, sci, an, pn, clear }
    })
}

impl Case {
    fn seal(&self) -> Vec<u8> {
        let settings = Settings { sci_encoding: self.encoding, ..Settings::new(self.sci) };
        sealed(sender(settings, self.an, &self.key, self.pn).port(), &self.clear)
    }

    /// For `peer.py`.
    fn line(&self, protected: &[u8]) -> String {
        let Self { key, encoding, sci, an, pn, clear } = self;
        let (encrypted, offset) = match key.protection {
            Protection::IntegrityOnly => (0, 0),
            Protection::Confidentiality(offset) => (1, offset.octets()),
        };
        let flags = match encoding {
            SciEncoding::Included => "1 0 0",
            SciEncoding::EndStation => "0 1 0",
            SciEncoding::Broadcast => "0 0 1",
            SciEncoding::PointToPoint => "0 0 0",
        };
        let hex = base16ct::lower::encode_string;
        let salt = key.salt.map_or_else(|| "-".to_owned(), |salt| hex(&salt));
        let ssci = key.ssci.map_or(0, |Ssci(ssci)| ssci);
        let (secret, clear, protected) = (hex(&key.secret), hex(clear), hex(protected));
        format!("{secret} {salt} {ssci} {sci} {an} {pn} {encrypted} {offset} {flags} {clear} {protected}\n")
    }
}

/// What `peer.py` says to these lines.
fn scapy(lines: &str) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peer.py");
    let mut command = Command::new(PYTHON);
    command.args(["-B", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut python = command.spawn().unwrap_or_else(|error| panic!("{PYTHON}: {error}"));
    let mut stdin = python.stdin.take().expect("a pipe");
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(lines.as_bytes()));
        python.wait_with_output().expect("its output")
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "netns-tests/run.sh setup installs python3-scapy and python3-cryptography\n{said}"
    );
    String::from_utf8(output.stdout).expect("hexadecimal digits")
}

#[test]
fn scapy_seals_alike_and_each_opens_what_the_other_sealed() {
    let (strategy, mut runner) = (case(), TestRunner::default());
    let mut next = || strategy.new_tree(&mut runner).expect("a case").current();
    let cases: Vec<_> = (0..CASES).map(|_| next()).collect();
    let ours: Vec<_> = cases.iter().map(Case::seal).collect();
    let lines: String = cases.iter().zip(&ours).map(|(case, ours)| case.line(ours)).collect();
    let answers = scapy(&lines);
    assert_eq!(answers.lines().count(), CASES);
    for ((case, ours), answer) in cases.iter().zip(&ours).zip(answers.lines()) {
        let (theirs, theirs_opened) = answer.split_once(' ').expect("two words");
        let hex = base16ct::lower::encode_string;
        assert_eq!(hex(ours), theirs, "{case:?}");
        assert_eq!(theirs_opened, hex(&case.clear), "{case:?}");
        let theirs = base16ct::lower::decode_vec(theirs).expect("hexadecimal digits");
        let west = receiver(Settings::new(WEST), case.sci, case.an, &case.key, case.pn);
        assert_eq!(opened(west.port(), &theirs), Ok(case.clear.clone()), "{case:?}");
    }
}
