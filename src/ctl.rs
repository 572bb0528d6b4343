//! `aditctl`: what the operator types, and what comes back. Here are also the command lines of the daemons, from which the
//! man pages are made.

mod client;
mod client_arguments;
mod client_commands;
mod client_list;
mod client_profile;
mod client_qr;
mod command;
mod daemon;
mod drain;
pub mod explain;
mod import;
mod keys;
mod link;
mod output;
mod pages;
mod paint;
mod peer;
mod pki;
mod refusal;
mod reload;
mod render;
mod show;
mod terminator;
mod tls;
mod trace;
mod units;

use std::future::Future;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};

pub use client_arguments::ClientCommand;
pub use command::{Aditctl, Command, Drain, Drops, Import, SOCKETS, Status, Tls, TlsCheck, Trace};
pub use daemon::{AditWireguard, Aditd};
pub use pki::arguments;
pub(crate) use pki::secret;

/// Does what the operator asked for. Errors go to standard error.
#[must_use]
pub fn run(arguments: &Aditctl) -> ExitCode {
    match perform(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody is left to tell anything.
        Err(error) if error.is::<output::Closed>() => ExitCode::SUCCESS,
        Err(error) => {
            // It fails when nobody reads that either.
            let _ = writeln!(std::io::stderr(), "aditctl: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(arguments: &Aditctl) -> Result<()> {
    let client = client::Client::new(&arguments.socket);
    match &arguments.command {
        Command::Status(status) => wait_for(show::run(&client, status)),
        Command::Trace(Trace::Drops(drops)) => wait_for(trace::run(&client, drops)),
        Command::Reload => wait_for(reload::run(&client)),
        Command::Drain(drain) => wait_for(drain::run(&client, drain)),
        Command::Genkey => keys::genkey(),
        Command::Pubkey => keys::pubkey(),
        Command::Genpsk => keys::genpsk(),
        Command::Import(file) => import::run(file),
        Command::Pki(pki) => pki::run(pki),
        Command::Client(command) => wait_for(client_commands::run(&client, command)),
        Command::Tls(Tls::Check(check)) => tls::check(check),
        Command::Completions { shell } => pages::completions(*shell),
        Command::Man { directory } => pages::man(directory),
    }
}

fn wait_for(work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start")?.block_on(work)
}
