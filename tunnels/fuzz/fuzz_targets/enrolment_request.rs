//! See `adit_fuzz::enrolment_request`.
#![cfg_attr(fuzzing, no_main)]
adit_fuzz::target!(enrolment_request);
