//! What a file may say, and what is told of one that is wrong.

use std::path::Path;

use zeroize::Zeroizing;

use super::{Config, parse};

/// Reads a text; every key file holds the same key.
fn read(text: &str) -> Result<Config, String> {
    let secret = |_: &Path| Ok(Zeroizing::new(b"yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n".to_vec()));
    parse("aditd.toml", text, &secret).map_err(|errors| errors.to_string())
}

#[test]
fn an_empty_file_means_the_defaults() {
    let config = read("").unwrap();
    assert_eq!(config.gateway.user, "adit");
    assert_eq!(config.gateway.state, Path::new("/var/lib/adit"));
    assert!((1..=4).contains(&config.gateway.workers) && !config.gateway.pin);
    assert_eq!(config.admin.directory, Path::new("/run/adit"));
    assert!(config.metrics.is_none() && config.wireguard.is_empty());
    assert!(super::file::keys().contains("wireguard.NAME.peer.PEER.public_key"));
}
