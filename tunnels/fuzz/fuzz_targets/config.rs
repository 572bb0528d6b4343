//! See `adit_fuzz::config`.
#![cfg_attr(fuzzing, no_main)]
adit_fuzz::target!(config);
