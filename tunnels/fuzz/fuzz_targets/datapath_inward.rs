//! See `adit_fuzz::datapath_inward`.
#![cfg_attr(fuzzing, no_main)]
adit_fuzz::target!(datapath_inward);
