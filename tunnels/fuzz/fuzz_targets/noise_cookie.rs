//! See `adit_fuzz::noise_cookie`.
#![cfg_attr(fuzzing, no_main)]
adit_fuzz::target!(noise_cookie);
