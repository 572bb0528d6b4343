//! The gateway: every tunnel of the configuration, and the thread that owns them.

mod handle;

pub use handle::{Ending, Handle, Request, TraceSource};
