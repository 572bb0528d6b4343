//! See `adit_fuzz::wireguard_message`.
#![cfg_attr(fuzzing, no_main)]
adit_fuzz::target!(wireguard_message);
