//! See `adit_fuzz::tls_proxy`.
#![cfg_attr(fuzzing, no_main)]
adit_fuzz::target!(tls_proxy);
