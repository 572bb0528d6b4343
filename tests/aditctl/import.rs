//! wg-quick files become configuration, and their keys files of their own.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};

use crate::fake::Folder;
use crate::{aditctl, run, told};

/// Clamped, as all that `wg genkey` makes.
const PRIVATE: &str = "cAdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LGo=";
const PRESHARED: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

fn quick() -> String {
    format!(
        "[Interface]\nPrivateKey = {PRIVATE}\nAddress = 10.0.0.1/24\n\n[Peer]\n\
         PublicKey = 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\nPresharedKey = {PRESHARED}\nAllowedIPs = 10.0.0.2/32\n"
    )
}

fn import(file: &Path, keys: &Path) -> Output {
    run(&["import", file.to_str().expect("text"), "--keys", keys.to_str().expect("text")])
}

/// The names of the files in a folder, in their order.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

#[test]
fn keys_go_into_files_that_nobody_else_may_read_and_not_into_the_configuration() {
    let folder = Folder::new("import");
    let (file, keys) = (folder.path.join("wg7.conf"), folder.path.join("some/keys"));
    fs::write(&file, quick()).expect("ours");
    let first = import(&file, &keys);
    let (code, toml, said) = told(&first);
    assert_eq!(code, Some(0), "{said}");
    assert!(toml.contains("[wireguard.wg7]\n") && toml.contains("10.0.0.1/24"), "{toml}");
    assert!(!toml.contains(PRIVATE) && !toml.contains(PRESHARED), "{toml}");
    assert!(!said.contains(PRIVATE) && !said.contains(PRESHARED), "{said}");
    assert_eq!(names(&keys), ["wg7.key", "wg7@peer-1.psk"]);
    for (name, key) in [("wg7.key", PRIVATE), ("wg7@peer-1.psk", PRESHARED)] {
        let path = keys.join(name);
        assert_eq!(fs::read_to_string(&path).expect("ours"), format!("{key}\n"));
        assert_eq!(fs::metadata(&path).expect("ours").permissions().mode() & 0o777, 0o600);
        assert!(toml.contains(path.to_str().expect("text")), "{toml}");
        assert!(said.contains(&format!("aditctl: {}: written\n", path.display())), "{said}");
    }
    assert_eq!(fs::metadata(&keys).expect("ours").permissions().mode() & 0o777, 0o700);
    let again = import(&file, &keys);
    assert_eq!((told(&again).0, told(&again).1), (Some(0), toml), "the same keys are no conflict");
    assert!(told(&again).2.contains("wg7.key: has this key already\n"), "{}", told(&again).2);
}

#[test]
fn a_file_with_another_key_is_left_alone_and_then_nothing_is_written_or_printed() {
    let folder = Folder::new("conflict");
    let file = folder.path.join("wg7.conf");
    fs::write(&file, quick()).expect("ours");
    let keys = folder.path.join("keys");
    fs::create_dir(&keys).expect("ours");
    let other = keys.join("wg7@peer-1.psk");
    fs::write(&other, "another\n").expect("ours");
    let complaint = format!(
        "aditctl: {}: holds something else, and is not overwritten; name another --keys\n",
        other.display()
    );
    assert_eq!(told(&import(&file, &keys)), (Some(1), "", &*complaint));
    assert_eq!(fs::read_to_string(&other).expect("ours"), "another\n");
    assert_eq!(names(&keys), ["wg7@peer-1.psk"]);
}

#[test]
fn nothing_is_printed_when_a_key_cannot_be_written() {
    let folder = Folder::new("unwritable");
    let file = folder.path.join("wg7.conf");
    fs::write(&file, quick()).expect("ours");
    // A file where a folder should be: that stops root too.
    fs::write(folder.path.join("keys"), "").expect("ours");
    let output = import(&file, &folder.path.join("keys"));
    let (code, printed, complaint) = told(&output);
    assert!(code == Some(1) && printed.is_empty() && complaint.contains("/keys/wg7"), "{complaint}");
}

#[test]
fn no_key_is_written_through_a_link() {
    let folder = Folder::new("link");
    let (file, keys) = (folder.path.join("wg7.conf"), folder.path.join("keys"));
    fs::write(&file, quick()).expect("ours");
    fs::create_dir(&keys).expect("ours");
    let elsewhere = folder.path.join("elsewhere");
    std::os::unix::fs::symlink(&elsewhere, keys.join("wg7.key")).expect("ours");
    let output = import(&file, &keys);
    assert_eq!((told(&output).0, told(&output).1), (Some(1), ""), "{}", told(&output).2);
    assert!(!elsewhere.exists());
}

#[test]
fn standard_input_is_read_where_the_interface_is_named() {
    let folder = Folder::new("stdin");
    let keys = folder.path.join("keys");
    let mut command = aditctl(&["import", "-", "--name", "wg8", "--keys", keys.to_str().expect("text")]);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(quick().as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let (code, toml, said) = told(&output);
    assert!(code == Some(0) && toml.contains("[wireguard.wg8]\n"), "{toml}{said}");
}

#[test]
fn everything_that_is_wrong_is_told_and_nothing_written() {
    let folder = Folder::new("wrong");
    let file = folder.path.join("wg7.conf");
    fs::write(&file, quick().replace("10.0.0.1/24", "10.0.0.1/99").replace("10.0.0.2/32", "\u{1b}[2J"))
        .expect("ours");
    let output = import(&file, &folder.path.join("keys"));
    let (code, printed, complaint) = told(&output);
    assert_eq!((code, printed), (Some(1), ""));
    assert!(complaint.contains("wg7.conf:3:") && complaint.contains("wg7.conf:8:"), "{complaint}");
    assert!(!complaint.contains('\u{1b}'), "{complaint:?}");
    assert!(!folder.path.join("keys").exists());
    let unnamed = folder.path.join("a name.conf");
    fs::write(&unnamed, quick()).expect("ours");
    assert_eq!(import(&unnamed, &folder.path.join("keys")).status.code(), Some(1));
    let complaint = "aditctl: the file's name is not that of an interface with .conf after it; give --name\n";
    assert_eq!(told(&run(&["import", "/etc/passwd"])), (Some(1), "", complaint));
}
