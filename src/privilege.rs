//! Giving privileges up, and saying which are left.

mod capability;
mod directory;
mod give_up;
mod user;

pub use capability::{Capability, effective};
pub use directory::prepare_directory;
pub use give_up::{Error, give_up};
pub use user::{User, group, is_member, user, user_name};
