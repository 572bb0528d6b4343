//! The gateway daemon.

use std::process::ExitCode;

use adit::ctl::Aditd;
use clap::Parser;

fn main() -> ExitCode {
    adit::gateway::run(&Aditd::parse())
}
