//! Which queue of a TUN device a packet waits in, so that the packets of a flow stay in order.
//!
//! Left to itself, the kernel has a flow wait where its other direction was written last. Between two peers of a gateway, which
//! two workers may hear, that changes with every packet: two workers then hold packets of one flow, and whoever is faster
//! sends first. So the kernel is given a program that chooses the queue by the addresses and ports of a packet alone.
//!
//! The kernel's own hash of a packet will not do: the helper that computes it is not for programs of this kind, and the
//! one that a packet carries is 0 for what is forwarded, and changes with a socket's retransmissions
//! (`net.core.txrehash`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::thread::{CapabilitySet, capabilities};

use super::sys::bpf::{self, Instruction};
use super::sys::tun;

/// The program, if the kernel took it.
static PROGRAM: OnceLock<Option<OwnedFd>> = OnceLock::new();

/// Loads the program, once for the process: to be called before privileges are given up. Devices are steered with what it
/// was given then.
pub fn load() {
    program();
}

fn program() -> Option<BorrowedFd<'static>> {
    let refused = |error: &io::Error| {
        tracing::warn!(
            "the program that keeps flows on one queue of the TUN device cannot be loaded: {error}"
        );
    };
    let program = PROGRAM.get_or_init(|| permitted().and_then(|()| place()).inspect_err(refused).ok());
    program.as_ref().map(AsFd::as_fd)
}

/// A filter of system calls may end the process for asking, so it asks only with the privilege.
fn permitted() -> io::Result<()> {
    if capabilities(None)?.effective.intersects(CapabilitySet::BPF | CapabilitySet::SYS_ADMIN) {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "it takes CAP_BPF"))
    }
}

fn place() -> io::Result<OwnedFd> {
    bpf::load_socket_filter(&assemble(&queue_of_flow()), c"MIT", c"adit_steering")
}

/// Has the program choose the queue of each packet. True if it does from now on. It takes no privilege.
pub(super) fn steer(tun: &impl AsFd) -> bool {
    program().is_some_and(|program| tun::set_steering(tun.as_fd(), program).is_ok())
}

// ------------------------------------------------------------------------------------------------------- the program

/// Registers (RFC 9669, section 2.1). A load from the packet leaves its value in `R0`, as a number and not in network order,
/// wants the context in `R6`, and destroys `R1` to `R5`.
const R0: u8 = 0;
const CONTEXT_GIVEN: u8 = 1;
const CONTEXT: u8 = 6;
/// The hash.
const HASH: u8 = 7;
/// First the packet's first byte, then where its ports are.
const PORTS_AT: u8 = 8;

/// 2^32 over the golden ratio, as the number below 2^31 that differs from it by sign alone: values that follow one another
/// end far apart.
const FACTOR: i32 = 0x61c8_8647;

const TCP: i32 = 6;
const UDP: i32 = 17;

/// A line of the program.
#[derive(Clone, Copy, Debug)]
enum Line {
    /// An instruction.
    Do(Instruction),
    /// A jump to a place, whose offset is not known yet.
    Jump(Instruction, Place),
    /// That place is here.
    Here(Place),
}

/// Where jumps lead.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    Ipv6,
    Ports,
    MixPorts,
    Finish,
}

/// The queue of a packet, which begins with its IP header: a hash of the addresses, and of the ports of TCP and UDP. A
/// fragment has no ports, or has them only if it is the first, so all fragments count by their addresses alone, as does what
/// has an IPv6 extension header. A packet that ends too early ends the program where that is noticed: queue 0.
fn queue_of_flow() -> Vec<Line> {
    let begin = [
        copy(CONTEXT, CONTEXT_GIVEN),
        set(HASH, 0),
        load_byte(0),
        copy(PORTS_AT, R0),
        shift_right(R0, 4),
        jump_if_equal(6, Place::Ipv6),
        // What is not IP is dropped anyhow.
        jump_unless_equal(4, Place::Finish),
    ];
    let ipv4 = [
        &mix_words(12, 20)[..],
        // The flag "more fragments" and the offset: a packet that is whole has neither.
        &[load_half(6), and(R0, 0x3fff), jump_unless_equal(0, Place::Finish)],
        // The header's length in words of 4 bytes.
        &[and(PORTS_AT, 0x0f), shift_left(PORTS_AT, 2)],
        &[load_byte(9), jump(Place::Ports)],
    ];
    let ipv6 = [&[Line::Here(Place::Ipv6)], &mix_words(8, 40)[..], &[set(PORTS_AT, 40), load_byte(6)]];
    // With the protocol in R0.
    let ports = [
        Line::Here(Place::Ports),
        jump_if_equal(TCP, Place::MixPorts),
        jump_unless_equal(UDP, Place::Finish),
        Line::Here(Place::MixPorts),
        load_word_at(PORTS_AT),
        exclusive_or(HASH, R0),
        multiply(HASH),
    ];
    // The upper half of a product depends on all bits of its factors. The kernel looks at the lowest 16 bits of R0.
    let finish = [
        Line::Here(Place::Finish),
        copy(R0, HASH),
        shift_right(R0, 32),
        exclusive_or(HASH, R0),
        multiply(HASH),
        copy(R0, HASH),
        shift_right(R0, 32),
        exit(),
    ];
    [&begin[..], &ipv4.concat(), &ipv6.concat(), &ports, &finish].concat()
}

