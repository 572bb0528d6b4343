//! What is left of the authority when it is killed, cut off, or not alone.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Site;

/// Numbers that are no secret, the same for the same start.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// What was said to be issued is in the records, and what was said to be revoked is on the list, however often something else
/// was killed since; and openssl takes every file there is.
#[test]
fn nothing_is_half_done_or_forgotten_when_it_is_killed_at_any_moment() {
    let site = Site::new("killed");
    let mut random = Random(u64::from(std::process::id()) | 1);
    let start = Instant::now();
    site.done(&["issue", "first"]);
    let takes = start.elapsed().as_micros() as u64 * 5 / 4;
    let (mut issued, mut revoked, mut killed) = (vec!["first".to_owned()], Vec::new(), 0);
    for round in 0..60 {
        let name = format!("c{round}");
        let old = issued.iter().find(|name| !revoked.contains(*name)).cloned();
        let arguments = match &old {
            Some(old) if round % 2 == 1 => vec!["revoke", old.as_str()],
            _ => vec!["issue", name.as_str()],
        };
        let mut child = site.pki(&arguments).stderr(Stdio::null()).spawn().expect("it starts");
        std::thread::sleep(Duration::from_micros(random.below(takes)));
        // It may have ended.
        let _ = child.kill();
        match (child.wait().expect("it ended").success(), arguments[0]) {
            (false, _) => killed += 1,
            (true, "issue") => issued.push(name),
            (true, _) => revoked.extend(old),
        }
        // It reads and checks every file.
        site.list();
    }
    assert!((10..60).contains(&killed), "{killed} of 60 were killed");
    let rows = site.list();
    let rows = rows["certificates"].as_array().expect("rows");
    let state =
        |name: &String| rows.iter().find(|row| row["name"] == **name).map(|row| row["state"].as_str());
    assert!(issued.iter().all(|name| state(name).is_some()), "{issued:?}: {rows:?}");
    assert!(revoked.iter().all(|name| state(name) == Some(Some("revoked"))), "{revoked:?}: {rows:?}");
    assert!(!revoked.is_empty() && issued.len() > 2, "{revoked:?} {issued:?}");
    site.done(&["crl"]);
    for entry in fs::read_dir(site.path("pki/issued")).expect("a folder") {
        let path = entry.expect("an entry").path();
        site.openssl_agrees(&["verify", "-CAfile", "pki/ca.pem", path.to_str().expect("text")]);
    }
    let said = site.openssl_agrees(&["crl", "-in", "pki/crl.pem", "-noout", "-CAfile", "pki/ca.pem"]);
    assert!(said.contains("verify OK"), "{said}");
    let left =
        fs::read_dir(site.path("pki")).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let left: Vec<_> = left.filter(|name| name.as_encoded_bytes().starts_with(b".new")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The system kills who writes beyond a limit (SIGXFSZ): at that byte, every time.
#[test]
fn a_write_that_is_cut_off_at_any_byte_leaves_what_was_there() {
    let site = Site::new("cut");
    site.done(&["issue", "alice"]);
    let before = fs::read(site.path("pki/crl.pem")).expect("ours");
    for limit in [0, 1, 64, 200, 300] {
        for arguments in
            [&["revoke", "alice"][..], &["crl"], &["issue", "bob"], &["export", "ca", "--out", "pki/crl.pem"]]
        {
            let command = site.pki(arguments);
            let mut limited = Command::new("prlimit");
            limited.arg(format!("--fsize={limit}")).arg(command.get_program()).args(command.get_args());
            limited.env("ADIT_PKI_DIR", site.path("pki")).env("ADIT_CA_KEY", site.path("ca.key"));
            let output = limited.current_dir(&site.folder.path).output().expect("prlimit is there");
            assert!(!output.status.success(), "{limit} {arguments:?}");
            assert_eq!(fs::read(site.path("pki/crl.pem")).expect("ours"), before, "{limit} {arguments:?}");
        }
    }
    let rows = site.list();
    assert_eq!(rows["certificates"].as_array().map(Vec::len), Some(1), "{rows}");
    site.done(&["revoke", "alice"]);
    assert!(!site.verifies("alice.pem", "sslclient").0);
}

#[test]
fn two_at_once_wait_for_each_other() {
    let site = Site::new("both");
    let names: Vec<_> = (0..8).map(|number| format!("c{number}")).collect();
    site.done(&["issue", "x"]);
    let mut children: Vec<_> = names
        .iter()
        .map(|name| site.pki(&["issue", name]).stderr(Stdio::null()).spawn().expect("it starts"))
        .collect();
    children.extend((0..4).map(|_| site.pki(&["crl"]).stderr(Stdio::null()).spawn().expect("it starts")));
    for mut child in children {
        assert!(child.wait().expect("it ends").success());
    }
    let rows = site.list();
    assert_eq!(rows["certificates"].as_array().map(Vec::len), Some(9));
    assert_eq!(rows["authority"]["crl_number"].as_str(), Some("0x5"), "each list has a number of its own");
}
