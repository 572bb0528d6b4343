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
    let mut present: Vec<_> =
        rustix::process::getgroups().or_step("read groups")?.into_iter().map(Gid::as_raw).collect();
    present.sort_unstable();
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
    let list = groups.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
    let set = format!("{:016x}", keep.bits());
    let mut wanted = vec![
        ("Uid", numbers(user.uid)),
        ("Gid", numbers(user.gid)),
        ("Groups", list),
        ("NoNewPrivs", "1".to_owned()),
    ];
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

/// The words of one line, with single spaces between them; numbers of groups are in ascending order there.
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
