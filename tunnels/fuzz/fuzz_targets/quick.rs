//! See `adit_fuzz::quick`.
#![cfg_attr(fuzzing, no_main)]
adit_fuzz::target!(quick);
