//! See `adit_fuzz::wireguard_allowed_ips`.
#![cfg_attr(fuzzing, no_main)]
adit_fuzz::target!(wireguard_allowed_ips);
