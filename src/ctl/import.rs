//! `aditctl import`

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};
use zeroize::Zeroizing;

use super::command::Import;
use super::output;
use super::paint::{escape, lines};
use crate::config::quick;

/// The longest file that is read, in bytes: room for some 50,000 peers.
const LONGEST: usize = 16 << 20;

/// Prints the configuration that a wg-quick file stands for, once its keys are in files of their own.
///
/// # Errors
/// In words for the operator: everything that is wrong with the file, or which key could not be written. Then nothing is
/// printed.
pub(super) fn run(arguments: &Import) -> Result<()> {
    let name = name(arguments)?;
    let text = read(&arguments.file)?;
    let imported = match quick::import(&name, &text, &arguments.keys) {
        Ok(imported) => imported,
        Err(errors) => bail!("{}", lines(&errors.to_string())),
    };
    let missing: Vec<_> =
        imported.secrets.iter().map(|(path, key)| is_missing(path, key)).collect::<Result<_>>()?;
    for ((path, key), missing) in imported.secrets.iter().zip(missing) {
        let done = if missing { write(path, key).map(|()| "written")? } else { "has this key already" };
        say(&format!("{}: {done}", path.display()));
    }
    imported.notes.iter().for_each(|note| say(note));
    output::write(imported.toml.as_bytes())
}

/// The interface's name: as it is given, or as wg-quick(8) takes it from the file's.
fn name(arguments: &Import) -> Result<String> {
    if let Some(name) = &arguments.name {
        return Ok(name.clone());
    }
    let from = arguments.file.file_name().and_then(|file| file.to_str()?.strip_suffix(".conf"));
    let Some(name) = from.filter(|_| arguments.file.as_os_str() != "-") else {
        bail!("the file's name is not that of an interface with .conf after it; give --name");
    };
    crate::control::interface_name(name).map_err(anyhow::Error::msg)
}

fn read(path: &Path) -> Result<Zeroizing<String>> {
    let failed = || format!("cannot read {}", path.display());
    let file = if path.as_os_str() == "-" {
        // Not by io::stdin(), whose buffer would keep the keys.
        io::stdin().as_fd().try_clone_to_owned().map(File::from)
    } else {
        File::open(path)
    };
    let file = file.with_context(failed)?;
    // Text that grows leaves copies of what it held behind.
    let size = file.metadata().map_or(0, |it| it.len()).clamp(64 << 10, LONGEST as u64);
    let mut text = Zeroizing::new(String::with_capacity(size as usize + 1));
    file.take(LONGEST as u64 + 1).read_to_string(&mut text).with_context(failed)?;
    if text.len() > LONGEST {
        bail!("{}: longer than {LONGEST} bytes", path.display());
    }
    Ok(text)
}

/// Whether a key's file is yet to be written.
fn is_missing(path: &Path, key: &str) -> Result<bool> {
    let mut there = Zeroizing::new(Vec::with_capacity(1_024));
    match File::open(path).and_then(|file| file.take(1_024).read_to_end(&mut there)) {
        Ok(_) if there.trim_ascii() == key.trim().as_bytes() => Ok(false),
        Ok(_) => {
            bail!("{}: holds something else, and is not overwritten; name another --keys", path.display())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Writes a key into a new file that nobody else may read.
fn write(path: &Path, key: &str) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(failed)?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.with_context(failed)?;
    let mut line = Zeroizing::new(Vec::with_capacity(key.len() + 1));
    line.extend_from_slice(key.trim().as_bytes());
    line.push(b'\n');
    let written = file.write_all(&line).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a key would be in the way of the next try.
        let _ = std::fs::remove_file(path);
    }
    written.with_context(failed)
}

fn say(words: &str) {
    // It fails when nobody reads that.
    let _ = writeln!(io::stderr(), "aditctl: {}", escape(words));
}
