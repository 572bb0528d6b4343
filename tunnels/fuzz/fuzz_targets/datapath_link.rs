//! See `adit_fuzz::datapath_link`.
#![cfg_attr(fuzzing, no_main)]
adit_fuzz::target!(datapath_link);
