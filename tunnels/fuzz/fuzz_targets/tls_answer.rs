//! See `adit_fuzz::tls_answer`.
#![cfg_attr(fuzzing, no_main)]
adit_fuzz::target!(tls_answer);
