//! System calls that no well-kept library wraps. The only `unsafe` code of the workspace lives here.
#![allow(unsafe_code)]

pub(crate) mod bpf;
pub(crate) mod msg;
pub(crate) mod option;
pub(crate) mod packet;
pub(crate) mod tun;
pub(crate) mod user;
pub(crate) mod xdp;

use std::io;

/// A system call's result: negative means that `errno` says why.
fn check(result: impl TryInto<i64>) -> io::Result<i64> {
    match result.try_into() {
        Ok(value) if value >= 0 => Ok(value),
        _ => Err(io::Error::last_os_error()),
    }
}
