//! See `adit_fuzz::packet_coalesce_frames`.
#![cfg_attr(fuzzing, no_main)]
adit_fuzz::target!(packet_coalesce_frames);
