//! The work of a packet, done once for callgrind to count its instructions.
//!
//! `bench/instructions/run` builds this for x86-64-v3, runs it under callgrind, and prints the table.
//! callgrind counts only within [`measured`] and writes one dump for each call of it; the lines on
//! standard output name those calls in their order, as `PACKETS NAME`.

mod super_frame;
mod super_packet;
mod work;

/// What callgrind counts: it finds this function by its name.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
}

/// Counts `work`, which handles `packets` of them and leaves everything as it found it: the first
/// time, with what happens only then, does not count.
fn count(name: &str, packets: usize, mut work: impl FnMut()) {
    work();
    measured(&mut work);
    println!("{packets} {name}");
}

fn main() {
    work::aead();
    work::packet();
    work::frame();
    work::replay();
    work::allowed_ips();
    work::noise();
}
