//! The log: lines on standard error.

use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

/// Reads a level as wireguard-go names them.
///
/// # Errors
/// What is allowed.
pub fn level(text: &str) -> Result<LevelFilter, String> {
    match text {
        "silent" => Ok(LevelFilter::OFF),
        "error" => Ok(LevelFilter::ERROR),
        "info" => Ok(LevelFilter::INFO),
        "verbose" | "debug" => Ok(LevelFilter::DEBUG),
        _ => Err("expected silent, error, info or verbose".into()),
    }
}

/// The level of what runs; made by [`start`].
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// Begins to log: lines of text, or of JSON. To be called once.
pub fn start(level: LevelFilter, json: bool) {
    let (level, handle) = reload::Layer::new(level);
    let lines = fmt::layer().with_target(false).with_writer(std::io::stderr);
    let subscriber = tracing_subscriber::registry().with(level);
    if json {
        subscriber.with(lines.json().flatten_event(true)).init();
    } else {
        subscriber.with(lines).init();
    }
    let _ = LEVEL.set(handle);
}

/// Logs as much as this from now on.
pub fn set_level(level: LevelFilter) {
    // It fails where nothing is logged.
    let _ = LEVEL.get().map(|handle| handle.reload(level));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_does_not_exist_is_refused_with_those_that_do() {
        assert_eq!(level("verbose"), level("debug"));
        assert!(level("loud").unwrap_err().contains("silent, error, info or verbose"));
    }
}
