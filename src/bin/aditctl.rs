//! The operator's tool.

use std::process::ExitCode;

use adit::ctl;
use clap::Parser;

fn main() -> ExitCode {
    ctl::run(&ctl::Aditctl::parse())
}
