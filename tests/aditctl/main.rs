//! The operator's tool as it is run: against a daemon that answers what the test wants, and beside wg(8)'s habits.

mod fake;
mod import;
mod pki;

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use fake::{Daemon, Folder};

const STATUS: &str = r#"{"schema":1,"version":"0.1.0","name":"hq","pid":1,"started":10.0,"now":75.0,
 "configuration":{"file":"/etc/adit/aditd.toml","loaded":10.0,"reloads":0,"reloads_refused":0,"error":null},
 "privileges":{"user":"adit","capabilities":[]},"warnings":["the key log is on"],"of a newer daemon":1,
 "wireguard":{"wg0":{"state":"up","public_key":null,"listen_port":1,"fwmark":0,"mtu":1420,"addresses":[],
  "fail_closed":true,"offloads":[],"workers":[],"handshake_queue":0,"handshakes":0,"drops":{},"peers":[],"warnings":[]}}}
"#;

fn aditctl(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aditctl"));
    command.args(arguments).stdin(Stdio::null());
    command.env_remove("ADIT_SOCKET_DIR").env_remove("WG_COLOR_MODE");
    command
}

fn run(arguments: &[&str]) -> Output {
    aditctl(arguments).output().expect("it starts")
}

fn run_at(sockets: &Path, arguments: &[&str]) -> Output {
    aditctl(arguments).env("ADIT_SOCKET_DIR", sockets).output().expect("it starts")
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("text")
}

