//! Files of wg-quick(8), as a configuration of ours.
//!
//! [`import`] translates line by line and has the result read by [`parse`](super::parse): what is wrong is told with the
//! line of the wg-quick file that it came from, and what comes out can be loaded.

mod emit;
mod section;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::mistake::{Errors, quoted};
use super::source::Source;
use crate::control::interface_name;

/// What a wg-quick file says.
#[derive(Debug)]
pub struct Imported {
    /// The configuration: the tables of this one tunnel.
    pub toml: String,
    /// Keys, each to be written to its file, with mode 0600.
    pub secrets: Vec<(PathBuf, Zeroizing<String>)>,
    /// What `DNS` says: servers and search domains. They are not in the configuration.
    pub dns: Vec<String>,
    /// What is different from before, or could not be carried over, in words.
    pub notes: Vec<String>,
}

/// Stands for a key in a file that is there already. It is only checked that a key could be there.
const ELSEWHERE: &[u8] = b"QEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEA=";

/// Translates the wg-quick file of the interface `name`. Its keys are to be written to `NAME.key` and `NAME@PEER.psk` in the
/// folder `keys`, which is put into the configuration as it is.
///
/// A peer is called by a comment of up to three words directly above its section or in it, else `peer-1`, `peer-2`, ..
///
/// # Errors
/// Everything that is wrong with the file, by its lines.
pub fn import(name: &str, text: &str, keys: &Path) -> Result<Imported, Errors> {
    let file = format!("{name}.conf");
    interface_name(name)
        .map_err(|allowed| Errors::whole(&file, format!("the name {}", quoted(name)), allowed))?;
    if keys.to_str().is_none_or(|keys| keys.chars().any(char::is_control)) {
        return Err(Errors::whole(&file, "a folder for keys whose name is no text", "a name in UTF-8"));
    }
    let source = Source::new(&file, text);
    let sections = section::read(&source, text);
    let emitted = emit::emit(name, &sections, keys, &source);
    let secret = |path: &Path| {
        let known: HashMap<_, _> = emitted.secrets.iter().map(|(path, key)| (path.as_path(), key)).collect();
        Ok(Zeroizing::new(known.get(path).map_or(ELSEWHERE, |key| key.as_bytes()).to_vec()))
    };
    if let Err(errors) = super::parse("", &emitted.toml, &secret) {
        emitted.origins.tell(&errors, &source);
    }
    source.end()?;
    let emit::Emitted { toml, secrets, mut notes, .. } = emitted;
    let dns = sections.interface.list("DNS").iter().map(|setting| setting.value.to_owned()).collect();
    notes.splice(0..0, sections.notes);
    Ok(Imported { toml, secrets, dns, notes })
}
