//! The certificate authority, with openssl as the judge.

mod killed;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::fake::Folder;
use crate::{aditctl, run, told};

/// An authority in a folder of the test's own, and room for what it gives out. Its key is a file beside it, as asking for a
/// passphrase takes a second on purpose.
struct Site {
    folder: Folder,
}

impl Site {
    fn new(name: &str) -> Self {
        let site = Self { folder: Folder::new(name) };
        site.done(&["init", "--name", "Example site CA"]);
        site
    }

    fn empty(name: &str) -> Self {
        Self { folder: Folder::new(name) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path.join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("text").to_owned()
    }

    fn pki(&self, arguments: &[&str]) -> Command {
        let mut command = aditctl(&["pki"]);
        command.args(arguments).env("ADIT_PKI_DIR", self.path("pki")).env("ADIT_CA_KEY", self.path("ca.key"));
        command.current_dir(&self.folder.path);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.pki(arguments).output().expect("it starts")
    }

    /// What it printed, of something that has to succeed.
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", told(&output).2);
        told(&output).1.to_owned()
    }

    /// What it complained of, of something that has to fail.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!((told(&output).0, told(&output).1), (Some(1), ""), "{arguments:?}: {}", told(&output).2);
        told(&output).2.to_owned()
    }

    /// The answer of `list --json`.
    fn list(&self) -> serde_json::Value {
        serde_json::from_str(&self.done(&["list", "--json"])).expect("JSON")
    }

    /// What openssl prints, and whether it is content.
    fn openssl(&self, arguments: &[&str]) -> (bool, String) {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(&self.folder.path)
            .stdin(Stdio::null())
            .output()
            .expect("openssl is there");
        let (stdout, stderr) = (told(&output).1.to_owned(), told(&output).2.to_owned());
        (output.status.success(), stdout + &stderr)
    }

    fn openssl_agrees(&self, arguments: &[&str]) -> String {
        let (good, said) = self.openssl(arguments);
        assert!(good, "openssl {arguments:?}: {said}");
        said
    }

    /// Whether openssl takes a certificate for this purpose, with the revocation list looked at.
    fn verifies(&self, certificate: &str, purpose: &str) -> (bool, String) {
        fs::write(self.path("v.ca"), self.done(&["export", "ca"])).expect("ours");
        fs::write(self.path("v.crl"), self.done(&["export", "crl"])).expect("ours");
        let check = ["-x509_strict", "-crl_check", "-purpose", purpose];
        let files = ["-CAfile", "v.ca", "-CRLfile", "v.crl", certificate];
        self.openssl(&[&["verify"][..], &check, &files].concat())
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
}

