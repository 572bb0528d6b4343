//! See `adit_fuzz::packet_coalesce`.
#![cfg_attr(fuzzing, no_main)]
adit_fuzz::target!(packet_coalesce);
