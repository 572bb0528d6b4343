//! See `adit_fuzz::datapath_outward`.
#![cfg_attr(fuzzing, no_main)]
adit_fuzz::target!(datapath_outward);
