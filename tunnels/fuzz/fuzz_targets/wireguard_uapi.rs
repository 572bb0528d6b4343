//! See `adit_fuzz::wireguard_uapi`.
#![cfg_attr(fuzzing, no_main)]
adit_fuzz::target!(wireguard_uapi);