/// Takes the words from `begin` to before `end` into the hash.
fn mix_words(begin: i32, end: i32) -> Vec<Line> {
    let words = (begin..end).step_by(4);
    words.flat_map(|at| [load_word(at), exclusive_or(HASH, R0), multiply(HASH)]).collect()
}

// ---------------------------------------------------------------------------------------------------- the instructions

/// Instructions whose places are put in for good.
fn assemble(lines: &[Line]) -> Vec<Instruction> {
    let mut assembled = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        match *line {
            Line::Do(instruction) => assembled.push(instruction),
            Line::Jump(instruction, place) => {
                let between = lines.iter().skip(at + 1);
                let between = between.take_while(|line| !matches!(line, Line::Here(here) if *here == place));
                let offset = between.filter(|line| !matches!(line, Line::Here(_))).count() as i16;
                assembled.push(Instruction { offset, ..instruction });
            }
            Line::Here(_) => {}
        }
    }
    assembled
}

/// An instruction of 64-bit arithmetic, a load or a jump (RFC 9669, sections 3 to 5).
const fn instruction(code: u8, destination: u8, source: u8, immediate: i32) -> Instruction {
    let registers =
        if cfg!(target_endian = "little") { source << 4 | destination } else { destination << 4 | source };
    Instruction { code, registers, offset: 0, immediate }
}

const fn set(register: u8, value: i32) -> Line {
    Line::Do(instruction(0xb7, register, 0, value))
}

const fn copy(to: u8, from: u8) -> Line {
    Line::Do(instruction(0xbf, to, from, 0))
}

const fn and(register: u8, mask: i32) -> Line {
    Line::Do(instruction(0x57, register, 0, mask))
}

const fn exclusive_or(register: u8, with: u8) -> Line {
    Line::Do(instruction(0xaf, register, with, 0))
}

const fn multiply(register: u8) -> Line {
    Line::Do(instruction(0x27, register, 0, FACTOR))
}

const fn shift_left(register: u8, bits: i32) -> Line {
    Line::Do(instruction(0x67, register, 0, bits))
}

const fn shift_right(register: u8, bits: i32) -> Line {
    Line::Do(instruction(0x77, register, 0, bits))
}

const fn load_byte(at: i32) -> Line {
    Line::Do(instruction(0x30, R0, 0, at))
}

const fn load_half(at: i32) -> Line {
    Line::Do(instruction(0x28, R0, 0, at))
}

const fn load_word(at: i32) -> Line {
    Line::Do(instruction(0x20, R0, 0, at))
}

const fn load_word_at(register: u8) -> Line {
    Line::Do(instruction(0x40, R0, register, 0))
}

const fn jump(to: Place) -> Line {
    Line::Jump(instruction(0x05, 0, 0, 0), to)
}

const fn jump_if_equal(value: i32, to: Place) -> Line {
    Line::Jump(instruction(0x15, R0, 0, value), to)
}

const fn jump_unless_equal(value: i32, to: Place) -> Line {
    Line::Jump(instruction(0x55, R0, 0, value), to)
}

const fn exit() -> Line {
    Line::Do(instruction(0x95, 0, 0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_passes_over_the_instructions_up_to_its_place() {
        let lines = [
            jump(Place::Finish),
            jump(Place::Ports),
            set(R0, 1),
            Line::Here(Place::Ports),
            set(R0, 2),
            Line::Here(Place::Finish),
            exit(),
        ];
        let offsets: Vec<_> = assemble(&lines).iter().map(|instruction| instruction.offset).collect();
        assert_eq!(offsets, [3, 1, 0, 0, 0]);
    }
}
