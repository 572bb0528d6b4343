//! The text protocol by which `wg` configures an interface, without the socket.
//!
//! A request is `get=1` or `set=1`, lines of `key=value`, and a blank line; an answer is lines of `key=value`, the last
//! of them `errno=N`, and a blank line. Source: <https://www.wireguard.com/xplatform/>. Numbers and refusals are those
//! of wireguard-go.
//!
//! A request is read to its end before anything of it is applied: a wrong line changes nothing.

mod error;
mod request;
mod response;

pub use error::{Errno, Error, Reason};
pub use request::{Change, MAX_LINE, MAX_REQUEST, Request, Scope};
pub use response::{DeviceStatus, emit_errno, emit_get};
