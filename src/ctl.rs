//! `aditctl`: what the operator types, and what comes back.
