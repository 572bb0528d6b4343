//! `aditctl genkey`, `pubkey` and `genpsk`: byte for byte as wg(8) has them.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use adit_noise::{PresharedKey, PrivateKey};
use anyhow::{Context, Result, bail};
use zeroize::Zeroizing;

use super::output;

/// Characters of a key.
const KEY: usize = 44;
/// Bytes that are looked at after it.
const LONGEST: u64 = 4_096;
/// What is wrong with something else.
const FORMAT: &str = "Key is not the correct length or format";
/// What is told to somebody who lets others read a key.
const WARNING: &str =
    "Warning: writing to world accessible file.\nConsider setting the umask to 077 and trying again.";

/// Prints a new private key.
///
/// # Errors
/// It could not be written.
pub(super) fn genkey() -> Result<()> {
    secret(&PrivateKey::generate().to_base64())
}

/// Prints a new preshared key.
///
/// # Errors
/// It could not be written.
pub(super) fn genpsk() -> Result<()> {
    secret(&PresharedKey::generate().to_base64())
}

/// Reads a private key and prints its public one.
///
/// # Errors
/// It is none, or what the system says.
pub(super) fn pubkey() -> Result<()> {
    // Not by io::stdin(), whose buffer would keep the key.
    let stdin = io::stdin().as_fd().try_clone_to_owned().context("cannot read from standard input")?;
    let public = public(&mut File::from(stdin))?;
    output::write(format!("{public}\n").as_bytes())
}

fn secret(key: &str) -> Result<()> {
    let stdout = io::stdout().as_fd().try_clone_to_owned().context("cannot write to standard output")?;
    let mut stdout = File::from(stdout);
    if stdout.metadata().is_ok_and(|it| it.is_file() && it.mode() & 0o007 != 0) {
        // It fails when nobody reads that.
        let _ = writeln!(io::stderr(), "{WARNING}");
    }
    let mut line = Zeroizing::new(Vec::with_capacity(KEY + 1));
    line.extend_from_slice(key.as_bytes());
    line.push(b'\n');
    output::write_to(&mut stdout, &line)
}

/// The public key in base64 of the private key that stands there, which only spaces may follow.
fn public(input: &mut impl Read) -> Result<String> {
    let mut key = Zeroizing::new([0_u8; KEY]);
    match input.read_exact(&mut *key) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => bail!(FORMAT),
        other => other.context("cannot read from standard input")?,
    }
    let mut after = Zeroizing::new(Vec::new());
    input.take(LONGEST).read_to_end(&mut after).context("cannot read from standard input")?;
    // Space as C's isspace() has it, and the end of a string.
    if !after.iter().all(|byte| matches!(byte, b' ' | b'\t'..=b'\r' | 0)) {
        bail!("Trailing characters found after key");
    }
    let private = str::from_utf8(&*key).ok().and_then(|text| PrivateKey::from_base64(text).ok());
    Ok(private.context(FORMAT)?.public().to_base64())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The private key of RFC 7748, section 6.1, and what `wg pubkey` makes of it.
    const PRIVATE: &str = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
    const PUBLIC: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";

    fn answer(input: &str) -> Result<String, String> {
        public(&mut input.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_public_key_is_made_whatever_space_follows_the_private_one() {
        for after in ["", "\n", " \t\r\n\u{b}\u{c}\n", "\0\n"] {
            assert_eq!(answer(&format!("{PRIVATE}{after}")).as_deref(), Ok(PUBLIC), "{after:?}");
        }
    }

    /// Each answer is that of wireguard-tools 1.0.20210914.
    #[test]
    fn wrong_keys_are_refused_in_the_words_of_wg() {
        let format = Err("Key is not the correct length or format".to_owned());
        let trailing = Err("Trailing characters found after key".to_owned());
        assert_eq!(answer(""), format);
        assert_eq!(answer("abc\n"), format);
        assert_eq!(answer(&PRIVATE.replace('d', "!")), format);
        assert_eq!(answer("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB="), format);
        assert_eq!(answer(&"\u{e9}".repeat(22)), format);
        assert_eq!(answer(&format!("{PRIVATE}x")), trailing);
        assert_eq!(answer(&format!(" {PRIVATE}")), trailing);
        assert_eq!(answer(&"!".repeat(45)), trailing);
    }
}
