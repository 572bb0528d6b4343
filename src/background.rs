//! Going to the background: the program starts itself again and returns when the other is ready.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Set for the process in the background: it says on its standard output when it is ready.
const READY: &str = "ADIT_TELL_READY";
/// What it says then.
const WORD: &str = "ready\n";

/// Starts this program again with the same arguments and those in `more`, and returns when it is ready. Until then it
/// writes its errors where this process does.
///
/// # Errors
/// It ended before it was ready.
pub fn detach(more: &[&str]) -> Result<()> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(program);
    command.args(more).args(std::env::args_os().skip(1)).env(READY, "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().context("cannot start the process in the background")?;
    let stdout = child.stdout.take().context("no pipe to the process in the background")?;
    let mut said = String::new();
    BufReader::new(stdout).read_line(&mut said)?;
    if said != WORD {
        child.wait()?;
        bail!("it did not start");
    }
    Ok(())
}

/// Tells the process that waits in [`detach`], if there is one, that all is ready; and lets go of its terminal. Errors go
/// on to standard error only if `talkative`: whoever reads ours through a pipe would wait for its end.
///
/// # Errors
/// What the system says.
pub fn ready(talkative: bool) -> io::Result<()> {
    if std::env::var_os(READY).is_none() {
        return Ok(());
    }
    // A session of its own: a terminal that closes takes nothing with it. It fails for a leader, which has one already.
    let _ = rustix::process::setsid();
    let mut stdout = io::stdout();
    stdout.write_all(WORD.as_bytes())?;
    stdout.flush()?;
    let null = OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    if !talkative {
        rustix::stdio::dup2_stderr(&null)?;
    }
    Ok(())
}
