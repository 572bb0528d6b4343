//! What is fuzzed: each target is a function of bytes that fails if the code under it breaks a promise.
//!
//! A target draws what it needs from the bytes with an [`Input`], which never runs out, so every input means something.
//! It asserts what the documentation of the code says, against a plainer model where there is one; that nothing panics
//! is the least of it. The file's name is the noun; the function's name is that of the target, its binary in
//! `fuzz_targets/` and its corpus in `corpus/`. How to run them is told in `README.md`.
#![forbid(unsafe_code)]

mod agreement;
mod allowed_ips;
mod answer;
mod batch;
mod client_hello;
mod config;
mod cookie;
mod damage;
mod enrolment;
mod frame;
mod handshake;
mod input;
mod inward;
mod ip;
mod join;
mod judge;
mod keys;
mod link;
mod macsec;
mod message;
mod outward;
mod packet;
mod party;
mod proxy;
mod quick;
mod responder;
mod segment;
mod tunnel;
mod uapi;

pub use agreement::macsec_agreement;
pub use allowed_ips::wireguard_allowed_ips;
pub use answer::tls_answer;
pub use batch::aead_batch;
pub use client_hello::tls_client_hello;
pub use config::config;
pub use cookie::noise_cookie;
pub use enrolment::{enrolment_certificate, enrolment_request};
pub use handshake::wireguard_handshake;
pub use input::Input;
pub use inward::datapath_inward;
pub use ip::packet_ip;
pub use join::{packet_coalesce, packet_coalesce_frames};
pub use link::datapath_link;
pub use macsec::macsec_receive;
pub use message::wireguard_message;
pub use outward::datapath_outward;
pub use proxy::tls_proxy;
pub use quick::quick;
pub use responder::noise_responder;
pub use segment::{packet_segment, packet_segment_frame};
pub use tunnel::wireguard_tunnel;
pub use uapi::wireguard_uapi;

/// A target's name and its function.
pub type Target = (&'static str, fn(&[u8]));

macro_rules! targets {
    ($($name:ident,)*) => { &[$((stringify!($name), $name)),*] };
}

/// Every target.
pub const TARGETS: &[Target] = targets![
    aead_batch,
    config,
    datapath_inward,
    datapath_link,
    datapath_outward,
    enrolment_certificate,
    enrolment_request,
    macsec_agreement,
    macsec_receive,
    noise_cookie,
    noise_responder,
    packet_coalesce,
    packet_coalesce_frames,
    packet_ip,
    packet_segment,
    packet_segment_frame,
    quick,
    tls_answer,
    tls_client_hello,
    tls_proxy,
    wireguard_allowed_ips,
    wireguard_handshake,
    wireguard_message,
    wireguard_tunnel,
    wireguard_uapi,
];

/// The whole of a binary in `fuzz_targets/`: the fuzzer's entry where cargo-fuzz builds it; elsewhere a program that
/// runs the target over the files it is given, for a debugger.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::$name(data));

        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            std::env::args_os().skip(1).try_for_each(|path| Ok($crate::$name(&std::fs::read(path)?)))
        }
    };
}
