//! Keepers of names that only write down what they are told.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::test_folder::Folder;

struct Machine {
    folder: Folder,
    system: System,
    servers: Vec<IpAddr>,
    search: Vec<String>,
}

impl Machine {
    /// A machine with this resolv.conf and with these programs, and without a bus.
    fn new(text: &str, programs: &[&str]) -> Self {
        let folder = Folder::new();
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        for name in programs {
            let log = folder.path().join("log");
            let script = format!("#!/bin/sh\n(echo {name} \"$@\"; cat) >> {}\n", log.display());
            fs::write(bin.join(name), script).unwrap();
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let file = folder.path().join("resolv.conf");
        fs::write(&file, text).unwrap();
        let bus = format!("unix:path={}", folder.path().join("bus").display());
        let system = System { file, saved: folder.path().join("saved"), programs: vec![bin], bus: Some(bus) };
        let servers = vec!["10.9.0.1".parse().unwrap(), "fd09::1".parse().unwrap()];
        Self { folder, system, servers, search: vec!["corp.example".into()] }
    }

    fn lay(&self, all: bool) -> Result<Keeper> {
        self.system.lay("office", Wanted { servers: &self.servers, search: &self.search, all })
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn file(&self) -> String {
        fs::read_to_string(&self.system.file).unwrap()
    }
}

const STUB: &str = "nameserver 127.0.0.53\noptions edns0\n";
const PLAIN: &str = "nameserver 192.0.2.53\n";

#[test]
fn a_stub_behind_which_nobody_is_found_is_no_resolved() {
    let machine = Machine::new(STUB, &["resolvconf"]);
    assert_eq!(machine.lay(false).unwrap(), Keeper::Resolvconf);
    assert_eq!(machine.file(), STUB);
    let machine = Machine::new(STUB, &[]);
    assert_eq!(machine.lay(false).unwrap(), Keeper::File);
    machine.system.take_back("office", Keeper::Resolved).expect("it has forgotten what it was told");
}

#[test]
fn resolvconf_is_used_where_resolved_is_not() {
    let machine = Machine::new(PLAIN, &["resolvectl", "resolvconf"]);
    assert_eq!(machine.lay(false).unwrap(), Keeper::Resolvconf);
    machine.system.take_back("office", Keeper::Resolvconf).unwrap();
    let log = machine.log();
    assert!(log.contains("nameserver 10.9.0.1\nnameserver fd09::1\nsearch corp.example\n"), "{log}");
    assert!(log.contains("resolvconf -a ") && log.contains("resolvconf -d "), "{log}");
    assert_eq!(machine.file(), PLAIN);
}

#[test]
fn the_file_itself_is_put_back_also_by_another_process() {
    let machine = Machine::new(PLAIN, &[]);
    assert_eq!(machine.lay(false).unwrap(), Keeper::File);
    assert_eq!(
        machine.file(),
        format!("{OURS}\nnameserver 10.9.0.1\nnameserver fd09::1\nsearch corp.example\n")
    );
    assert_eq!(machine.lay(false).unwrap(), Keeper::File, "laid again by a client that crashed");
    let after = System { ..machine.system.clone() };
    assert_eq!(after.restore(Some("home")).unwrap(), None, "that of another tunnel is left");
    assert_eq!(after.restore(None).unwrap().as_deref(), Some("office"));
    assert_eq!(machine.file(), PLAIN);
    assert_eq!(after.restore(None).unwrap(), None);
}

#[test]
fn a_link_is_a_link_again() {
    let machine = Machine::new(PLAIN, &[]);
    let target = machine.folder.path().join("target");
    fs::rename(&machine.system.file, &target).unwrap();
    symlink(&target, &machine.system.file).unwrap();
    machine.lay(false).unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), PLAIN, "what it leads to is not ours");
    machine.system.take_back("office", Keeper::File).unwrap();
    assert_eq!(fs::read_link(&machine.system.file).unwrap(), target);
}

#[test]
fn what_somebody_else_wrote_meanwhile_stays() {
    let machine = Machine::new(PLAIN, &[]);
    machine.lay(false).unwrap();
    fs::write(&machine.system.file, "nameserver 198.51.100.1\n").unwrap();
    machine.system.take_back("office", Keeper::File).unwrap();
    assert_eq!(machine.file(), "nameserver 198.51.100.1\n");
    assert_eq!(machine.system.taken_by(), None);
}

#[test]
fn two_tunnels_do_not_take_the_file_from_each_other() {
    let machine = Machine::new(PLAIN, &[]);
    machine.lay(false).unwrap();
    let wanted = Wanted { servers: &machine.servers, search: &[], all: false };
    let error = machine.system.lay("home", wanted).unwrap_err().to_string();
    assert!(error.contains("in use by the tunnel office"), "{error}");
}
