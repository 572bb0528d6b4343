//! The users of the system.

use std::io;

use crate::net::sys;

/// A user of the system.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// Its number.
    pub uid: u32,
    /// The number of its first group.
    pub gid: u32,
    /// Its name.
    pub name: String,
}

/// Looks a user up by its name, wherever the system keeps its users. `None` if there is none.
///
/// # Errors
/// What the system says if it cannot be asked.
pub fn user(name: &str) -> io::Result<Option<User>> {
    Ok(sys::user::by_name(name)?.map(|found| User { uid: found.uid, gid: found.gid, name: name.to_owned() }))
}

/// The number of a group by its name. `None` if there is none.
///
/// # Errors
/// What the system says if it cannot be asked.
pub fn group(name: &str) -> io::Result<Option<u32>> {
    sys::user::group(name)
}

/// The name of the user that this process runs as; its number if it has no name.
#[must_use]
pub fn user_name() -> String {
    let uid = rustix::process::geteuid().as_raw();
    sys::user::name(uid).ok().flatten().unwrap_or_else(|| uid.to_string())
}

/// The numbers of the groups that a user is in beside its first, in ascending order.
///
/// # Errors
/// What the system says if it cannot be asked.
pub(super) fn groups(user: &User) -> io::Result<Vec<u32>> {
    let mut groups = sys::user::groups(&user.name, user.gid)?;
    groups.retain(|gid| *gid != user.gid);
    groups.sort_unstable();
    groups.dedup();
    Ok(groups)
}

/// Whether a user is in a group, by its first or by another.
///
/// # Errors
/// What the system says if it cannot be asked.
pub fn is_member(uid: u32, group: u32) -> io::Result<bool> {
    let Some(name) = sys::user::name(uid)? else { return Ok(false) };
    let Some(found) = sys::user::by_name(&name)? else { return Ok(false) };
    Ok(sys::user::groups(&name, found.gid)?.contains(&group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_by_name() {
        let root = User { uid: 0, gid: 0, name: "root".to_owned() };
        assert_eq!(user("root").unwrap(), Some(root));
        assert_eq!(group("root").unwrap(), Some(0));
    }

    #[test]
    fn root_is_in_its_own_group_and_nobody_in_one_that_nobody_has() {
        assert!(is_member(0, 0).unwrap());
        assert!(!is_member(0, u32::MAX - 7).unwrap());
        assert!(!is_member(u32::MAX - 7, 0).unwrap(), "a number without a name");
    }

    #[test]
    fn this_process_runs_as_somebody() {
        let name = user_name();
        let uid = user(&name).unwrap().map_or(name, |user| user.uid.to_string());
        assert_eq!(uid, rustix::process::geteuid().as_raw().to_string());
    }

    #[test]
    fn names_that_nobody_has_are_not_found() {
        for name in ["adit-nobody-has-this", "", "ro\0ot"] {
            assert_eq!(user(name).unwrap(), None);
            assert_eq!(group(name).unwrap(), None);
        }
    }
}
