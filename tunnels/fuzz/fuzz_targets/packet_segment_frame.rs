//! See `adit_fuzz::packet_segment_frame`.
#![cfg_attr(fuzzing, no_main)]
adit_fuzz::target!(packet_segment_frame);
