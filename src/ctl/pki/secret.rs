//! Passphrases and passwords: from a file, or from the terminal, which does not show them.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// The longest secret, in bytes.
const LONGEST: usize = 1_024;

/// Where a secret comes from.
pub(crate) struct Source<'a> {
    /// A file, if one was named.
    pub(crate) file: Option<&'a Path>,
    /// The option that names one.
    pub(crate) option: &'static str,
    /// What it is, for the prompt.
    pub(crate) what: String,
}

impl Source<'_> {
    /// Reads a secret that exists.
    pub(crate) fn read(&self) -> Result<Zeroizing<String>> {
        match self.file {
            Some(path) => from_file(path),
            None => Terminal::open(self)?.ask(&self.what),
        }
    }

    /// Reads a secret that is new: typed twice.
    pub(crate) fn choose(&self) -> Result<Zeroizing<String>> {
        let Some(path) = self.file else {
            let mut terminal = Terminal::open(self)?;
            let once = terminal.ask(&format!("new {}", self.what))?;
            if terminal.ask("the same again")? != once {
                bail!("the two are not the same; nothing was changed");
            }
            return Ok(once);
        };
        from_file(path)
    }
}

/// The first line of a file.
fn from_file(path: &Path) -> Result<Zeroizing<String>> {
    let failed = || format!("cannot read {}", path.display());
    let mut bytes = Zeroizing::new([0; LONGEST + 1]);
    let mut file = File::open(path).with_context(failed)?;
    let mut length = 0;
    // A pipe gives what it has at a time.
    while let Some(room) = bytes.get_mut(length..).filter(|room| !room.is_empty()) {
        match file.read(room).with_context(failed)? {
            0 => break,
            more => length += more,
        }
    }
    let line =
        bytes.get(..length).unwrap_or_default().split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = str::from_utf8(line).map_err(|_| anyhow::anyhow!("{}: no text (UTF-8)", path.display()))?;
    if line.len() >= LONGEST {
        bail!("{}: its first line is longer than {LONGEST} bytes", path.display());
    }
    Ok(Zeroizing::new(text.to_owned()))
}

/// The terminal of the session. What is typed is not shown until it is dropped.
struct Terminal {
    tty: File,
    before: rustix::termios::Termios,
}

impl Terminal {
    fn open(source: &Source<'_>) -> Result<Self> {
        let nobody = || format!("nobody is here to be asked for the {}; give {}", source.what, source.option);
        let tty = match OpenOptions::new().read(true).write(true).open("/dev/tty") {
            Err(error) if [ErrorKind::NotFound, ErrorKind::PermissionDenied].contains(&error.kind()) => {
                bail!(nobody())
            }
            // There is no controlling terminal (ENXIO).
            other => other.with_context(nobody)?,
        };
        if !tty.is_terminal() {
            bail!(nobody());
        }
        let before = tcgetattr(&tty).context("cannot ask the terminal")?;
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHO;
        tcsetattr(&tty, OptionalActions::Flush, &silent).context("cannot ask the terminal")?;
        Ok(Self { tty, before })
    }

    fn ask(&mut self, what: &str) -> Result<Zeroizing<String>> {
        write!(self.tty, "{what}: ").context("cannot ask the terminal")?;
        let mut line = Zeroizing::new(Vec::with_capacity(LONGEST));
        let mut byte = Zeroizing::new([0]);
        // Byte for byte: what is read ahead would be lost for the next question.
        while self.tty.read(&mut *byte).context("cannot ask the terminal")? == 1 && byte[0] != b'\n' {
            if line.len() == LONGEST {
                bail!("longer than {LONGEST} bytes");
            }
            line.push(byte[0]);
        }
        writeln!(self.tty).context("cannot ask the terminal")?;
        let text = str::from_utf8(&line).context("no text (UTF-8) was typed")?;
        Ok(Zeroizing::new(text.to_owned()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // There is nothing left to be done about it.
        let _ = tcsetattr(&self.tty, OptionalActions::Flush, &self.before);
    }
}
