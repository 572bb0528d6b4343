//! `aditctl completions` and `aditctl man`: made from the command lines' definitions.

use std::path::Path;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use super::{AditWireguard, Aditctl, Aditd, output};

/// The day on which the command lines were last changed.
const REVISED: &str = "2026-11-22";
/// The book that the pages belong to.
const MANUAL: &str = "adit";

/// Prints a completion script.
///
/// # Errors
/// It could not be written.
pub(super) fn completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Aditctl::command(), "aditctl", &mut script);
    output::write(&script)
}

/// Writes the man pages into a folder, which is made if it is missing.
///
/// # Errors
/// What the system says.
pub(super) fn man(directory: &Path) -> Result<()> {
    let failed = || format!("cannot write to {}", directory.display());
    std::fs::create_dir_all(directory).with_context(failed)?;
    let mut operator = Aditctl::command().disable_help_subcommand(true);
    operator.build();
    let mut pages = Vec::new();
    all(&operator, &mut pages);
    pages.extend([Aditd::command(), AditWireguard::command()].map(|command| page(command, "8")));
    for page in pages {
        page.generate_to(directory).with_context(failed)?;
    }
    Ok(())
}

/// The pages of a command and of what is below it.
fn all(command: &clap::Command, pages: &mut Vec<Man>) {
    pages.push(page(command.clone(), "1"));
    command.get_subcommands().for_each(|below| all(below, pages));
}

fn page(command: clap::Command, section: &str) -> Man {
    let title = command.get_display_name().unwrap_or(command.get_name()).to_uppercase();
    let source = concat!("adit ", env!("CARGO_PKG_VERSION"));
    Man::new(command).title(title).section(section).date(REVISED).source(source).manual(MANUAL)
}
