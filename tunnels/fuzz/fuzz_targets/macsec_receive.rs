//! See `adit_fuzz::macsec_receive`.
#![cfg_attr(fuzzing, no_main)]
adit_fuzz::target!(macsec_receive);
