//! See `adit_fuzz::wireguard_handshake`.
#![cfg_attr(fuzzing, no_main)]
adit_fuzz::target!(wireguard_handshake);
