//! The client.

use std::process::ExitCode;

use adit::client;
use clap::Parser;

fn main() -> ExitCode {
    client::run(&client::arguments::Adit::parse())
}
