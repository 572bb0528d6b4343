//! See `adit_fuzz::noise_responder`.
#![cfg_attr(fuzzing, no_main)]
adit_fuzz::target!(noise_responder);
