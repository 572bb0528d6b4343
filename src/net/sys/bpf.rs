//! The system call `bpf`, as far as socket filters need it (linux/bpf.h).

use std::ffi::CStr;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use super::check;

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_TYPE_SOCKET_FILTER: u32 = 1;

/// One instruction (`struct bpf_insn`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(C)]
pub(crate) struct Instruction {
    /// What is done, and with which kind of operand.
    pub(crate) code: u8,
    /// The number of the destination register in the half that C puts first, that of the source register in the other.
    pub(crate) registers: u8,
    /// Of a jump: instructions that are passed over.
    pub(crate) offset: i16,
    /// The operand that is part of the instruction.
    pub(crate) immediate: i32,
}

/// What `BPF_PROG_LOAD` reads: the beginning of `union bpf_attr`, as long as it was in Linux 4.15. The kernel takes what
/// follows as zeros.
#[derive(Debug)]
#[repr(C)]
struct Load {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// Has the kernel check a socket filter and keep it for as long as the descriptor lives, or anything that it was given to.
/// `name` is what the system's tools show, 15 bytes at most.
pub(crate) fn load_socket_filter(
    program: &[Instruction],
    license: &CStr,
    name: &CStr,
) -> io::Result<OwnedFd> {
    let too_much = |_| io::Error::new(io::ErrorKind::InvalidInput, "a program has fewer instructions");
    let mut load = Load {
        program_type: BPF_PROG_TYPE_SOCKET_FILTER,
        instruction_count: u32::try_from(program.len()).map_err(too_much)?,
        instructions: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name: [0; 16],
    };
    for (to, from) in load.name[..15].iter_mut().zip(name.to_bytes()) {
        *to = *from;
    }
    // SAFETY: the kernel reads `load` in its whole length, the instructions in the number given, and the license up to its
    // zero byte; all of them outlive the call. It writes to none of them.
    let descriptor =
        check(unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const load, size_of::<Load>()) })?;
    // SAFETY: the call returned a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
}
