//! Giving privileges up, and saying which are left.
