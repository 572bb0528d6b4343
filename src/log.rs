//! The log: lines on standard error.

use tracing::level_filters::LevelFilter;

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

/// Begins to log.
pub fn start(level: LevelFilter) {
    tracing_subscriber::fmt().with_max_level(level).with_target(false).with_writer(std::io::stderr).init();
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
