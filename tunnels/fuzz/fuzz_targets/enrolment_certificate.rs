//! See `adit_fuzz::enrolment_certificate`.
#![cfg_attr(fuzzing, no_main)]
adit_fuzz::target!(enrolment_certificate);
