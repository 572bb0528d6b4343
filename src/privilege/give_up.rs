//! Becoming an unprivileged user.

use std::fs;
use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit};
use rustix::thread::{self, CapabilitySet, CapabilitySets, Gid, Uid};

use super::Capability;
use super::user::{self, User};

/// Why privileges could not be given up. They may be half gone then: the process has to end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Privileges belong to threads; the others would keep theirs.
    #[error("privileges can be given up by a process of 1 thread, and this one has {0}")]
    Threads(usize),
    /// There is no such user.
    #[error("there is no user {0:?}")]
    NoUser(String),
    /// The system refused a step.
    #[error("cannot {step}: {error}")]
    Step {
        /// What was tried.
        step: &'static str,
        /// Why not.
        error: io::Error,
    },
    /// Every step succeeded, but something is left.
    #[error("privileges were not given up: {what} is {found:?} instead of {wanted:?}")]
    Left {
        /// A line of `/proc/thread-self/status`, or a name like those.
        what: &'static str,
        /// What it says.
        found: String,
        /// What it has to say.
        wanted: String,
    },
}

/// Becomes `user`, with no capabilities but `keep`, which programs that are started get as well, and with no way to more.
/// Core dumps are switched off, and nobody but root may look into the process. `root` gives up nothing but that.
///
/// It has to come before any other thread is made. Who is this user already needs no privilege for it.
///
/// # Errors
/// [`Error`]. It is found out afterwards whether all of it took effect.
pub fn give_up(user: &str, keep: &[Capability]) -> Result<(), Error> {
    let threads = fs::read_dir("/proc/self/task").map(Iterator::count).or_step("count threads")?;
    if threads != 1 {
        return Err(Error::Threads(threads));
    }
    give_up_of_thread(user, keep)
}

/// What other threads have is left, but for core dumps, which are the whole process's.
fn give_up_of_thread(user: &str, keep: &[Capability]) -> Result<(), Error> {
    forbid_dumps()?;
    let found = user::user(user).or_step("look the user up")?;
    let user = found.ok_or_else(|| Error::NoUser(user.to_owned()))?;
    if user.uid != 0 {
        let groups = user::groups(&user).or_step("look the user's groups up")?;
        let keep = keep.iter().fold(CapabilitySet::empty(), |set, capability| set | capability.bit());
        let bounded = limit_bounding_set(keep)?;
        become_user(&user, &groups)?;
        limit_capabilities(keep)?;
        // To change the user switches them on again.
        forbid_dumps()?;
        verify(&user, &groups, keep, bounded)?;
    }
    verify_dumps()
}

/// Keeps keys out of core dumps, and the memory of the process from other processes of its user.
fn forbid_dumps() -> Result<(), Error> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none).or_step("limit core dumps")?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).or_step("forbid core dumps")
}

/// No program that is started can have more than `keep`. False if that is not ours to say: then `no_new_privs` alone sees
/// to it.
fn limit_bounding_set(keep: CapabilitySet) -> Result<bool, Error> {
    let effective = thread::capabilities(None).or_step("read capabilities")?.effective;
    if !effective.contains(CapabilitySet::SETPCAP) {
        return Ok(false);
    }
    for capability in (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit)) {
        match thread::capability_is_in_bounding_set(capability) {
            Ok(true) if !keep.contains(capability) => {
                thread::remove_capability_from_bounding_set(capability).or_step("limit the bounding set")?;
            }
            Ok(_) => {}
            // The kernel knows no more of them.
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(error).or_step("read the bounding set"),
        }
    }
    Ok(true)
}

fn become_user(user: &User, groups: &[u32]) -> Result<(), Error> {
    thread::set_keep_capabilities(true).or_step("keep capabilities")?;
    let present = rustix::process::getgroups().or_step("read groups")?;
    let mut present: Vec<_> = present.into_iter().map(Gid::as_raw).filter(|gid| *gid != user.gid).collect();
    present.sort_unstable();
    present.dedup();
    // Who is this user already may lack the privilege to say so.
    if present != groups {
        let groups: Vec<_> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        thread::set_thread_groups(&groups).or_step("set the user's groups")?;
    }
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    thread::set_thread_res_gid(gid, gid, gid).or_step("become the user's group")?;
    thread::set_thread_res_uid(uid, uid, uid).or_step("become the user")?;
    thread::set_keep_capabilities(false).or_step("keep capabilities no longer")
}

fn limit_capabilities(keep: CapabilitySet) -> Result<(), Error> {
    thread::clear_ambient_capability_set().or_step("clear the ambient set")?;
    let sets = CapabilitySets { effective: keep, permitted: keep, inheritable: keep };
    thread::set_capabilities(None, sets).or_step("keep the capabilities that are needed")?;
    for capability in keep.iter() {
        thread::configure_capability_in_ambient_set(capability, true)
            .or_step("give the capabilities to programs that are started")?;
    }
    thread::set_no_new_privs(true).or_step("refuse new privileges")
}

/// Looks at what the kernel says. `bounded`: whether the bounding set could be limited.
fn verify(user: &User, groups: &[u32], keep: CapabilitySet, bounded: bool) -> Result<(), Error> {
    let status = fs::read_to_string("/proc/thread-self/status").or_step("read the process's status")?;
    let numbers = |number: u32| [number; 4].map(|number| number.to_string()).join(" ");
    let first = user.gid.to_string();
    let others = field(&status, "Groups");
    let others: Vec<_> = others.split(' ').filter(|gid| !gid.is_empty() && *gid != first).collect();
    let list = groups.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
    same("Groups", others.join(" "), list)?;
    let set = format!("{:016x}", keep.bits());
    let mut wanted =
        vec![("Uid", numbers(user.uid)), ("Gid", numbers(user.gid)), ("NoNewPrivs", "1".to_owned())];
    wanted.extend(["CapInh", "CapPrm", "CapEff", "CapAmb"].map(|what| (what, set.clone())));
    if bounded {
        wanted.push(("CapBnd", set));
    }
    wanted.into_iter().try_for_each(|(what, wanted)| same(what, field(&status, what), wanted))
}