/// Its exit code, what it printed, and what it complained of.
fn told(output: &Output) -> (Option<i32>, &str, &str) {
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_status_is_for_people_unless_json_is_asked_for() {
    let folder = Folder::new("status");
    let _daemon = Daemon::start(&folder.socket("read.sock"), 200, STATUS);
    let output = run_at(&folder.path, &["status"]);
    let (code, printed, complaint) = told(&output);
    assert_eq!((code, complaint), (Some(0), ""));
    assert!(printed.starts_with("WARNING: gateway: the key log is on\n\ngateway: hq\n"), "{printed}");
    assert!(printed.contains("  running for: 1 minute, 5 seconds\n"), "{printed}");
    assert!(
        printed.ends_with("\ninterface: wg0\n  listening port: 1\n  mtu: 1420\n  workers: 0\n"),
        "{printed}"
    );
    assert_eq!(told(&run_at(&folder.path, &["status", "--json"])), (Some(0), STATUS, ""));
}

#[test]
fn one_tunnel_can_be_asked_for_if_there_is_such_a_one() {
    let folder = Folder::new("tunnel");
    let daemon = Daemon::start(&folder.socket("read.sock"), 200, STATUS);
    let output = run_at(&folder.path, &["status", "wg0", "--json"]);
    let (code, printed, _) = told(&output);
    assert_eq!(code, Some(0));
    assert!(printed.starts_with("{\n") && printed.contains("\"mtu\": 1420,\n"), "{printed}");
    for arguments in [&["status", "wg\u{1b}9"][..], &["status", "wg\u{1b}9", "--json"]] {
        let complaint = "aditctl: there is no tunnel or link wg\\u{1b}9; there is wg0\n";
        assert_eq!(told(&run_at(&folder.path, arguments)), (Some(1), "", complaint));
    }
    assert_eq!(daemon.asked(), vec!["GET /v1/status HTTP/1.1"; 3]);
}

#[test]
fn who_may_not_read_by_the_one_socket_reads_by_the_other() {
    let folder = Folder::new("fallback");
    let _daemon = Daemon::start(&folder.socket("write.sock"), 200, STATUS);
    assert_eq!(told(&run_at(&folder.path, &["status", "--json"])), (Some(0), STATUS, ""));
}

#[test]
fn without_a_daemon_everything_that_needs_one_says_where_it_was_looked_for() {
    let folder = Folder::new("nobody");
    for (arguments, socket) in
        [(&["status"][..], "read.sock"), (&["reload"], "write.sock"), (&["trace", "drops"], "write.sock")]
    {
        let complaint = format!("aditctl: no aditd answers at {}\n", folder.socket(socket).display());
        assert_eq!(told(&run_at(&folder.path, arguments)), (Some(1), "", &*complaint));
    }
}

#[test]
fn an_answer_that_makes_no_sense_is_told_as_such() {
    for (name, answer, complaint) in [
        ("nojson", "<html>", "the daemon's answer is no JSON"),
        ("schema", r#"{"schema":2}"#, "the daemon's status has schema 2, this aditctl knows 1"),
        ("fields", r#"{"schema":1}"#, "the daemon's status is not as this aditctl knows it"),
    ] {
        let folder = Folder::new(name);
        let _daemon = Daemon::start(&folder.socket("read.sock"), 200, answer);
        let output = run_at(&folder.path, &["status"]);
        let (code, _, told) = told(&output);
        assert!(code == Some(1) && told.contains(complaint), "{told}");
    }
}

#[test]
fn a_reload_tells_what_was_changed_or_what_is_wrong() {
    let folder = Folder::new("reload");
    let daemon =
        Daemon::start(&folder.socket("write.sock"), 200, r#"{"changed":"wg0: mtu\nwg1: \u001bnew"}"#);
    assert_eq!(told(&run_at(&folder.path, &["reload"])), (Some(0), "wg0: mtu\nwg1: \\u{1b}new\n", ""));
    assert_eq!(daemon.asked(), ["POST /v1/reload HTTP/1.1"]);
    drop(daemon);
    let _daemon =
        Daemon::start(&folder.socket("write.sock"), 409, r#"{"error":"a.toml:1:1: one\na.toml:2:1: two"}"#);
    let complaint = "aditctl: not reloaded, nothing was changed:\na.toml:1:1: one\na.toml:2:1: two\n";
    assert_eq!(told(&run_at(&folder.path, &["reload"])), (Some(1), "", complaint));
}

#[test]
fn a_reload_that_was_done_in_part_is_no_success() {
    let folder = Folder::new("partial");
    let answer = r#"{"changed":"added wg1","faults":["wg1: post_up: no","wg2: mtu: no"]}"#;
    let _daemon = Daemon::start(&folder.socket("write.sock"), 200, answer);
    let complaint = "aditctl: not all of it was done; the rest is tried again at the next reload:\n\
                     wg1: post_up: no\nwg2: mtu: no\n";
    assert_eq!(told(&run_at(&folder.path, &["reload"])), (Some(1), "added wg1\n", complaint));
}

const DROPS: &str = "{\"time\":\"2026-11-22T12:03:04.123Z\",\"tunnel\":\"wg0\",\"reason\":\"auth\",\"packets\":1,\"length\":9}
{\"missed\":7,\"tunnel\":\"wg0\"}
{\"time\":\"2026-11-22T12:03:05.000Z\",\"tunnel\":\"wg1\",\"reason\":\"down\",\"packets\":1,\"length\":0}
";

#[test]
fn drops_are_traced_until_there_were_enough_or_the_daemon_ends() {
    let folder = Folder::new("trace");
    let _daemon = Daemon::start(&folder.socket("write.sock"), 200, DROPS);
    let first = "12:03:04.123Z wg0 auth 9 bytes (does not decrypt: forged, or damaged on the way)\n";
    let missed = "wg0: 7 more were dropped than can be shown\n";
    let second = "12:03:05.000Z wg1 down (came while the interface was down)\n";
    let ended = "aditctl: the daemon ended the trace\n";
    let all = format!("{first}{missed}{second}");
    assert_eq!(told(&run_at(&folder.path, &["trace", "drops"])), (Some(1), &*all, ended));
    assert_eq!(told(&run_at(&folder.path, &["trace", "drops", "--count", "1"])), (Some(0), first, ""));
    assert_eq!(told(&run_at(&folder.path, &["trace", "drops", "--count=2"])), (Some(0), &*all, ""));
    assert_eq!(told(&run_at(&folder.path, &["trace", "drops", "wg1", "--count=1"])), (Some(0), second, ""));
    assert_eq!(told(&run_at(&folder.path, &["trace", "drops", "--json", "--count=2"])), (Some(0), DROPS, ""));
}

#[test]
fn a_trace_that_is_not_granted_says_why() {
    let folder = Folder::new("watched");
    let _daemon =
        Daemon::start(&folder.socket("write.sock"), 409, r#"{"error":"somebody watches wg0 already"}"#);
    let complaint = "aditctl: somebody watches wg0 already\n";
    assert_eq!(told(&run_at(&folder.path, &["trace", "drops"])), (Some(1), "", complaint));
}

#[test]
fn a_trace_ends_after_its_seconds_though_nothing_is_dropped() {
    let folder = Folder::new("seconds");
    let _daemon = Daemon::hold(&folder.socket("write.sock"), "{\"missed\":7,\"tunnel\":\"wg0\"}\n");
    let output = run_at(&folder.path, &["trace", "drops", "--seconds", "0.3"]);
    assert_eq!(told(&output), (Some(0), "wg0: 7 more were dropped than can be shown\n", ""));
}

#[test]
fn a_watch_goes_on_and_says_when_the_daemon_is_away() {
    let folder = Folder::new("watch");
    let daemon = Daemon::start(&folder.socket("read.sock"), 200, STATUS);
    let out = folder.path.join("out");
    let mut command = aditctl(&["status", "--watch=0.1"]);
    command.env("ADIT_SOCKET_DIR", &folder.path).stdout(File::create(&out).expect("ours"));
    let mut child = command.spawn().expect("it starts");
    let frames = |many: usize, what: &str| {
        fake::until(|| fs::read_to_string(&out).expect("text").matches(what).count() >= many)
    };
    let twice = frames(2, "gateway: hq");
    drop(daemon);
    let said = frames(1, "no aditd answers at");
    let seen = fs::read_to_string(&out).expect("text");
    let _daemon = Daemon::start(&folder.socket("read.sock"), 200, STATUS);
    let again = frames(seen.matches("gateway: hq").count() + 1, "gateway: hq");
    child.kill().expect("it still runs");
    child.wait().expect("it ended");
    assert!(twice && said && again, "{seen}");
    assert!(seen.contains("workers: 0\n\nWARNING"), "a blank line stands between two looks: {seen}");
    assert!(!seen.contains('\u{1b}'), "no terminal is told to clear: {seen}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let folder = Folder::new("pipe");
    let _daemon = Daemon::start(&folder.socket("read.sock"), 200, STATUS);
    for arguments in [&["status"][..], &["status", "--watch=0.1"], &["genkey"], &["completions", "bash"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = aditctl(arguments);
        let output = command.env("ADIT_SOCKET_DIR", &folder.path).stdout(writer).output().expect("it starts");
        assert_eq!(told(&output), (Some(0), "", ""), "{arguments:?}");
    }
}

#[test]
fn keys_are_made_and_their_public_halves_found() {
    let key = run(&["genkey"]);
    assert_eq!((key.stdout.len(), told(&key).2), (45, ""));
    assert_ne!(run(&["genkey"]).stdout, key.stdout);
    assert_eq!(run(&["genpsk"]).stdout.len(), 45);
    let pubkey = |input: &[u8]| {
        let mut command = aditctl(&["pubkey"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        child.stdin.take().expect("a pipe").write_all(input).expect("it reads");
        child.wait_with_output().expect("it ends")
    };
    let public = pubkey(b"dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\n");
    assert_eq!(told(&public), (Some(0), "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=\n", ""));
    let complaint = "aditctl: Key is not the correct length or format\n";
    assert_eq!(told(&pubkey(b"dwdt\n")), (Some(1), "", complaint));
}

#[test]
fn who_lets_others_read_a_new_key_is_warned_as_by_wg() {
    let folder = Folder::new("umask");
    let path = folder.path.join("key");
    let warning =
        "Warning: writing to world accessible file.\nConsider setting the umask to 077 and trying again.\n";
    for (command, mode, expected) in
        [("genkey", 0o644, warning), ("genpsk", 0o601, warning), ("genkey", 0o640, ""), ("genpsk", 0o600, "")]
    {
        let file = File::create(&path).expect("ours");
        file.set_permissions(Permissions::from_mode(mode)).expect("ours");
        let output = aditctl(&[command]).stdout(file).output().expect("it starts");
        assert_eq!(told(&output), (Some(0), "", expected), "{command} {mode:o}");
        assert_eq!(fs::metadata(&path).expect("it is there").len(), 45);
    }
}

#[test]
fn every_command_has_a_man_page_and_completions_know_them() {
    let folder = Folder::new("man");
    let pages = folder.path.join("pages");
    assert_eq!(told(&run(&["man", pages.to_str().expect("text")])), (Some(0), "", ""));
    for name in ["aditctl.1", "aditctl-status.1", "aditctl-trace-drops.1", "aditd.8", "adit-wireguard.8"] {
        let page = fs::read_to_string(pages.join(name)).expect(name);
        let (title, section) = name.split_once('.').expect("a section");
        assert!(page.contains(&format!(".TH {} {section} ", title.to_uppercase())), "{page}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        assert!(told(&output).0 == Some(0) && told(&output).1.contains("genpsk"), "{shell}");
    }
}

#[test]
fn wrong_usage_is_told_apart_from_failure() {
    assert_eq!(run(&["statsu"]).status.code(), Some(2));
    assert_eq!(run(&["genkey", "more"]).status.code(), Some(2));
    assert_eq!(run(&["--help"]).status.code(), Some(0));
}
