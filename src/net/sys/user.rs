//! The system's users and groups, wherever it keeps them (NSS): files, LDAP, systemd.

use std::ffi::CString;
use std::io;

/// More than any entry needs; a group can name many members.
const LARGEST: usize = 1 << 20;

/// A user, as `passwd(5)` has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// Its number.
    pub(crate) uid: u32,
    /// The number of its first group.
    pub(crate) gid: u32,
}

/// Looks a user up by its name.
pub(crate) fn by_name(name: &str) -> io::Result<Option<Entry>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    with_buffer(|buffer| {
        // SAFETY: passwd is plain data for which all zeros is a valid value.
        let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
        let mut found = std::ptr::null_mut();
        // SAFETY: the name ends with a zero, the other pointers are to live values, and the length is the buffer's.
        let error = unsafe {
            libc::getpwnam_r(name.as_ptr(), &raw mut entry, buffer.as_mut_ptr(), buffer.len(), &raw mut found)
        };
        (error, (!found.is_null()).then_some(Entry { uid: entry.pw_uid, gid: entry.pw_gid }))
    })
}

/// The name of a user.
pub(crate) fn name(uid: u32) -> io::Result<Option<String>> {
    with_buffer(|buffer| {
        // SAFETY: passwd is plain data for which all zeros is a valid value.
        let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
        let mut found = std::ptr::null_mut();
        // SAFETY: all pointers are to live values, and the length is the buffer's.
        let error = unsafe {
            libc::getpwuid_r(uid, &raw mut entry, buffer.as_mut_ptr(), buffer.len(), &raw mut found)
        };
        if error != 0 || found.is_null() {
            return (error, None);
        }
        // SAFETY: the call succeeded, so the name is a string that ends with a zero in the buffer, which is alive.
        let name = unsafe { std::ffi::CStr::from_ptr(entry.pw_name) };
        (error, Some(name.to_string_lossy().into_owned()))
    })
}

/// The number of a group.
pub(crate) fn group(name: &str) -> io::Result<Option<u32>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    with_buffer(|buffer| {
        // SAFETY: group is plain data for which all zeros is a valid value.
        let mut entry: libc::group = unsafe { std::mem::zeroed() };
        let mut found = std::ptr::null_mut();
        // SAFETY: the name ends with a zero, the other pointers are to live values, and the length is the buffer's.
        let error = unsafe {
            libc::getgrnam_r(name.as_ptr(), &raw mut entry, buffer.as_mut_ptr(), buffer.len(), &raw mut found)
        };
        (error, (!found.is_null()).then_some(entry.gr_gid))
    })
}

/// All groups that a user is in, `first` among them.
pub(crate) fn groups(name: &str, first: u32) -> io::Result<Vec<u32>> {
    let name = CString::new(name)?;
    let mut groups = vec![0; 64];
    loop {
        let mut count = i32::try_from(groups.len()).map_err(io::Error::other)?;
        // SAFETY: the name ends with a zero, and `count` says how many numbers there is room for.
        let result = unsafe { libc::getgrouplist(name.as_ptr(), first, groups.as_mut_ptr(), &raw mut count) };
        let count = usize::try_from(count).map_err(io::Error::other)?;
        if result >= 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        if count <= groups.len() || count > LARGEST {
            return Err(io::Error::other("the system does not tell the groups of a user"));
        }
        groups.resize(count, 0);
    }
}

/// Calls with ever more room until it suffices. The call returns an error number, and what it found.
fn with_buffer<T>(mut call: impl FnMut(&mut [libc::c_char]) -> (i32, Option<T>)) -> io::Result<Option<T>> {
    let mut buffer = vec![0; 1 << 10];
    loop {
        match call(&mut buffer) {
            (0, found) => return Ok(found),
            // What getpwnam(3) says some systems return for a name that is not there.
            (libc::ENOENT | libc::ESRCH, _) => return Ok(None),
            (libc::EINTR, _) => {}
            (libc::ERANGE, _) if buffer.len() < LARGEST => buffer.resize(buffer.len() * 2, 0),
            (error, _) => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}