fn verify_dumps() -> Result<(), Error> {
    let dumpable = rustix::process::dumpable_behavior().or_step("read whether core dumps are forbidden")?;
    same("Dumpable", format!("{dumpable:?}"), format!("{:?}", DumpableBehavior::NotDumpable))?;
    let limit = rustix::process::getrlimit(Resource::Core);
    same("RLIMIT_CORE", format!("{:?}", limit.maximum), format!("{:?}", Some(0)))
}

fn same(what: &'static str, found: String, wanted: String) -> Result<(), Error> {
    if found == wanted { Ok(()) } else { Err(Error::Left { what, found, wanted }) }
}

/// The words of one line, with single spaces between them; groups are in ascending order there.
fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Says which step failed.
trait OrStep<T> {
    fn or_step(self, step: &'static str) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> OrStep<T> for Result<T, E> {
    fn or_step(self, step: &'static str) -> Result<T, Error> {
        self.map_err(|error| Error::Step { step, error: error.into() })
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::effective;
    use super::*;
    use crate::net::isolated::{isolated, isolated_as_nobody};

    #[test]
    fn what_is_kept_is_kept_and_nothing_else() {
        isolated_as_nobody(|| {
            assert!(effective().len() > 30);
            give_up_of_thread("nobody", &[Capability::NetAdmin, Capability::NetBindService]).unwrap();
            assert_eq!(effective(), ["CAP_NET_BIND_SERVICE", "CAP_NET_ADMIN"]);
            let grown = CapabilitySets {
                effective: CapabilitySet::CHOWN,
                permitted: CapabilitySet::CHOWN,
                inheritable: CapabilitySet::empty(),
            };
            thread::set_capabilities(None, grown).unwrap_err();
        });
    }

    #[test]
    fn programs_that_are_started_have_what_is_kept_and_no_way_to_more() {
        isolated_as_nobody(|| {
            give_up_of_thread("nobody", &[Capability::NetAdmin]).unwrap();
            let output = Command::new("cat").arg("/proc/self/status").output().unwrap();
            let status = String::from_utf8(output.stdout).unwrap();
            for what in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                assert_eq!(field(&status, what), "0000000000001000", "{what}");
            }
            assert_eq!(field(&status, "NoNewPrivs"), "1");
        });
    }

    #[test]
    fn who_keeps_nothing_has_nothing() {
        isolated_as_nobody(|| {
            give_up_of_thread("nobody", &[]).unwrap();
            assert_eq!(effective(), [""; 0]);
        });
    }

    #[test]
    fn what_is_not_there_cannot_be_kept() {
        isolated_as_nobody(|| {
            give_up_of_thread("nobody", &[Capability::NetAdmin]).unwrap();
            give_up_of_thread("nobody", &[Capability::NetAdmin]).unwrap();
            let error =
                give_up_of_thread("nobody", &[Capability::NetAdmin, Capability::NetBindService]).unwrap_err();
            assert!(matches!(error, Error::Step { .. }), "{error}");
        });
    }

    #[test]
    fn a_process_with_other_threads_keeps_its_privileges() {
        let before = effective();
        // The test's own, and that of the program which runs it.
        let error = give_up("nobody", &[]).unwrap_err();
        assert!(matches!(error, Error::Threads(2..)), "{error}");
        assert_eq!(effective(), before);
    }

    #[test]
    fn root_gives_up_core_dumps_alone() {
        isolated(|| {
            let before = effective();
            give_up_of_thread("root", &[]).unwrap();
            assert_eq!(effective(), before);
            assert_eq!(rustix::process::getrlimit(Resource::Core).maximum, Some(0));
            assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        });
    }

    #[test]
    fn a_user_that_does_not_exist_cannot_be_become() {
        isolated(|| {
            let error = give_up_of_thread("adit-nobody-has-this", &[]).unwrap_err();
            assert_eq!(error.to_string(), "there is no user \"adit-nobody-has-this\"");
        });
    }

    #[test]
    fn a_user_that_the_system_does_not_let_us_become_is_an_error() {
        // The namespace knows root alone.
        isolated(|| {
            let error = give_up_of_thread("nobody", &[]).unwrap_err();
            assert!(matches!(error, Error::Step { .. }), "{error}");
        });
    }

    #[test]
    fn what_is_left_is_found_out() {
        isolated_as_nobody(|| {
            let nobody = user::user("nobody").unwrap().unwrap();
            give_up_of_thread("nobody", &[Capability::NetAdmin]).unwrap();
            let net_admin = Capability::NetAdmin.bit();
            verify(&nobody, &[], net_admin, true).unwrap();
            let root = User { uid: 0, ..nobody.clone() };
            verify(&root, &[], net_admin, true).unwrap_err();
            verify(&User { gid: 0, ..nobody.clone() }, &[], net_admin, true).unwrap_err();
            verify(&nobody, &[7], net_admin, true).unwrap_err();
            verify(&nobody, &[], CapabilitySet::empty(), true).unwrap_err();
        });
    }
}
