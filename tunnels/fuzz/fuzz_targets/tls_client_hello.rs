//! See `adit_fuzz::tls_client_hello`.
#![cfg_attr(fuzzing, no_main)]
adit_fuzz::target!(tls_client_hello);
