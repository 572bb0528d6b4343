//! See `adit_fuzz::aead_batch`.
#![cfg_attr(fuzzing, no_main)]
adit_fuzz::target!(aead_batch);
