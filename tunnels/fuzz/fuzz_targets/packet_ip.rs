//! See `adit_fuzz::packet_ip`.
#![cfg_attr(fuzzing, no_main)]
adit_fuzz::target!(packet_ip);
