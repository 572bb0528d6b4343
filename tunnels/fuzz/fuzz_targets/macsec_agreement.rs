//! See `adit_fuzz::macsec_agreement`.
#![cfg_attr(fuzzing, no_main)]
adit_fuzz::target!(macsec_agreement);
