//! Why a socket could not be opened, and who may open it.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What to tell somebody who could not connect to the socket at `path`.
pub(super) fn describe(path: &Path, error: &io::Error) -> String {
    let shown = path.display();
    let kind = error.kind();
    if matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) {
        format!("no aditd answers at {shown}")
    } else if kind == io::ErrorKind::PermissionDenied {
        denied(path)
    } else if matches!(kind, io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) {
        // A socket that does not block says so when its queue of connections is full.
        format!("aditd takes no connection at {shown}; it may be stuck: see its log")
    } else {
        format!("cannot connect to {shown}: {error}")
    }
}

/// Who may open what could not be opened: the socket, or a folder above it.
fn denied(socket: &Path) -> String {
    for path in socket.ancestors() {
        // What cannot be looked at has a folder above it that does not let us in.
        if let Ok(metadata) = path.metadata() {
            return format!("no permission to open {}: {}", socket.display(), allowed(path, &metadata));
        }
    }
    format!("no permission to open {}", socket.display())
}

fn allowed(path: &Path, metadata: &Metadata) -> String {
    // To connect is to write; to pass a folder is to search it.
    let needed = if metadata.is_dir() { 0o010 } else { 0o020 };
    let mut who = vec!["root".to_owned()];
    if metadata.uid() != 0 {
        who.push(format!("the user {}", name_of("/etc/passwd", metadata.uid())));
    }
    let advice = if metadata.mode() & needed != 0 {
        who.push(format!("the group {}", name_of("/etc/group", metadata.gid())));
        "be root, or join that group"
    } else if metadata.is_dir() {
        "be root"
    } else {
        "be root, or name a group in [admin] of aditd's configuration"
    };
    let (who, mode) = (who.join(", "), metadata.mode() & 0o7777);
    format!("allowed are {who} ({} has mode {mode:04o}); {advice}", path.display())
}

/// The name of a user or a group in a file such as `/etc/group`; its number if it is not there.
fn name_of(file: &str, id: u32) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    name_in(&text, id).map_or_else(|| id.to_string(), str::to_owned)
}

fn name_in(text: &str, id: u32) -> Option<&str> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_users_and_groups_are_found_by_their_numbers() {
        let text = "root:x:0:\nadm:x:4:syslog\nbroken\n+::\nadit:x:990:\n";
        assert_eq!(name_in(text, 990), Some("adit"));
        assert_eq!(name_in(text, 4), Some("adm"));
        assert_eq!(name_in(text, 5), None);
        assert_eq!(name_of("/nonexistent", 77), "77");
    }

    #[test]
    fn whoever_may_not_open_a_socket_is_told_who_may() {
        let folder = tempfile(0o750);
        let words = allowed(&folder, &folder.metadata().expect("it is there"));
        let group = name_of("/etc/group", folder.metadata().expect("it is there").gid());
        assert!(words.contains(&format!("the group {group} (")), "{words}");
        assert!(words.contains("mode 0750"), "{words}");
        std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("ours");
        let words = allowed(&folder, &folder.metadata().expect("it is there"));
        assert!(!words.contains("the group") && words.ends_with("has mode 0700); be root"), "{words}");
        std::fs::remove_dir(&folder).expect("ours");
    }

    #[test]
    fn a_missing_daemon_is_told_with_the_path_where_it_was_looked_for() {
        let path = Path::new("/nonexistent/read.sock");
        for kind in [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused] {
            assert_eq!(describe(path, &kind.into()), "no aditd answers at /nonexistent/read.sock");
        }
    }

    fn tempfile(mode: u32) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("adit-refusal-{}", std::process::id()));
        std::fs::create_dir(&path).expect("a new folder");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("ours");
        path
    }
}
