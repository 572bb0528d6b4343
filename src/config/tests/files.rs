//! Files of a configuration, as they are on disk.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::PathBuf;

use super::*;
use crate::config::load;
use crate::test_folder::Folder;

/// A folder with a key file of mode 0600 and a configuration that names it.
fn folder() -> Folder {
    let folder = Folder::new();
    fs::write(folder.path().join("wg0.key"), format!("{PRIVATE}\n")).unwrap();
    mode(&folder, 0o600);
    configure(&folder, "root", "");
    folder
}

fn configure(folder: &Folder, user: &str, more: &str) {
    let text = tunnel("").replace("[wireguard", &format!("[gateway]\nuser = \"{user}\"\n{more}[wireguard"));
    fs::write(folder.path().join("aditd.toml"), text).unwrap();
    let readable = fs::Permissions::from_mode(0o644);
    fs::set_permissions(folder.path().join("aditd.toml"), readable).unwrap();
}

fn mode(folder: &Folder, mode: u32) {
    fs::set_permissions(folder.path().join("wg0.key"), fs::Permissions::from_mode(mode)).unwrap();
}

fn loaded(folder: &Folder) -> Result<Config, String> {
    load(&folder.path().join("aditd.toml")).map_err(|errors| errors.to_string())
}

#[track_caller]
fn refused(folder: &Folder, what: &[&str]) {
    let errors = loaded(folder).unwrap_err();
    assert_eq!(errors.lines().count(), 1, "{errors}");
    for what in what {
        assert!(errors.contains(what), "{what:?} in {errors}");
    }
}

#[test]
fn a_key_file_is_read_from_the_folder_of_the_configuration() {
    let folder = folder();
    let config = loaded(&folder).unwrap();
    assert_eq!(&*config.wireguard["wg0"].private_key.to_base64(), PRIVATE);
    let path = |name| folder.path().join(name);
    assert_eq!(config.files, [path("aditd.toml"), path("wg0.key")]);
    assert_eq!(config, loaded(&folder).unwrap());
    fs::write(path("wg0.key"), format!("{A}\n")).unwrap();
    assert_ne!(config, loaded(&folder).unwrap(), "a changed key is a changed configuration");
}

#[test]
fn files_are_found_again_from_another_folder() {
    let folder = folder();
    let up = "../".repeat(std::env::current_dir().unwrap().components().count());
    let path = format!("{up}{}", folder.path().join("aditd.toml").display());
    let config = load(Path::new(&path)).unwrap();
    assert!(config.files.iter().all(|file| file.is_absolute()), "{:?}", config.files);
}

#[test]
fn a_configuration_that_others_can_write_is_refused() {
    let folder = folder();
    let file = folder.path().join("aditd.toml");
    chown(&file, None, Some(rustix::process::getegid().as_raw())).unwrap();
    for mode in [0o646, 0o642] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        refused(&folder, &["others can write", "chmod go-w"]);
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(loaded(&folder).is_ok());
}

#[test]
fn a_key_file_that_others_can_read_is_refused() {
    let folder = folder();
    for (wrong, shown) in
        [(0o640, "0640"), (0o604, "0604"), (0o620, "0620"), (0o601, "0601"), (0o4644, "4644")]
    {
        mode(&folder, wrong);
        let key = folder.path().join("wg0.key");
        let mend = format!("`chmod 600 {}`", key.display());
        refused(
            &folder,
            &["aditd.toml:4:20: wireguard.wg0.private_key_file", &format!("its mode is {shown}"), &mend],
        );
    }
    for right in [0o600, 0o400, 0o700] {
        mode(&folder, right);
        loaded(&folder).unwrap();
    }
}

#[test]
fn a_key_file_of_somebody_else_is_refused() {
    let folder = folder();
    let key = folder.path().join("wg0.key");
    if !rustix::process::geteuid().is_root() {
        return eprintln!("only root can give files away: not tested");
    }
    chown(&key, Some(1), None).unwrap();
    refused(&folder, &["it belongs to user 1, not to root or root", "chown root"]);
    configure(&folder, "daemon", "");
    let daemon = crate::privilege::user("daemon").unwrap().expect("every Debian has a user daemon");
    chown(&key, Some(daemon.uid), None).unwrap();
    loaded(&folder).unwrap();
}

#[test]
fn a_key_file_that_is_no_file_or_holds_no_key_is_refused() {
    let folder = folder();
    let key = folder.path().join("wg0.key");
    for (content, what) in [
        (Vec::new(), "holds no key"),
        (PRIVATE.as_bytes()[1..].to_vec(), "holds no key"),
        (format!("{PRIVATE}\n{PRIVATE}\n").into_bytes(), "holds no key"),
        (vec![0xff; 44], "holds no key"),
        (vec![b' '; 257], "it has more than 256 bytes"),
    ] {
        fs::write(&key, content).unwrap();
        refused(&folder, &["private_key_file", what]);
    }
    fs::write(&key, format!("\n  {PRIVATE}\r\n\n")).unwrap();
    loaded(&folder).unwrap();
    fs::remove_file(&key).unwrap();
    refused(&folder, &["it cannot be opened: No such file"]);
    symlink("/dev/zero", &key).unwrap();
    refused(&folder, &["it is no regular file"]);
    fs::remove_file(&key).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &key, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    refused(&folder, &["it is no regular file"]);
    fs::remove_file(&key).unwrap();
    fs::create_dir(&key).unwrap();
    refused(&folder, &["it is no regular file"]);
}

#[test]
fn users_and_groups_have_to_exist() {
    let folder = folder();
    configure(&folder, "adit-nobody", "");
    refused(
        &folder,
        &[
            "aditd.toml:2:8: gateway.user: found \"adit-nobody\", which does not exist",
            "`useradd --system adit-nobody`",
        ],
    );
    configure(&folder, "root", "[admin]\nread_group = \"root\"\nwrite_group = \"adit-nobody\"\n");
    refused(&folder, &["aditd.toml:5:15: admin.write_group", "`groupadd --system adit-nobody`"]);
    if crate::privilege::user("adit").unwrap().is_none() {
        fs::write(folder.path().join("aditd.toml"), tunnel("")).unwrap();
        refused(
            &folder,
            &["aditd.toml:1:1: gateway.user: found nothing, which means \"adit\", which does not exist"],
        );
    }
}

#[test]
fn a_configuration_that_is_no_text_is_refused() {
    let folder = Folder::new();
    let path = folder.path().join("aditd.toml");
    let told = || load(&path).unwrap_err().to_string();
    assert!(told().ends_with("found a file that cannot be read: No such file or directory (os error 2); allowed: a configuration file"));
    fs::write(&path, b"[gateway]\n# \xc3\xa4 \xff").unwrap();
    assert!(told().ends_with("aditd.toml:2:5: found the byte 0xff; allowed: text in UTF-8"), "{}", told());
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(told().contains("cannot be read"), "{}", told());
}

#[test]
fn files_that_a_reload_could_not_read_are_found() {
    let folder = folder();
    let config = loaded(&folder).unwrap();
    let key = folder.path().join("wg0.key");
    assert_eq!(config.unreadable_by("root").unwrap(), Vec::<PathBuf>::new());
    // Whoever runs this owns the key, and daemon does not.
    let unreadable = config.unreadable_by("daemon").unwrap();
    assert!(unreadable.contains(&key) || rustix::process::geteuid().as_raw() == 1, "{unreadable:?}");
    mode(&folder, 0o644);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(!config.unreadable_by("daemon").unwrap().contains(&key));
    assert!(config.unreadable_by("adit-nobody").is_err());
}
