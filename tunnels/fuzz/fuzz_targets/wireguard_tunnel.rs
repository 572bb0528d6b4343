//! See `adit_fuzz::wireguard_tunnel`.
#![cfg_attr(fuzzing, no_main)]
adit_fuzz::target!(wireguard_tunnel);