#[test]
fn openssl_takes_what_is_issued_for_what_it_is_for_and_nothing_else() {
    let site = Site::new("issue");
    site.done(&[
        "issue",
        "alice",
        "--email",
        "alice@example.org",
        "--spiffe",
        "spiffe://example.org/laptop/7",
        "--dns",
        "Alice.example.org",
        "--lifetime",
        "12h",
    ]);
    site.done(&["issue", "gw", "--for", "server", "--dns", "vpn.example.org"]);
    assert!(site.verifies("alice.pem", "sslclient").0);
    assert!(!site.verifies("alice.pem", "sslserver").0);
    assert!(site.verifies("gw.pem", "sslserver").0);
    assert!(!site.verifies("gw.pem", "sslclient").0);
    let text = site.openssl_agrees(&["x509", "-in", "alice.pem", "-noout", "-text"]);
    for part in [
        "Issuer: CN = Example site CA",
        "Subject: CN = alice\n",
        "email:alice@example.org",
        "URI:spiffe://example.org/laptop/7",
        "DNS:alice.example.org",
        "ASN1 OID: prime256v1",
        "Signature Algorithm: ecdsa-with-SHA256",
        "CA:FALSE",
        "X509v3 Authority Key Identifier",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    site.openssl_agrees(&["x509", "-in", "alice.pem", "-noout", "-checkend", "43000"]);
    assert!(!site.openssl(&["x509", "-in", "alice.pem", "-noout", "-checkend", "43300"]).0);
    let of_key = site.openssl_agrees(&["pkey", "-in", "alice.key", "-pubout"]);
    assert_eq!(site.openssl_agrees(&["x509", "-in", "alice.pem", "-noout", "-pubkey"]), of_key);
    assert_eq!((mode(&site.path("alice.key")), mode(&site.path("pki"))), (0o600, 0o700));
    let ca = site.openssl_agrees(&["x509", "-in", "pki/ca.pem", "-noout", "-text"]);
    assert!(ca.contains("CA:TRUE, pathlen:0") && ca.contains("Certificate Sign, CRL Sign"), "{ca}");
}

#[test]
fn what_is_revoked_is_refused_and_lists_have_numbers_that_grow() {
    let site = Site::new("revoke");
    site.done(&["issue", "alice"]);
    site.done(&["issue", "bob"]);
    let number = |site: &Site| {
        let said = site.openssl_agrees(&[
            "crl",
            "-in",
            "pki/crl.pem",
            "-noout",
            "-crlnumber",
            "-CAfile",
            "pki/ca.pem",
        ]);
        assert!(said.contains("verify OK"), "{said}");
        let hex = said.lines().find_map(|line| line.strip_prefix("crlNumber=0x")).expect(&said).to_owned();
        u64::from_str_radix(&hex, 16).expect("hex")
    };
    assert_eq!(number(&site), 1);
    site.done(&["revoke", "alice", "--reason", "key-compromise", "--next-update", "1d"]);
    assert_eq!(number(&site), 2);
    let (good, said) = site.verifies("alice.pem", "sslclient");
    assert!(!good && said.contains("certificate revoked"), "{said}");
    assert!(site.verifies("bob.pem", "sslclient").0);
    let text = site.openssl_agrees(&["crl", "-in", "pki/crl.pem", "-noout", "-text"]);
    assert!(text.contains("Key Compromise"), "{text}");
    let again = site.run(&["revoke", "alice"]);
    assert!(told(&again).0 == Some(0) && told(&again).2.contains("is revoked already"), "{}", told(&again).2);
    assert_eq!(number(&site), 2, "nothing was to be done");
    site.done(&["crl"]);
    assert_eq!(number(&site), 3);
    assert!(!site.verifies("alice.pem", "sslclient").0, "a new list forgets nothing");
    let listed = site.list();
    let rows = listed["certificates"].as_array().expect("rows");
    assert_eq!((rows[0]["name"].as_str(), rows[0]["state"].as_str()), (Some("alice"), Some("revoked")));
    assert_eq!(rows[0]["reason"].as_str(), Some("key-compromise"));
    assert_eq!((rows[1]["name"].as_str(), rows[1]["state"].as_str()), (Some("bob"), Some("valid")));
    assert_eq!(listed["authority"]["crl_number"].as_str(), Some("0x3"));
    let serial = rows[1]["serial"].as_str().expect("a serial number");
    site.done(&["revoke", serial]);
    assert!(!site.verifies("bob.pem", "sslclient").0);
}

#[test]
fn a_new_key_is_kept_under_a_passphrase_that_is_in_no_argument() {
    let site = Site::empty("passphrase");
    fs::write(site.path("right"), "correct horse battery\n").expect("ours");
    fs::write(site.path("wrong"), "correct horse\n").expect("ours");
    fs::write(site.path("short"), "horse\n").expect("ours");
    let with = |file: &str, arguments: &[&str]| {
        let mut command = site.pki(arguments);
        command.env_remove("ADIT_CA_KEY").args(["--passphrase-file", file]);
        command.output().expect("it starts")
    };
    let short = with("short", &["init"]);
    assert!(told(&short).0 == Some(1) && told(&short).2.contains("at least 12"), "{}", told(&short).2);
    assert!(!site.path("pki").exists(), "nothing was made");
    assert_eq!(told(&with("right", &["init"])).0, Some(0));
    let kept = fs::read(site.path("pki/ca.key.age")).expect("a key");
    assert!(kept.starts_with(b"age-encryption.org/v1\n-> scrypt "));
    assert_eq!(mode(&site.path("pki/ca.key.age")), 0o600);
    let wrong = with("wrong", &["issue", "alice"]);
    assert!(
        told(&wrong).0 == Some(1) && told(&wrong).2.contains("the passphrase is wrong"),
        "{}",
        told(&wrong).2
    );
    assert!(!site.path("alice.key").exists());
    assert_eq!(told(&with("right", &["issue", "alice"])).0, Some(0));
    assert!(site.verifies("alice.pem", "sslclient").0);
    // A session of its own has no terminal to ask.
    let mut alone = Command::new("setsid");
    alone.args(["--wait", env!("CARGO_BIN_EXE_aditctl"), "pki", "issue", "bob"]).stdin(Stdio::null());
    alone.env("ADIT_PKI_DIR", site.path("pki")).env_remove("ADIT_CA_KEY").current_dir(&site.folder.path);
    let output = alone.output().expect("setsid is there");
    assert!(
        told(&output).0 == Some(1) && told(&output).2.contains("give --passphrase-file"),
        "{}",
        told(&output).2
    );
}

#[test]
fn a_terminal_is_asked_and_shows_nothing_of_the_answer() {
    let site = Site::empty("terminal");
    let program = env!("CARGO_BIN_EXE_aditctl");
    let command = format!("{program} pki --dir {} init", site.text("pki"));
    let mut child = Command::new("script")
        .args(["-q", "-e", "-c", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script is there");
    let mut keyboard = child.stdin.take().expect("a pipe");
    // It is typed once the terminal is silent, as by a person.
    let mut screen = child.stdout.take().expect("a pipe");
    let mut seen = String::new();
    for _ in 0..2 {
        wait_for_question(&mut screen, &mut seen);
        std::io::Write::write_all(&mut keyboard, b"correct horse battery\n").expect("it reads");
    }
    std::io::Read::read_to_string(&mut screen, &mut seen).expect("text");
    drop(keyboard);
    assert!(child.wait().expect("it ends").success(), "{seen}");
    assert!(!seen.contains("horse"), "{seen}");
    assert!(site.path("pki/ca.pem").exists());
}

fn wait_for_question(screen: &mut impl std::io::Read, seen: &mut String) {
    let before = seen.matches(": ").count();
    let mut byte = [0];
    while seen.matches(": ").count() == before {
        assert_eq!(screen.read(&mut byte).expect("it writes"), 1, "{seen}");
        seen.push(char::from(byte[0]));
    }
}

#[test]
fn openssl_reads_the_bundle_with_its_password_alone() {
    let site = Site::new("bundle");
    fs::write(site.path("password"), "swordfish 7\n").expect("ours");
    site.done(&["issue", "alice", "--p12", "--password-file", "password"]);
    assert!(!site.path("alice.key").exists() && !site.path("alice.pem").exists());
    let info = ["pkcs12", "-in", "alice.p12", "-passin", "file:password", "-info", "-nodes"];
    let text = site.openssl_agrees(&info);
    for part in [
        "PBES2, PBKDF2, AES-256-CBC",
        "hmacWithSHA256",
        "MAC: sha256",
        "BEGIN PRIVATE KEY",
        "CN = Example site CA",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!site.openssl(&["pkcs12", "-in", "alice.p12", "-passin", "pass:other", "-noout"]).0);
    assert_eq!(mode(&site.path("alice.p12")), 0o600);
    let output = site.run(&["issue", "bob", "--p12", "--generate-password"]);
    let password = told(&output).2.rsplit(' ').next().expect("a password").trim().to_owned();
    assert_eq!(password.len(), 29, "{}", told(&output).2);
    fs::write(site.path("generated"), &password).expect("ours");
    site.openssl_agrees(&["pkcs12", "-in", "bob.p12", "-passin", "file:generated", "-noout"]);
    site.done(&["issue", "carol"]);
    let key = ["--key", "carol.key", "--password-file", "password"];
    site.done(&[&["export", "carol", "--p12", "carol.p12"][..], &key].concat());
    site.openssl_agrees(&["pkcs12", "-in", "carol.p12", "-passin", "file:password", "-noout"]);
    let other = site.refused(&[&["export", "alice", "--p12", "x.p12"][..], &key].concat());
    assert!(other.contains("not that of the certificate"), "{other}");
}

#[test]
fn a_request_gets_the_names_that_the_operator_says() {
    let site = Site::new("request");
    let key = ["-newkey", "rsa:2048", "-nodes", "-keyout", "dave.key", "-out", "dave.csr"];
    let subject = ["-subj", "/CN=root/O=Somebody", "-addext", "subjectAltName=DNS:gw.example.org"];
    site.openssl_agrees(&[&["req", "-new"][..], &key, &subject].concat());
    site.done(&["issue", "dave", "--csr", "dave.csr", "--email", "dave@example.org", "--out", "."]);
    let text = site.openssl_agrees(&["x509", "-in", "dave.pem", "-noout", "-text"]);
    assert!(text.contains("Subject: CN = dave\n") && text.contains("email:dave@example.org"), "{text}");
    assert!(!text.contains("gw.example.org") && !text.contains("Somebody"), "{text}");
    assert!(site.verifies("dave.pem", "sslclient").0);
    let mut forged = fs::read_to_string(site.path("dave.csr")).expect("ours");
    let at = forged.len() / 2;
    let flipped = if forged.as_bytes()[at] == b'A' { "B" } else { "A" };
    forged.replace_range(at..=at, flipped);
    fs::write(site.path("forged.csr"), forged).expect("ours");
    assert!(site.refused(&["issue", "eve", "--csr", "forged.csr"]).contains("certificate request"));
}

/// Names as those of directory services: two domain components, two organizational units.
const CORPORATE: &str = "/DC=org/DC=example/OU=IT/OU=Keys/CN=Example Issuing CA";

#[test]
fn a_corporate_authority_verifies_and_issues_only_with_its_key() {
    let site = Site::empty("corporate");
    let new =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-days", "30"];
    let root = ["-keyout", "root.key", "-out", "root.pem", "-subj", "/O=Example/CN=Example Root"];
    let new = [&new[..], &["-addext", "keyUsage=critical,keyCertSign,cRLSign"]].concat();
    site.openssl_agrees(&[&new[..], &root].concat());
    let request = [
        "req", "-new", "-newkey", "rsa:3072", "-nodes", "-keyout", "ca.key", "-out", "ca.csr", "-subj",
        CORPORATE,
    ];
    site.openssl_agrees(&request);
    fs::write(
        site.path("ext"),
        "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n",
    )
    .expect("ours");
    let sign = ["x509", "-req", "-in", "ca.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial"];
    site.openssl_agrees(&[&sign[..], &["-days", "20", "-extfile", "ext", "-out", "issuing.pem"]].concat());
    let both =
        ["issuing.pem", "root.pem"].map(|name| fs::read_to_string(site.path(name)).expect("ours")).concat();
    fs::write(site.path("chain.pem"), both).expect("ours");
    let mut without = site.pki(&["init", "--ca-cert", "chain.pem"]);
    let output = without.env_remove("ADIT_CA_KEY").output().expect("it starts");
    assert_eq!(told(&output).0, Some(0), "{}", told(&output).2);
    let mut issue = site.pki(&["issue", "alice"]);
    let output = issue.env_remove("ADIT_CA_KEY").output().expect("it starts");
    assert!(
        told(&output).0 == Some(1) && told(&output).2.contains("private key is not here"),
        "{}",
        told(&output).2
    );
    fs::remove_dir_all(site.path("pki")).expect("ours");
    site.done(&["init", "--ca-cert", "chain.pem"]);
    site.done(&["issue", "alice"]);
    let verify = [
        "verify",
        "-x509_strict",
        "-CAfile",
        "root.pem",
        "-untrusted",
        "issuing.pem",
        "-purpose",
        "sslclient",
    ];
    site.openssl_agrees(&[&verify[..], &["alice.pem"]].concat());
    site.done(&["revoke", "alice"]);
    let list = ["-crl_check", "-CRLfile", "pki/crl.pem", "alice.pem"];
    let (good, said) = site.openssl(&[&verify[..], &list].concat());
    assert!(!good && said.contains("certificate revoked"), "{said}");
    let subject = |file: &str, what: &str| {
        site.openssl_agrees(&["x509", "-in", file, "-noout", what, "-nameopt", "RFC2253"])
    };
    assert_eq!(
        subject("alice.pem", "-issuer").replace("issuer=", ""),
        subject("issuing.pem", "-subject").replace("subject=", "")
    );
}

#[test]
fn a_list_from_elsewhere_is_taken_if_it_is_the_authoritys_and_newer() {
    let site = Site::new("import");
    site.done(&["issue", "alice"]);
    fs::copy(site.path("pki/crl.pem"), site.path("one.pem")).expect("ours");
    site.done(&["revoke", "alice"]);
    fs::copy(site.path("pki/crl.pem"), site.path("two.pem")).expect("ours");
    assert!(site.refused(&["crl", "--import", "one.pem"]).contains("older than the list that is here"));
    assert!(site.refused(&["crl", "--import", "two.pem"]).contains("older"), "the same one again");
    fs::remove_file(site.path("pki/crl.pem")).expect("ours");
    assert!(site.refused(&["crl"]).contains("put the last one back"), "a number would come a second time");
    site.done(&["crl", "--import", "two.pem"]);
    let other = Site::new("other");
    assert!(
        other.refused(&["crl", "--import", &site.text("two.pem")]).contains("not signed by this authority")
    );
}

#[test]
fn wrong_use_ends_with_2_and_what_is_wrong_with_files_with_1() {
    let site = Site::new("wrong");
    for arguments in [
        &["issue", "a/b"][..],
        &["issue", "ca"],
        &["issue", "a", "--dns", "*.example.org"],
        &["issue", "a", "--lifetime", "7"],
        &["issue", "a", "--password-file", "x"],
        &["issue", "a", "--p12", "--csr", "x"],
        &["revoke"],
        &["revoke", "a", "--reason", "certificate-hold"],
        &["export", "a", "--p12", "x"],
        &["init", "--algorithm", "rsa-1024"],
    ] {
        assert_eq!(site.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    assert!(site.refused(&["init"]).contains("left as it is"));
    assert!(site.refused(&["issue", "gw", "--for", "server"]).contains("needs a DNS name"));
    assert!(site.refused(&["revoke", "nobody"]).contains("no certificate nobody"));
    assert!(site.refused(&["issue", "a", "--out", "nowhere"]).contains("no such folder"));
    site.done(&["issue", "a"]);
    assert!(site.refused(&["issue", "a"]).contains("not overwritten"));
    site.done(&["export", "crl", "--out", "published.pem"]);
    site.done(&["export", "crl", "--out", "published.pem"]);
    assert_eq!(
        fs::read(site.path("published.pem")).expect("ours"),
        fs::read(site.path("pki/crl.pem")).expect("ours")
    );
    fs::set_permissions(site.path("ca.key"), Permissions::from_mode(0o644)).expect("ours");
    assert!(site.refused(&["crl"]).contains("chmod 600"));
    fs::set_permissions(site.path("pki"), Permissions::from_mode(0o755)).expect("ours");
    assert!(site.refused(&["list"]).contains("chmod 700"));
    let none = Site::empty("none");
    assert!(none.refused(&["list"]).contains("`aditctl pki init` makes one"));
}

#[test]
fn rsa_is_there_for_whoever_wants_it() {
    let site = Site::empty("rsa");
    site.done(&["init", "--algorithm", "rsa-3072"]);
    site.done(&["issue", "alice", "--algorithm", "rsa-3072"]);
    assert!(site.verifies("alice.pem", "sslclient").0);
    let text = site.openssl_agrees(&["x509", "-in", "alice.pem", "-noout", "-text"]);
    assert!(text.contains("Public-Key: (3072 bit)") && text.contains("sha256WithRSAEncryption"), "{text}");
}

#[test]
fn every_command_of_the_authority_has_a_man_page() {
    let folder = Folder::new("pki-man");
    assert_eq!(told(&run(&["man", folder.path.to_str().expect("text")])), (Some(0), "", ""));
    for name in ["init", "issue", "revoke", "list", "crl", "export"] {
        assert!(folder.path.join(format!("aditctl-pki-{name}.1")).exists(), "{name}");
    }
}
